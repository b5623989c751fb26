//! The kernel log from now on, followed beside the measurement: did the kernel say something first?
//!
//! /dev/kmsg is opened while this process may ([`KmsgFollower::open`]) and read later, without ever
//! waiting ([`KmsgFollower::poll`]); the kernel asks for the permission at open only (`devkmsg_open`,
//! kernel/printk/printk.c). What was read goes through a [`super::kmsg_window::LogWindow`], which keeps a window's
//! first lines and counts the others.
//!
//! # Time
//!
//! A line's own time is printk's `local_clock()`. It starts where `CLOCK_MONOTONIC` does, to within a
//! millisecond, but NTP does not discipline it: the two drift apart by what NTP corrects, and 10 ppm are
//! 0.9 s a day. So a line also has the `CLOCK_MONOTONIC` at which it was read, and that of the last poll which
//! left nothing unread: it was logged in between, whatever was overwritten meanwhile. [`LogLine::monotonic_ns`]
//! holds its own time to that. Lines among themselves are ordered by their sequence numbers.
//!
//! A line without a line break is handed out only when the next one is logged (`prb_final_commit`,
//! kernel/printk/printk.c), and may be older than the poll before: it has about the time at which it was seen.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

use serde::{Deserialize, Serialize};

use super::{
    kmsg::{self, KmsgRecord, READ_BYTES},
    root::HostRoot,
};

/// Records read in one poll: a kernel that logs faster than this must not hold the thread that asks.
/// What is left is read by the next poll, or is overwritten in the kernel's ring and counted.
const RECORDS_PER_POLL: usize = 256;

/// Polls made at a window's end, so that its last lines are in it: 4096 records.
const POLLS_AT_THE_END: usize = 16;

/// One line of the kernel log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The record's sequence number, since boot.
    pub seq: u64,
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// `local_clock` in microseconds; see the module's remark on time.
    pub time_us: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds when all that was logged before had been read.
    #[serde(default)]
    pub after_ns: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds when it was read.
    pub seen_ns: u64,
    /// The text. Control characters, line breaks among them, stay escaped (`\x0a`).
    pub text: String,
    /// The text was longer than is kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
    /// `KERN_CONT` text that came apart from its line, since another record was logged between the two.
    /// Its level is the kernel's default and says nothing (`vprintk_store`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub fragment: bool,
}

impl LogLine {
    /// When it was logged, by `CLOCK_MONOTONIC`: its own time, held between the moments that it lies between.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        let own_ns = self.time_us.saturating_mul(1000);
        own_ns.max(self.after_ns).min(self.seen_ns)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_false(value: &bool) -> bool {
    !*value
}

/// How much of the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Lines kept of one window: the first.
    pub lines_per_window: usize,
    /// Lines kept per second of the log's own time; so many may come at once.
    pub lines_per_second: u32,
    /// Bytes of a line's text.
    pub line_bytes: usize,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self {
            lines_per_window: 200,
            lines_per_second: 50,
            line_bytes: 512,
        }
    }
}

/// What one poll found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The kernel's lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Records that userspace wrote to /dev/kmsg (a facility other than 0); not kept.
    pub from_userspace: u64,
    /// Times the kernel's ring had lapped us (EPIPE).
    pub overruns: u64,
    /// Records overwritten before they were read: the gaps between sequence numbers.
    pub overwritten: u64,
    /// There may be more to read at once.
    pub more: bool,
}

impl Polled {
    fn extend(&mut self, next: Self) {
        self.lines.extend(next.lines);
        self.from_userspace += next.from_userspace;
        self.overruns += next.overruns;
        self.overwritten += next.overwritten;
        self.more = next.more;
    }
}

/// Follows /dev/kmsg.
pub struct KmsgFollower<R = File> {
    source: R,
    line_bytes: usize,
    buffer: Box<[u8]>,
    /// The sequence number after the last one read.
    next_seq: Option<u64>,
    /// When nothing was left unread, the last time: what is read from now on was logged after that.
    caught_up_ns: u64,
}

impl KmsgFollower {
    /// Opens /dev/kmsg at its end: what is logged from now on is read. Needs `CAP_SYSLOG` where
    /// `dmesg_restrict` is set, so it has to happen before privileges are given up.
    pub fn open(root: &HostRoot, bounds: &LogBounds) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(root.path(kmsg::PATH))?;
        // devkmsg_llseek: after the newest record.
        file.seek(SeekFrom::End(0))?;
        Ok(Self::over(file, bounds))
    }
}

