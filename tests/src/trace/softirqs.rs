//! Softirqs, and the interrupts that fell into them.

use std::{collections::HashMap, ops::Range};

use super::Event;

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
pub fn softirqs(events: &[Event], window: &Range<u64>) -> HashMap<(String, u32), Runs> {
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
pub fn nested(events: &[Event], window: &Range<u64>) -> HashMap<(String, u32), Nested> {
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

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{super::tests::event, *};

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
