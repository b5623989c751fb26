//! Standard error while the terminal is drawn on: a line in the middle of the screen would stay there, and be read by
//! nobody.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, PipeReader, Read as _, Write as _},
    os::fd::OwnedFd,
    sync::Arc,
    thread::JoinHandle,
};

/// Lines that are kept for the end; the newest ones.
const LINES: usize = 100;

/// Longest line; what is longer becomes several.
const LINE_BYTES: u64 = 4096;

/// Standard error, held. When dropped its lines are written where they belong.
pub(super) struct HeldStderr {
    own: Arc<OwnedFd>,
    reader: Option<JoinHandle<VecDeque<Vec<u8>>>>,
}

impl HeldStderr {
    /// From now on each line goes to `note`.
    pub(super) fn hold(note: impl Fn(&str) + Send + 'static) -> io::Result<Self> {
        let own = Arc::new(rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3)?);
        let (from, to) = io::pipe()?;
        let reader = std::thread::Builder::new()
            .name("kctx-notes".to_owned())
            .spawn(move || read(from, &note))?;
        // The last end to write to is standard error itself: when that is put back, the reader is done.
        rustix::stdio::dup2_stderr(&to)?;
        Ok(Self {
            own,
            reader: Some(reader),
        })
    }

    /// Where standard error belongs.
    pub(super) fn own(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.own)
    }
}

impl Drop for HeldStderr {
    fn drop(&mut self) {
        if rustix::stdio::dup2_stderr(&self.own).is_err() {
            return;
        }
        let lines = self.reader.take().and_then(|reader| reader.join().ok());
        let mut stderr = io::stderr().lock();
        for line in lines.unwrap_or_default() {
            let _ = stderr.write_all(&line);
        }
    }
}

fn read(from: PipeReader, note: &dyn Fn(&str)) -> VecDeque<Vec<u8>> {
    let mut from = BufReader::new(from);
    let mut kept = VecDeque::new();
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
        if line.is_empty() || read.is_err() {
            return kept;
        }
        note(without_colours(&String::from_utf8_lossy(&line)).trim());
        if kept.len() == LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// Without the sequences that set colours (`ESC [ ... m`), which a log line for a terminal has.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('m') {
            Some((codes, text)) if codes.chars().all(|c| c.is_ascii_digit() || c == ';') => {
                plain.push_str(text);
            }
            // Something else: whoever shows it escapes it.
            _ => {
                plain.push_str("\x1b[");
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out_and_nothing_else() {
        assert_eq!(
            without_colours("\x1b[33m WARN\x1b[0m a \x1b[1;31mb\x1b[2Jm\n"),
            " WARN a b\x1b[2Jm\n"
        );
        assert_eq!(without_colours("plain m"), "plain m");
    }
}
