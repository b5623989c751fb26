//! The kernel's own trace of the same tracepoints: a second witness, and what follows from it by the rules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

mod polls;
mod softirqs;
mod works;

pub use polls::{Polls, polls};
pub use softirqs::{NESTED, Nested, Runs, long_softirqs, nested, softirqs};
pub use works::{Works, works};

/// A trace buffer of our own; it goes when this is dropped.
pub struct Trace {
    instance: PathBuf,
    mounted: bool,
}

const TRACEFS: &str = "/sys/kernel/tracing";

impl Trace {
    /// Starts tracing these events (`group/name`), with `CLOCK_MONOTONIC`; without the groups that this kernel lacks.
    /// They start in this order: what is to be paired with something later comes last.
    pub fn start(events: &[&str]) -> Result<Self> {
        let mut mounted = false;
        if !Path::new(TRACEFS).join("events").is_dir() {
            use rustix::mount::{MountFlags, mount};
            mount("tracefs", TRACEFS, "tracefs", MountFlags::empty(), None)
                .context("cannot mount tracefs")?;
            mounted = true;
        }
        let instance = Path::new(TRACEFS)
            .join("instances")
            .join(format!("kctx-test-{}", std::process::id()));
        fs::create_dir(&instance).context("cannot make a trace buffer")?;
        let trace = Self { instance, mounted };
        trace.write("trace_clock", "mono")?;
        trace.write("buffer_size_kb", "32768")?;
        let has_group = |event: &&&str| {
            let group = event.split('/').next().unwrap_or_default();
            trace.instance.join("events").join(group).is_dir()
        };
        for event in events.iter().filter(has_group) {
            trace.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(trace)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.instance.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Ends it, and reads what it saw. An error where its buffer was too small.
    pub fn stop(self) -> Result<Vec<Event>> {
        self.write("tracing_on", "0")?;
        let text = fs::read(self.instance.join("trace")).context("cannot read the trace")?;
        let text = String::from_utf8_lossy(&text);
        anyhow::ensure!(
            !text.contains("LOST") && entries_all_there(&text),
            "the trace's buffer was too small"
        );
        Ok(text.lines().filter_map(parse).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.write("tracing_on", "0");
        let _ = self.write("events/enable", "0");
        let _ = fs::remove_dir(&self.instance);
        if self.mounted {
            let _ = rustix::mount::unmount(TRACEFS, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// `# entries-in-buffer/entries-written: 10/10   #P:2`
fn entries_all_there(text: &str) -> bool {
    let numbers = text
        .lines()
        .find_map(|line| line.split_once("entries-written:"))
        .map(|(_, numbers)| numbers.split_whitespace().next().unwrap_or_default());
    numbers
        .and_then(|numbers| numbers.split_once('/'))
        .is_none_or(|(here, written)| here == written)
}

/// An event of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The comm and the thread id of the task that it fell into, as in `ksoftirqd/0-14`.
    pub task: String,
    /// CPU.
    pub cpu: u32,
    /// `CLOCK_MONOTONIC`, whole microseconds.
    pub time_ns: u64,
    /// The tracepoint.
    pub name: String,
    /// Its fields.
    pub fields: String,
}

impl Event {
    /// The word after `key`.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&str> {
        let (_, rest) = self.fields.split_once(key)?;
        rest.split([' ', ':', ',']).find(|word| !word.is_empty())
    }
}

/// `  comm-pid  [000] d.h1.   123.456789: softirq_raise: vec=1 [action=TIMER]`
fn parse(line: &str) -> Option<Event> {
    if line.starts_with('#') {
        return None;
    }
    // A comm may hold brackets too; the CPU's are followed by flags and a time.
    line.match_indices(" [").find_map(|(at, _)| {
        let (cpu, rest) = line[at + 2..].split_once("] ")?;
        let cpu = cpu.parse().ok()?;
        let mut words = rest.trim_start().splitn(2, char::is_whitespace);
        let (_flags, rest) = (words.next()?, words.next()?);
        let (time, rest) = rest.trim_start().split_once(": ")?;
        let (seconds, micros) = time.split_once('.')?;
        let time_ns =
            seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000;
        let (name, fields) = rest.trim_start().split_once(": ")?;
        Some(Event {
            task: line[..at].trim().to_owned(),
            cpu,
            time_ns,
            name: name.to_owned(),
            fields: fields.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn event(text: &str) -> Result<Event> {
        parse(text).context("an event")
    }

    #[test]
    fn a_line_is_read_whatever_the_comm_is() -> Result<()> {
        let line =
            "        a [1] b-12 [003] d.h1.  14411.044014: softirq_raise: vec=9 [action=RCU]";
        let read = event(line)?;
        assert_eq!((read.cpu, read.time_ns), (3, 14_411_044_014_000));
        assert_eq!(read.task, "a [1] b-12");
        assert_eq!(read.name, "softirq_raise");
        assert_eq!(read.field("[action="), Some("RCU]"));
        Ok(())
    }
}
