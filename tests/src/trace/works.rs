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
