//! The tasks that used CPUs most: `top-tasks.json` or `top-tasks.tsv`.

use serde_json::Value;

use super::either;
use crate::capture::evidence_set::EvidenceSet;

/// Where they may be.
pub(in crate::diagnose) const FILES: [&str; 2] = ["tasks.json", "tasks.tsv"];

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::diagnose) struct Task {
    pub(in crate::diagnose) comm: String,
    pub(in crate::diagnose) pid: u32,
    /// `SCHED_FIFO` (1) or `SCHED_RR` (2) or `SCHED_DEADLINE` (6).
    pub(in crate::diagnose) real_time: bool,
    /// Of real-time tasks, 1 to 99.
    pub(in crate::diagnose) priority: u32,
    /// The CPU that it was on last.
    pub(in crate::diagnose) cpu: Option<u32>,
}

pub(super) fn of(evidence: &EvidenceSet) -> Option<Vec<Task>> {
    FILES.iter().find_map(|file| {
        let text = either(evidence, file)?;
        Some(match serde_json::from_str::<Value>(&text) {
            Ok(document) => from_json(&document),
            Err(_) => from_table(&text),
        })
    })
}

fn from_json(document: &Value) -> Vec<Task> {
    let items = match document {
        Value::Array(items) => Some(items),
        Value::Object(fields) => fields.values().find_map(Value::as_array),
        _ => None,
    };
    let field = |item: &Value, key: &str| {
        item.get(key).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    items
        .into_iter()
        .flatten()
        .filter_map(|item| task(&|key| field(item, key)))
        .collect()
}

/// A line of names, then one a task, with tabs between.
fn from_table(text: &str) -> Vec<Task> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let of_line = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        task(&|key| {
            let column = names.iter().position(|name| *name == key)?;
            cells.get(column).map(|cell| (*cell).to_owned())
        })
    };
    lines.filter_map(of_line).collect()
}

fn task(field: &dyn Fn(&str) -> Option<String>) -> Option<Task> {
    let number = |keys: &[&str]| keys.iter().find_map(|key| field(key)?.parse::<u32>().ok());
    let policy = field("policy").unwrap_or_default();
    Some(Task {
        comm: field("comm")?,
        pid: number(&["pid", "tid"])?,
        real_time: ["1", "2", "6"].contains(&policy.as_str())
            || ["FIFO", "RR", "DEADLINE", "fifo", "rr", "deadline"]
                .iter()
                .any(|name| policy.ends_with(name)),
        priority: number(&["rt_priority", "priority", "prio"]).unwrap_or(0),
        cpu: number(&["cpu", "processor"]),
    })
}

impl super::Facts<'_> {
    /// Real-time tasks that were last on a CPU, kernel threads that the kernel itself makes so left out.
    pub(in crate::diagnose) fn real_time_tasks(&self, cpu: u32) -> Vec<&Task> {
        let tasks = self.tasks.iter().flatten();
        let kernel = [
            "migration/",
            "idle_inject/",
            "irq/",
            "watchdog",
            "rcu",
            "ktimers/",
            "cpuhp/",
            "stop",
        ];
        tasks
            .filter(|task| task.real_time && task.cpu.is_none_or(|last| last == cpu))
            .filter(|task| !kernel.iter().any(|start| task.comm.starts_with(start)))
            .collect()
    }
}
