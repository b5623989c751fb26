//! The kernel log at warning and above, from /dev/kmsg.
//!
//! Format: Documentation/ABI/testing/dev-kmsg. Each `read()` gives one record:
//! `prio,seq,time_us,flags[,more];text`, then lines ` KEY=value`. Newlines and control characters in
//! the text come escaped (`\x0a`), so a record's first line is its whole text.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt as _,
};

use super::root::HostRoot;

/// Where the kernel hands its log out.
pub const PATH: &str = "/dev/kmsg";

/// `KERN_WARNING` (include/linux/kern_levels.h): the least severe level kept.
pub const WARNING: u8 = 4;

/// Names of the levels, from 0.
pub const LEVEL_NAMES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// One `read()` of /dev/kmsg never gives more: `CONSOLE_EXT_LOG_MAX` and later `PRINTK_MESSAGE_MAX`
/// (kernel/printk/internal.h) are 8 KiB at most. With less room than the record has, it gives EINVAL.
pub(super) const READ_BYTES: usize = 16 << 10;

/// Records looked at in one go: a kernel that logs faster than we read must not hold us here.
const MAX_RECORDS: u64 = 1 << 20;

/// One log record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KmsgRecord {
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// 0 is the kernel; others are userspace writing to /dev/kmsg.
    pub facility: u32,
    /// Sequence number: gaps are records overwritten before they were read.
    pub sequence: u64,
    /// Time since boot in microseconds (`local_clock`).
    pub time_us: u64,
    /// `-`, or `c` for a fragment of a line.
    pub flags: String,
    /// The text, control characters escaped as the kernel gave it.
    pub text: String,
    /// `SUBSYSTEM` and `DEVICE` and the like.
    pub properties: Vec<(String, String)>,
}

/// How much of the log is kept: the first records, which tell how it began, and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsgLimits {
    /// Records from the start.
    pub first: usize,
    /// Records from the end, beyond the first.
    pub last: usize,
    /// Bytes; half of them for each part.
    pub bytes: usize,
}

impl Default for KmsgLimits {
    fn default() -> Self {
        Self {
            first: 2_000,
            last: 8_000,
            bytes: 2 << 20,
        }
    }
}

/// What was kept of the log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KmsgSelection {
    /// The oldest records.
    pub first: Vec<KmsgRecord>,
    /// Records left out between the two parts, because a limit was reached.
    pub left_out: u64,
    /// The newest records.
    pub last: VecDeque<KmsgRecord>,
    /// Times the kernel had overwritten records before they were read (EPIPE).
    pub overruns: u64,
}

/// Parses records from text: what one or many reads gave, or what [`KmsgSelection::render`] wrote.
/// Lines that are no record are passed over.
pub fn parse(text: &str) -> impl Iterator<Item = KmsgRecord> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        loop {
            let Some(mut record) = parse_header(lines.next()?) else {
                continue;
            };
            while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                if let Some((key, value)) = line[1..].split_once('=') {
                    record.properties.push((key.to_owned(), value.to_owned()));
                }
            }
            return Some(record);
        }
    })
}

fn parse_header(line: &str) -> Option<KmsgRecord> {
    let (header, text) = line.split_once(';')?;
    // More fields may follow the four (`caller=T1`): dev-kmsg says to ignore them.
    let mut fields = header.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let time_us = fields.next()?.parse().ok()?;
    let flags = fields.next()?.to_owned();
    Some(KmsgRecord {
        // Syslog's encoding: three bits of level below the facility.
        level: (priority & 7) as u8,
        facility: priority >> 3,
        sequence,
        time_us,
        flags,
        text: text.to_owned(),
        properties: Vec::new(),
    })
}

impl KmsgRecord {
    /// Writes the record as /dev/kmsg does.
    fn render(&self, out: &mut String) {
        let priority = self.facility << 3 | u32::from(self.level);
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "{priority},{},{},{};{}",
            self.sequence, self.time_us, self.flags, self.text
        );
        for (key, value) in &self.properties {
            let _ = writeln!(out, " {key}={value}");
        }
    }

    /// About what [`Self::render`] writes.
    fn weight(&self) -> usize {
        let properties: usize = self
            .properties
            .iter()
            .map(|(key, value)| key.len() + value.len() + 3)
            .sum();
        // 32: the header's numbers and separators.
        32 + self.flags.len() + self.text.len() + properties
    }
}

/// Keeps the first and the last records within limits.
#[derive(Debug)]
pub struct KmsgKeeper {
    limits: KmsgLimits,
    kept: KmsgSelection,
    first_bytes: usize,
    last_bytes: usize,
    first_is_full: bool,
}

impl KmsgKeeper {
    /// Nothing kept yet.
    #[must_use]
    pub fn new(limits: KmsgLimits) -> Self {
        Self {
            limits,
            kept: KmsgSelection::default(),
            first_bytes: 0,
            last_bytes: 0,
            first_is_full: false,
        }
    }

    /// Takes a record that is severe enough.
    pub fn push(&mut self, record: KmsgRecord) {
        if record.level > WARNING {
            return;
        }
        let weight = record.weight();
        let half = self.limits.bytes / 2;
        if !self.first_is_full
            && self.kept.first.len() < self.limits.first
            && self.first_bytes + weight <= half
        {
            self.first_bytes += weight;
            self.kept.first.push(record);
            return;
        }
        // Once one did not fit, a later and shorter one must not overtake it.
        self.first_is_full = true;
        self.last_bytes += weight;
        self.kept.last.push_back(record);
        while self.kept.last.len() > self.limits.last || self.last_bytes > half {
            let Some(oldest) = self.kept.last.pop_front() else {
                break;
            };
            self.last_bytes -= oldest.weight();
            self.kept.left_out += 1;
        }
    }

    /// What was kept.
    #[must_use]
    pub fn finish(self) -> KmsgSelection {
        self.kept
    }
}

impl KmsgSelection {
    /// Records kept, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &KmsgRecord> {
        self.first.iter().chain(&self.last)
    }

    /// The records in the format of /dev/kmsg, with a remark where some were left out.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for record in &self.first {
            record.render(&mut text);
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "# {} records left out here", self.left_out);
        }
        for record in &self.last {
            record.render(&mut text);
        }
        if self.overruns > 0 {
            let _ = writeln!(
                text,
                "# the kernel overwrote records before they were read, {} times",
                self.overruns
            );
        }
        text
    }
}

/// Reads the kernel log as it stands, without waiting for more.
pub fn read(root: &HostRoot, limits: KmsgLimits) -> io::Result<KmsgSelection> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(root.path(PATH))?;
    collect(file, limits)
}

/// Reads records until there is none at once.
fn collect(mut source: impl Read, limits: KmsgLimits) -> io::Result<KmsgSelection> {
    let mut keeper = KmsgKeeper::new(limits);
    let mut buffer = vec![0; READ_BYTES];
    let mut overruns = 0;
    for _ in 0..MAX_RECORDS {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                parse(&String::from_utf8_lossy(&buffer[..length]))
                    .for_each(|record| keeper.push(record));
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => break,
                ErrorKind::Interrupted => {}
                // devkmsg_read: the reader fell behind and stands at the oldest record again.
                ErrorKind::BrokenPipe => overruns += 1,
                _ => return Err(error),
            },
        }
    }
    let mut selection = keeper.finish();
    selection.overruns = overruns;
    Ok(selection)
}

#[cfg(test)]
#[path = "kmsg_tests.rs"]
mod tests;
