//! Work items.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use super::Event;

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
    /// Of that, what their threads were on a CPU for: only with `sched_switch` in the trace.
    pub on_cpu_ns: u64,
}

/// How long threads were on a CPU while they ran a work, by the trace. A stretch whose beginning was not traced, as some
/// kernels do when a CPU was idle, is none.
#[derive(Default)]
struct OnCpu {
    /// By the thread's id, as in the trace: how long, and since when.
    threads: HashMap<String, (u64, Option<u64>)>,
}

impl OnCpu {
    fn begins(&mut self, event: &Event) {
        let since = (0, Some(event.time_ns));
        self.threads.insert(thread(event).to_owned(), since);
    }

    fn switches(&mut self, event: &Event) {
        let id = |key| event.field(key).unwrap_or_default();
        if let Some((sum, since)) = self.threads.get_mut(id("prev_pid=")) {
            *sum += since.take().map_or(0, |since| event.time_ns - since);
        }
        if let Some((_, since)) = self.threads.get_mut(id("next_pid=")) {
            *since = Some(event.time_ns);
        }
    }

    fn ends(&mut self, event: &Event) -> u64 {
        let ended = self.threads.remove(thread(event));
        ended.map_or(0, |(sum, since)| {
            sum + since.map_or(0, |since| event.time_ns - since)
        })
    }
}

/// The id in `kworker/u4:1-123`.
fn thread(event: &Event) -> &str {
    event.task.rsplit('-').next().unwrap_or_default()
}

/// What the workqueue events of a trace mean, by function name. Executions are told apart by the work's
/// address, so `no_hash_pointers` or hashed ones do alike.
#[must_use]
pub fn works(events: &[Event], window: &Range<u64>) -> HashMap<String, Works> {
    /// When and where a work was queued, or started.
    type Moment = (u64, u32);
    // Two may be pending: a work can be queued again from a moment before its start is traced.
    let mut pending: HashMap<String, VecDeque<Moment>> = HashMap::new();
    let mut running: HashMap<String, (Moment, Option<Moment>)> = HashMap::new();
    let mut on_cpu = OnCpu::default();
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
                on_cpu.begins(event);
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
                works.on_cpu_ns += on_cpu.ends(event);
                if let Some((queue_ns, by)) = queued {
                    works.queued += 1;
                    works.wait_ns += start_ns - queue_ns;
                    works.remote += u64::from(by != cpu);
                }
            }
            "sched_switch" => on_cpu.switches(event),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, Result};

    use super::{super::tests::event, *};

    #[test]
    fn what_a_work_sleeps_is_not_on_its_cpu() -> Result<()> {
        let lines = [
            "kworker/u4:1-7 [000] ..... 1.000100: workqueue_execute_start: work struct 00ab: function f",
            "kworker/u4:1-7 [000] d.... 1.000110: sched_switch: prev_comm=kworker/u4:1 prev_pid=7 prev_prio=120 prev_state=D ==> next_comm=x next_pid=8 next_prio=120",
            "x-8 [000] d.... 1.000150: sched_switch: prev_comm=x prev_pid=8 prev_prio=120 prev_state=S ==> next_comm=kworker/u4:1 next_pid=7 next_prio=120",
            "kworker/u4:1-7 [000] ..... 1.000160: workqueue_execute_end: work struct 00ab: function f",
        ];
        let events: Vec<Event> = lines.into_iter().map(event).collect::<Result<_>>()?;
        let works = works(&events, &(0..u64::MAX));
        let works = works.get("f").context("no f")?;
        assert_eq!(
            (works.runs, works.service_ns, works.on_cpu_ns),
            (1, 60_000, 20_000)
        );
        Ok(())
    }
}