impl<R: Read> KmsgFollower<R> {
    /// Follows a source that gives one record per read, or `WouldBlock`.
    fn over(source: R, bounds: &LogBounds) -> Self {
        Self {
            source,
            line_bytes: bounds.line_bytes,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            next_seq: None,
            caught_up_ns: 0,
        }
    }

    /// Passes over all that was logged until now.
    pub fn skip(&mut self, now_ns: u64) -> io::Result<()>
    where
        R: Seek,
    {
        // devkmsg_llseek: after the newest record.
        self.source.seek(SeekFrom::End(0))?;
        self.next_seq = None;
        self.caught_up_ns = now_ns;
        Ok(())
    }

    /// What is read from now on was logged at this time or later.
    pub fn not_before(&mut self, ns: u64) {
        self.caught_up_ns = self.caught_up_ns.max(ns);
    }

    /// Polls until nothing more is there, or a bound is reached; then there is `more`.
    pub fn poll_to_the_end(&mut self, seen_ns: u64) -> io::Result<Polled> {
        let mut all = self.poll(seen_ns)?;
        for _ in 1..POLLS_AT_THE_END {
            if !all.more {
                break;
            }
            // A lasting error comes again at the next poll.
            let Ok(next) = self.poll(seen_ns) else { break };
            all.extend(next);
        }
        Ok(all)
    }

    /// Reads what was logged since the last call, up to a bound, and does not wait for more. `seen_ns` is
    /// `CLOCK_MONOTONIC` now.
    ///
    /// An error comes only when nothing was read before it, so no line is lost to one.
    pub fn poll(&mut self, seen_ns: u64) -> io::Result<Polled> {
        let mut polled = Polled::default();
        for _ in 0..RECORDS_PER_POLL {
            match self.source.read(&mut self.buffer) {
                Ok(0) => {
                    self.caught_up_ns = seen_ns;
                    return Ok(polled);
                }
                Ok(length) => self.take(length, seen_ns, &mut polled),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.caught_up_ns = seen_ns;
                        return Ok(polled);
                    }
                    ErrorKind::Interrupted => {}
                    // devkmsg_read: our next record is gone, and we stand at the oldest one there is.
                    ErrorKind::BrokenPipe => polled.overruns += 1,
                    _ if polled == Polled::default() => return Err(error),
                    // A lasting error comes again at the next poll, which begins with it.
                    _ => return Ok(polled),
                },
            }
        }
        polled.more = true;
        Ok(polled)
    }

    fn take(&mut self, length: usize, seen_ns: u64, polled: &mut Polled) {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        // One read gives one record; its lines ` KEY=value` belong to it and are not kept.
        let Some(record) = kmsg::parse(&text).next() else {
            return;
        };
        if let Some(expected) = self.next_seq {
            polled.overwritten += record.sequence.saturating_sub(expected);
        }
        self.next_seq = Some(record.sequence.saturating_add(1));
        if record.facility == 0 {
            let between = (self.caught_up_ns, seen_ns);
            polled.lines.push(line(&record, between, self.line_bytes));
        } else {
            polled.from_userspace += 1;
        }
    }
}

fn line(record: &KmsgRecord, (after_ns, seen_ns): (u64, u64), line_bytes: usize) -> LogLine {
    let (text, cut) = readable(&record.text, line_bytes);
    LogLine {
        seq: record.sequence,
        level: record.level,
        time_us: record.time_us,
        after_ns,
        seen_ns,
        text,
        cut,
        fragment: record.flags.contains('c'),
    }
}

/// Undoes the kernel's escapes (`msg_add_ext_text`, formerly `msg_print_ext_body`: `\xNN` for a backslash
/// and for each byte that is not printable ASCII), except for control characters: the text is shown on
/// terminals, and part of it comes from devices and users. Gives at most `limit` bytes, and whether there
/// was more; neither a character nor an escape is cut in two.
fn readable(escaped: &str, limit: usize) -> (String, bool) {
    let bytes = unescape(escaped.as_bytes());
    let whole = String::from_utf8_lossy(&bytes);
    let mut text = String::with_capacity(whole.len().min(limit));
    for character in whole.chars() {
        let before = text.len();
        if character.is_control() {
            let mut utf8 = [0; 4];
            for byte in character.encode_utf8(&mut utf8).bytes() {
                // Writing into a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        } else {
            text.push(character);
        }
        if text.len() > limit {
            text.truncate(before);
            return (text, true);
        }
    }
    (text, false)
}

fn unescape(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let escape = match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                hex(*high).zip(hex(*low)).map(|digits| (digits, after))
            }
            _ => None,
        };
        if let Some(((high, low), after)) = escape {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
#[path = "kmsg_follow_tests.rs"]
mod tests;
