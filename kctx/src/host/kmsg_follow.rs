//! The kernel log from now on, followed beside the measurement: did the kernel say something first?
//!
//! /dev/kmsg is opened while this process may ([`KmsgFollower::open`]) and read later, without ever
//! waiting ([`KmsgFollower::poll`]); the kernel asks for the permission at open only (`devkmsg_open`,
//! kernel/printk/printk.c). What was read goes through a [`LogWindow`], which keeps a window's first
//! lines and counts the others.
//!
//! # Time
//!
//! A line's own time is printk's `local_clock()`. It starts where `CLOCK_MONOTONIC` does, to within a
//! millisecond, but NTP does not discipline it: the two drift apart by what NTP corrects, and 10 ppm are
//! 0.9 s a day. So a line also has the `CLOCK_MONOTONIC` at which it was read: it was logged before that,
//! and after the poll before. Lines among themselves are ordered by their sequence numbers.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek as _, SeekFrom},
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

/// How many levels there are: `KERN_EMERG` (0) to `KERN_DEBUG` (7), include/linux/kern_levels.h.
pub const LEVELS: usize = 8;

/// One line of the kernel log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The record's sequence number, since boot.
    pub seq: u64,
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// `local_clock` in microseconds; see the module's remark on time.
    pub time_us: u64,
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

/// Follows /dev/kmsg.
pub struct KmsgFollower<R = File> {
    source: R,
    line_bytes: usize,
    buffer: Box<[u8]>,
    /// The sequence number after the last one read.
    next_seq: Option<u64>,
}

impl KmsgFollower {
    /// Opens /dev/kmsg at its end: what is logged from now on is read. Needs `CAP_SYSLOG` where
    /// `dmesg_restrict` is set, so it has to happen before privileges are given up.
    pub fn open(root: &HostRoot, bounds: &LogBounds) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(root.path("/dev/kmsg"))?;
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
        }
    }

    /// Reads what was logged since the last call, up to a bound, and does not wait for more. `seen_ns` is
    /// `CLOCK_MONOTONIC` now.
    ///
    /// An error comes only when nothing was read before it, so no line is lost to one.
    pub fn poll(&mut self, seen_ns: u64) -> io::Result<Polled> {
        let mut polled = Polled::default();
        for _ in 0..RECORDS_PER_POLL {
            match self.source.read(&mut self.buffer) {
                Ok(0) => return Ok(polled),
                Ok(length) => self.take(length, seen_ns, &mut polled),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(polled),
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
            polled.lines.push(line(&record, seen_ns, self.line_bytes));
        } else {
            polled.from_userspace += 1;
        }
    }
}

fn line(record: &KmsgRecord, seen_ns: u64, line_bytes: usize) -> LogLine {
    let (text, cut) = readable(&record.text, line_bytes);
    LogLine {
        seq: record.sequence,
        level: record.level,
        time_us: record.time_us,
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

/// What a window's log was.
///
/// `by_level` and `fragments` count all lines; of these `lines` were kept and `dropped` were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The first lines, oldest first.
    pub lines: Vec<LogLine>,
    /// All lines that are no fragments, kept or not, by level.
    pub by_level: [u64; LEVELS],
    /// All fragments, kept or not: their level means nothing.
    #[serde(default)]
    pub fragments: u64,
    /// Lines and fragments that the bounds kept out.
    pub dropped: u64,
    /// Records that userspace wrote.
    #[serde(default)]
    pub from_userspace: u64,
    /// Times the kernel had overwritten records before they were read.
    pub overruns: u64,
    /// How many it had overwritten, as far as that is known: the first time, before any record was read,
    /// it is not.
    #[serde(default)]
    pub overwritten: u64,
}

impl LogSummary {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A line costs so much of what the rate limit fills up at `lines_per_second` for each microsecond.
const LINE_COST: u64 = 1_000_000;

/// Keeps the first lines of each window within bounds, and counts all.
#[derive(Debug)]
pub struct LogWindow {
    bounds: LogBounds,
    summary: LogSummary,
    /// What the rate limit still allows, in [`LINE_COST`]s.
    allowance: u64,
    /// The newest line's time.
    last_us: Option<u64>,
}

impl LogWindow {
    /// Opens the first window.
    #[must_use]
    pub fn new(bounds: LogBounds) -> Self {
        Self {
            bounds,
            summary: LogSummary::default(),
            allowance: full_allowance(&bounds),
            last_us: None,
        }
    }

    /// Takes what one poll found.
    pub fn add(&mut self, polled: Polled) {
        let summary = &mut self.summary;
        summary.from_userspace = summary.from_userspace.saturating_add(polled.from_userspace);
        summary.overruns = summary.overruns.saturating_add(polled.overruns);
        summary.overwritten = summary.overwritten.saturating_add(polled.overwritten);
        for line in polled.lines {
            self.push(line);
        }
    }

    /// Takes a line; says whether it was kept.
    pub fn push(&mut self, line: LogLine) -> bool {
        self.refill(line.time_us);
        let summary = &mut self.summary;
        if line.fragment {
            summary.fragments += 1;
        } else if let Some(count) = summary.by_level.get_mut(usize::from(line.level & 7)) {
            *count += 1;
        }
        if summary.lines.len() >= self.bounds.lines_per_window || self.allowance < LINE_COST {
            summary.dropped += 1;
            return false;
        }
        self.allowance -= LINE_COST;
        summary.lines.push(line);
        true
    }

    /// Closes the window and opens the next. The rate limit begins anew: in a storm that goes on, the
    /// next window shows its first lines too.
    pub fn take(&mut self) -> LogSummary {
        self.allowance = full_allowance(&self.bounds);
        std::mem::take(&mut self.summary)
    }

    /// Times of different CPUs may be out of order by a little: then nothing is filled up.
    fn refill(&mut self, time_us: u64) {
        let last_us = self.last_us.unwrap_or(time_us);
        let passed_us = time_us.saturating_sub(last_us);
        let gained = passed_us.saturating_mul(u64::from(self.bounds.lines_per_second));
        self.allowance = self
            .allowance
            .saturating_add(gained)
            .min(full_allowance(&self.bounds));
        self.last_us = Some(last_us.max(time_us));
    }
}

fn full_allowance(bounds: &LogBounds) -> u64 {
    u64::from(bounds.lines_per_second) * LINE_COST
}

#[cfg(test)]
#[path = "kmsg_follow_tests.rs"]
mod tests;
