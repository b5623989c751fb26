//! The kernel's own trace of the same tracepoints: a second witness, and what follows from it by the rules.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A trace buffer of our own; it goes when this is dropped.
pub struct Trace {
    instance: PathBuf,
    mounted: bool,
}

const TRACEFS: &str = "/sys/kernel/tracing";

impl Trace {
    /// Starts tracing these events (`group/name`), with `CLOCK_MONOTONIC`; without the groups that this kernel lacks.
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
        trace.write("buffer_size_kb", "16384")?;
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

/// Runs of one vector on one CPU, by the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs whose exit lies in the window.
    pub runs: u64,
    /// Of those, runs that had been raised more than once.
    pub raised_again: u64,
    /// Sum of the waits, from the first raise.
    pub wait_ns: u64,
    /// What the sum would be from the last.
    pub wait_from_last_ns: u64,
    /// The longest wait.
    pub wait_max_ns: u64,
    /// Sum of the times from entry to exit.
    pub service_ns: u64,
}

/// What the softirq events of a trace mean, by vector name and CPU.
#[must_use]
pub fn softirqs(events: &[Event], window: &std::ops::Range<u64>) -> HashMap<(String, u32), Runs> {
    #[derive(Default)]
    struct State {
        raises: Vec<u64>,
        entered: Option<(u64, Vec<u64>)>,
    }
    let mut states: HashMap<(String, u32), State> = HashMap::new();
    let mut all: HashMap<(String, u32), Runs> = HashMap::new();
    for event in events {
        let Some(vector) = event.field("[action=") else {
            continue;
        };
        let key = (vector.trim_end_matches(']').to_owned(), event.cpu);
        let state = states.entry(key.clone()).or_default();
        match event.name.as_str() {
            "softirq_raise" => state.raises.push(event.time_ns),
            "softirq_entry" => {
                state.entered = Some((event.time_ns, std::mem::take(&mut state.raises)));
            }
            "softirq_exit" if window.contains(&event.time_ns) => {
                let Some((entry_ns, raises)) = state.entered.take() else {
                    continue;
                };
                let runs = all.entry(key).or_default();
                runs.runs += 1;
                runs.service_ns += event.time_ns - entry_ns;
                if let (Some(first), Some(last)) = (raises.first(), raises.last()) {
                    runs.raised_again += u64::from(raises.len() > 1);
                    runs.wait_ns += entry_ns - first;
                    runs.wait_from_last_ns += entry_ns - last;
                    runs.wait_max_ns = runs.wait_max_ns.max(entry_ns - first);
                }
            }
            _ => {}
        }
    }
    all
}

/// Softirqs that waited from their first raise, or ran, at least so long.
#[must_use]
pub fn long_softirqs(events: &[Event], least_ns: u64) -> u64 {
    let mut raised: HashMap<(&str, u32), u64> = HashMap::new();
    let mut entered: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut long = 0;
    for event in events {
        let Some(vector) = event.field("[action=") else {
            continue;
        };
        match event.name.as_str() {
            "softirq_raise" => {
                raised.entry((vector, event.cpu)).or_insert(event.time_ns);
            }
            "softirq_entry" => {
                let raise = raised.remove(&(vector, event.cpu));
                let wait_ns = event.time_ns - raise.unwrap_or(event.time_ns);
                entered.insert(event.cpu, (event.time_ns, wait_ns));
            }
            _ => {
                if let Some((entry_ns, wait_ns)) = entered.remove(&event.cpu) {
                    long += u64::from(wait_ns.max(event.time_ns - entry_ns) >= least_ns);
                }
            }
        }
    }
    long
}

/// Time of one vector's runs on one CPU, by the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nested {
    /// Runs whose exit lies in the window.
    pub runs: u64,
    /// Sum of the times from entry to exit.
    pub service_ns: u64,
    /// Of that, in interrupts: from their entry's event to their exit's.
    pub interrupts_ns: u64,
    /// How many interrupts fell into the runs.
    pub interrupts: u64,
}

/// The events that [`nested`] reads.
pub const NESTED: [&str; 14] = [
    "irq/softirq_entry",
    "irq/softirq_exit",
    "irq/irq_handler_entry",
    "irq/irq_handler_exit",
    "irq_vectors/local_timer_entry",
    "irq_vectors/local_timer_exit",
    "irq_vectors/reschedule_entry",
    "irq_vectors/reschedule_exit",
    "irq_vectors/call_function_entry",
    "irq_vectors/call_function_exit",
    "irq_vectors/call_function_single_entry",
    "irq_vectors/call_function_single_exit",
    "irq_vectors/irq_work_entry",
    "irq_vectors/irq_work_exit",
];

/// Softirqs and the interrupts that fell into them, by vector name and CPU.
#[must_use]
pub fn nested(events: &[Event], window: &std::ops::Range<u64>) -> HashMap<(String, u32), Nested> {
    #[derive(Default)]
    struct Cpu {
        interrupt: Option<u64>,
        softirq: Option<(u64, u64, u64)>,
    }
    let mut cpus: HashMap<u32, Cpu> = HashMap::new();
    let mut all: HashMap<(String, u32), Nested> = HashMap::new();
    for event in events {
        let cpu = cpus.entry(event.cpu).or_default();
        match event.name.as_str() {
            "softirq_entry" => cpu.softirq = Some((event.time_ns, 0, 0)),
            "softirq_exit" => {
                let (Some((entry_ns, interrupts_ns, interrupts)), Some(vector)) =
                    (cpu.softirq.take(), event.field("[action="))
                else {
                    continue;
                };
                if !window.contains(&event.time_ns) {
                    continue;
                }
                let key = (vector.trim_end_matches(']').to_owned(), event.cpu);
                let nested = all.entry(key).or_default();
                nested.runs += 1;
                nested.service_ns += event.time_ns - entry_ns;
                nested.interrupts_ns += interrupts_ns;
                nested.interrupts += interrupts;
            }
            name if name.ends_with("_entry") => cpu.interrupt = Some(event.time_ns),
            _ => {
                if let (Some(entry_ns), Some((_, ns, count))) =
                    (cpu.interrupt.take(), &mut cpu.softirq)
                {
                    *ns += event.time_ns - entry_ns;
                    *count += 1;
                }
            }
        }
    }
    all
}

