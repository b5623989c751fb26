//! The windows that are kept: the newest ones, as many as a bound of bytes allows.

use std::collections::VecDeque;

use crate::{
    aggregate::window::Window,
    capture::evidence_set::EvidenceSet,
    diagnose::{Case, Diagnosis, diagnose},
    host::HostIdentity,
    report::{limits, summary::Summary},
};

/// The most windows kept, however small they are: an hour of seconds.
pub const HISTORY_WINDOWS: usize = 3600;

/// A closed window as it is looked at.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which window of this run it is, from 0.
    pub number: u64,
    /// What was measured.
    pub summary: Summary,
    /// What is hot and why.
    pub diagnosis: Diagnosis,
    /// What the governor limits, in sentences.
    pub limits: Vec<String>,
    bytes: usize,
}

impl Frame {
    /// Of a window that has just closed.
    #[must_use]
    pub fn new(number: u64, window: &Window, host: HostIdentity) -> Self {
        let summary = Summary::from_window(window, host, window.taint_value);
        // Evidence is read from dozens of files: not once a second, on a machine that is being measured.
        let evidence = EvidenceSet::default();
        let case = Case {
            summary: &summary,
            evidence: &evidence,
        };
        let diagnosis = diagnose(&case);
        let bytes = bytes(&summary);
        Self {
            number,
            diagnosis,
            limits: limits::sentences(window),
            summary,
            bytes,
        }
    }
}

/// About what a summary takes: its rows, and the texts that they own.
fn bytes(summary: &Summary) -> usize {
    /// Of a string of a kernel's name: its allocation, rounded up.
    const NAME: usize = 32;
    fn rows<T>(rows: &[T], names: usize) -> usize {
        size_of_val(rows) + rows.len() * names * NAME
    }
    let queuers = summary.workqueue.iter().map(|row| rows(&row.queued_by, 1));
    let lines = (summary.log.lines.iter()).map(|line| size_of_val(line) + line.text.len());
    let stacks = (summary.stack.iter())
        .map(|row| size_of_val(row) + row.frames.iter().map(|f| NAME + f.len()).sum::<usize>());
    size_of::<Frame>()
        + rows(&summary.probes, 4)
        + rows(&summary.cpu, 0)
        + rows(&summary.softirq, 2)
        + rows(&summary.softirq_origin, 2)
        + rows(&summary.hardirq, 1)
        + rows(&summary.tasklet, 1)
        + rows(&summary.workqueue, 2)
        + rows(&summary.napi, 2)
        + rows(&summary.kthread, 3)
        + rows(&summary.module, 5)
        + queuers.chain(lines).chain(stacks).sum::<usize>()
}

/// The newest windows, the oldest first.
#[derive(Debug)]
pub struct History {
    frames: VecDeque<Frame>,
    bytes: usize,
    max_bytes: usize,
}

impl History {
    /// Keeps at most so many bytes of windows, about, and [`HISTORY_WINDOWS`]; the newest one always.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Adds the newest, and lets the oldest go that find no room.
    pub fn push(&mut self, frame: Frame) {
        self.bytes = self.bytes.saturating_add(frame.bytes);
        self.frames.push_back(frame);
        while self.frames.len() > 1
            && (self.bytes > self.max_bytes || self.frames.len() > HISTORY_WINDOWS)
        {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes);
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether no window has closed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<&Frame> {
        self.frames.back()
    }

    /// The window of a number; the oldest kept where that one is gone.
    #[must_use]
    pub fn at(&self, number: u64) -> Option<&Frame> {
        let index = self.frames.partition_point(|frame| frame.number < number);
        self.frames.get(index).or_else(|| self.frames.back())
    }

    /// The window before or after that of a number, where there is one.
    #[must_use]
    pub fn beside(&self, number: u64, back: bool) -> Option<&Frame> {
        let index = self.frames.partition_point(|frame| frame.number < number);
        match back {
            true => self.frames.get(index.checked_sub(1)?),
            false => self.frames.get(index + 1),
        }
    }

    /// Windows up to that of a number, the newest first.
    pub fn up_to(&self, number: u64) -> impl Iterator<Item = &Frame> {
        let newest_first = self.frames.iter().rev();
        newest_first.skip_while(move |frame| frame.number > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn frame(number: u64) -> Frame {
        Frame::new(number, &fixture::window(), fixture::host())
    }

    #[test]
    fn the_oldest_go_where_the_bound_of_bytes_is_reached() {
        let one = frame(0).bytes;
        assert!(one > 4_000, "{one}");
        let mut history = History::new(one * 3 + one / 2);
        for number in 0..10 {
            history.push(frame(number));
        }
        assert_eq!((history.len(), history.newest().unwrap().number), (3, 9));
        assert!(history.bytes <= history.max_bytes);
        // One that is gone: the oldest there is.
        assert_eq!(history.at(2).unwrap().number, 7);
        assert!(history.beside(7, true).is_none());
        assert_eq!(history.beside(7, false).unwrap().number, 8);
        assert!(history.beside(9, false).is_none());
        let numbers: Vec<u64> = history.up_to(8).map(|frame| frame.number).collect();
        assert_eq!(numbers, [8, 7]);
    }

    #[test]
    fn the_newest_is_kept_however_large() {
        let mut history = History::new(1);
        history.push(frame(0));
        history.push(frame(1));
        assert_eq!((history.len(), history.newest().unwrap().number), (1, 1));
    }

    #[test]
    fn more_rows_take_more_bytes() {
        let few = frame(0);
        let mut window = fixture::window();
        let stack = window.stack[0].clone();
        window.stack = vec![stack; 500];
        let many = Frame::new(0, &window, fixture::host());
        assert!(many.bytes > few.bytes + 499 * 64);
    }
}