/// Executions of one work function, by the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Works {
    /// Executions whose end lies in the window.
    pub runs: u64,
    /// Of those, with a queueing that was seen.
    pub queued: u64,
    /// Of those, on another CPU than they were queued on.
    pub remote: u64,
    /// Queueings of a work that was running just then.
    pub requeued_while_running: u64,
    /// Sum of the waits.
    pub wait_ns: u64,
    /// Sum of the times from start to end.
    pub service_ns: u64,
}

/// What the workqueue events of a trace mean, by function name. Executions are told apart by the work's
/// address, so `no_hash_pointers` or hashed ones do alike.
#[must_use]
pub fn works(events: &[Event], window: &std::ops::Range<u64>) -> HashMap<String, Works> {
    /// When and where a work was queued, or started.
    type Moment = (u64, u32);
    // Two may be pending: a work can be queued again from a moment before its start is traced.
    let mut pending: HashMap<String, VecDeque<Moment>> = HashMap::new();
    let mut running: HashMap<String, (Moment, Option<Moment>)> = HashMap::new();
    let mut all: HashMap<String, Works> = HashMap::new();
    for event in events {
        let address = |key| event.field(key).map(str::to_owned);
        match event.name.as_str() {
            "workqueue_queue_work" => {
                let Some(work) = address("work struct=") else {
                    continue;
                };
                if running.contains_key(&work)
                    && let Some(function) = event.field("function=")
                {
                    all.entry(function.to_owned())
                        .or_default()
                        .requeued_while_running += 1;
                }
                let moment = (event.time_ns, event.cpu);
                pending.entry(work).or_default().push_back(moment);
            }
            "workqueue_execute_start" => {
                let Some(work) = address("work struct ") else {
                    continue;
                };
                let queued = pending.get_mut(&work).and_then(VecDeque::pop_front);
                running.insert(work, ((event.time_ns, event.cpu), queued));
            }
            "workqueue_execute_end" if window.contains(&event.time_ns) => {
                let (Some(work), Some(function)) =
                    (address("work struct "), event.field("function "))
                else {
                    continue;
                };
                let Some(((start_ns, cpu), queued)) = running.remove(&work) else {
                    continue;
                };
                let works = all.entry(function.to_owned()).or_default();
                works.runs += 1;
                works.service_ns += event.time_ns - start_ns;
                if let Some((queue_ns, by)) = queued {
                    works.queued += 1;
                    works.wait_ns += start_ns - queue_ns;
                    works.remote += u64::from(by != cpu);
                }
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Result<Event> {
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

    #[test]
    fn an_interrupt_counts_for_the_softirq_that_it_fell_into() -> Result<()> {
        let lines = [
            "x-1 [000] d.h1. 1.000001: local_timer_entry: vector=236",
            "x-1 [000] d.h1. 1.000009: local_timer_exit: vector=236",
            "x-1 [000] ..s1. 1.000010: softirq_entry: vec=3 [action=NET_RX]",
            "x-1 [001] d.h1. 1.000015: local_timer_entry: vector=236",
            "x-1 [000] d.h1. 1.000020: local_timer_entry: vector=236",
            "x-1 [000] d.h1. 1.000024: local_timer_exit: vector=236",
            "x-1 [000] ..s1. 1.000040: softirq_exit: vec=3 [action=NET_RX]",
        ];
        let events: Vec<Event> = lines.into_iter().map(event).collect::<Result<_>>()?;
        let expected = Nested {
            runs: 1,
            service_ns: 30_000,
            interrupts_ns: 4_000,
            interrupts: 1,
        };
        let all = nested(&events, &(0..u64::MAX));
        assert_eq!(all[&("NET_RX".to_owned(), 0)], expected);
        Ok(())
    }

    #[test]
    fn the_first_raise_counts_and_one_during_the_run_is_the_next_runs() -> Result<()> {
        let lines = [
            "x-1 [000] d.h1. 1.000010: softirq_raise: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000040: softirq_raise: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000050: softirq_entry: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000055: softirq_raise: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000060: softirq_exit: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000061: softirq_entry: vec=9 [action=RCU]",
            "x-1 [000] d.h1. 1.000062: softirq_exit: vec=9 [action=RCU]",
        ];
        let events: Vec<Event> = lines.into_iter().map(event).collect::<Result<_>>()?;
        let all = softirqs(&events, &(0..u64::MAX));
        let runs = &all[&("RCU".to_owned(), 0)];
        assert_eq!((runs.runs, runs.raised_again), (2, 1));
        assert_eq!((runs.wait_ns, runs.wait_from_last_ns), (46_000, 16_000));
        assert_eq!((runs.service_ns, runs.wait_max_ns), (11_000, 40_000));
        Ok(())
    }
}
