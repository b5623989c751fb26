//! A window's rows, table by table.

use std::collections::BTreeMap;

use super::{
    happened::Happened,
    history::Frame,
    table::{Row, Tab},
    value::Value,
};
use crate::{
    aggregate::window::ProbeStatus,
    diagnose::{Confidence, Finding, Severity},
    report::{
        summary::{
            DurationSummary, HardirqSummary, KthreadSummary, NapiSummary, SoftirqOriginSummary,
            SoftirqSummary, Summary, TaskletSummary, WorkqueueSummary,
        },
        text::raiser,
    },
};

/// What stands for the rows that the key limit kept out.
pub(super) const OTHERS: &str = "(all others)";

/// All rows of a table, in the order of the summary.
pub(super) fn rows<'a>(tab: Tab, frame: &'a Frame, happened: &'a [Happened]) -> Vec<Row<'a>> {
    let summary = &frame.summary;
    match tab {
        Tab::Softirqs => numbered(&summary.softirq, |row| softirq(summary, row)),
        Tab::Raisers => {
            let runs = runs_by_place(&summary.softirq_origin);
            numbered(&summary.softirq_origin, |row| raised(summary, &runs, row))
        }
        Tab::Interrupts => numbered(&summary.hardirq, |row| hardirq(summary, row)),
        Tab::Works => numbered(&summary.workqueue, |row| work(summary, row)),
        Tab::Napi => numbered(&summary.napi, |row| napi(summary, row)),
        Tab::Kthreads => numbered(&summary.kthread, |row| kthread(summary, row)),
        Tab::Tasklets => numbered(&summary.tasklet, |row| tasklet(summary, row)),
        Tab::Events => numbered(happened, event),
        Tab::Probes => numbered(&summary.probes, probe),
        Tab::Findings => numbered(&frame.diagnosis.findings, finding),
    }
}

fn numbered<'a, T>(all: &'a [T], row: impl Fn(&'a T) -> (String, Vec<Value<'a>>)) -> Vec<Row<'a>> {
    (all.iter().enumerate())
        .map(|(index, one)| {
            let (key, values) = row(one);
            Row { key, values, index }
        })
        .collect()
}

fn ns(summary: &Summary) -> u64 {
    summary.window.duration_ns
}

/// Median, 99th percentile, maximum.
fn quantiles<'a>(durations: &DurationSummary) -> [Value<'a>; 3] {
    let known = |ns: u64| Value::Duration((durations.count > 0).then_some(ns));
    [durations.p50_ns, durations.p99_ns, durations.max_ns].map(known)
}

fn share<'a>(summary: &Summary, durations: &DurationSummary, runs: u64) -> Value<'a> {
    // Of runs without a duration nobody knows the time.
    let unknown = durations.count == 0 && runs > 0;
    Value::Share((!unknown).then_some(durations.sum_ns), ns(summary))
}

fn place(context: &str) -> Value<'_> {
    Value::text(context.replace('_', " "))
}

fn softirq<'a>(summary: &Summary, row: &'a SoftirqSummary) -> (String, Vec<Value<'a>>) {
    let mut values = vec![
        Value::text(row.vector.as_str()),
        Value::Id(Some(row.cpu)),
        place(&row.context),
        Value::Rate(row.count, ns(summary)),
        share(summary, &row.service_net, row.count),
    ];
    values.extend(quantiles(&row.service_net));
    values.extend(quantiles(&row.wait));
    (
        format!("{} {} {}", row.vector, row.cpu, row.context),
        values,
    )
}

/// Runs of each vector on each CPU whose raiser was seen, or known to be unknown.
type Runs<'a> = BTreeMap<(&'a str, u32), u64>;

fn runs_by_place(rows: &[SoftirqOriginSummary]) -> Runs<'_> {
    let mut runs = Runs::new();
    for row in rows {
        let all = runs.entry((row.vector.as_str(), row.cpu)).or_default();
        *all = all.saturating_add(row.count);
    }
    runs
}

fn raised<'a>(
    summary: &Summary,
    runs: &Runs<'_>,
    row: &'a SoftirqOriginSummary,
) -> (String, Vec<Value<'a>>) {
    let by = raiser(&row.origin);
    let all = runs.get(&(row.vector.as_str(), row.cpu)).copied();
    (
        format!("{} {} {by}", row.vector, row.cpu),
        vec![
            Value::text(row.vector.as_str()),
            Value::Id(Some(row.cpu)),
            Value::text(by),
            Value::Rate(row.count, ns(summary)),
            Value::Share(Some(row.count), all.unwrap_or(0)),
        ],
    )
}

/// The name of an interrupt's row.
pub(super) fn action(row: &HardirqSummary) -> &str {
    match row.overflow {
        true => OTHERS,
        false => &row.name,
    }
}

fn hardirq<'a>(summary: &Summary, row: &'a HardirqSummary) -> (String, Vec<Value<'a>>) {
    let mut values = vec![
        Value::Id(row.irq),
        Value::text(action(row)),
        Value::Id(Some(row.cpu)),
        Value::Rate(row.count.saturating_add(row.unhandled), ns(summary)),
        share(summary, &row.service, row.count),
    ];
    values.extend(quantiles(&row.service));
    values.push(Value::Rate(row.unhandled, ns(summary)));
    (format!("{:?} {} {}", row.irq, action(row), row.cpu), values)
}

fn work<'a>(summary: &Summary, row: &'a WorkqueueSummary) -> (String, Vec<Value<'a>>) {
    let (queue, function) = match row.overflow {
        true => (OTHERS, ""),
        false => (row.workqueue.as_str(), row.function.as_str()),
    };
    let mut values = vec![
        Value::text(queue),
        Value::text(function),
        Value::Rate(row.count, ns(summary)),
        // In wall time it may be more than a CPU has: a work may sleep.
        share(summary, &row.service_net, row.count),
    ];
    values.extend(quantiles(&row.service));
    values.extend(quantiles(&row.wait));
    (format!("{queue} {function}"), values)
}

fn napi<'a>(summary: &Summary, row: &'a NapiSummary) -> (String, Vec<Value<'a>>) {
    let device = if row.overflow { OTHERS } else { &row.device };
    let mut values = vec![
        Value::text(device),
        Value::Id((row.napi_id > 0).then_some(row.napi_id)),
        Value::Id(Some(row.cpu)),
        place(&row.context),
        Value::Rate(row.count, ns(summary)),
        share(summary, &row.service, row.count),
        Value::Rate(row.packets, ns(summary)),
        Value::Share(Some(row.exhausted), row.count),
    ];
    values.extend(quantiles(&row.service));
    let key = format!("{device} {} {} {}", row.napi_id, row.cpu, row.context);
    (key, values)
}

fn kthread<'a>(summary: &Summary, row: &'a KthreadSummary) -> (String, Vec<Value<'a>>) {
    let comm = if row.overflow { OTHERS } else { &row.comm };
    // A kworker's row is of one workqueue.
    let name = match row.workqueue.as_str() {
        "" => Value::text(comm),
        queue => Value::text(format!("{comm} {queue}")),
    };
    let mut values = vec![
        name,
        Value::Id((!row.overflow).then_some(row.pid)),
        Value::Rate(row.count, ns(summary)),
        Value::Share(Some(row.cpu_net_ns), ns(summary)),
    ];
    values.extend(quantiles(&row.service_net));
    values.extend(quantiles(&row.wait));
    (format!("{comm} {} {}", row.pid, row.workqueue), values)
}

fn tasklet<'a>(summary: &Summary, row: &'a TaskletSummary) -> (String, Vec<Value<'a>>) {
    let function = if row.overflow { OTHERS } else { &row.function };
    let mut values = vec![
        Value::text(function),
        Value::Rate(row.count, ns(summary)),
        share(summary, &row.service_net, row.count),
    ];
    values.extend(quantiles(&row.service_net));
    (function.to_owned(), values)
}

fn event(one: &Happened) -> (String, Vec<Value<'_>>) {
    let values = vec![
        Value::Time(one.time_unix_ns),
        Value::text(one.what.as_str()),
        Value::text(one.text.as_str()),
    ];
    (format!("{} {}", one.time_unix_ns, one.text), values)
}

fn probe(one: &ProbeStatus) -> (String, Vec<Value<'_>>) {
    let how = match one.attached {
        true => one.mechanism.as_deref().unwrap_or("yes"),
        false => "NO",
    };
    let values = vec![
        Value::text(one.name.as_str()),
        Value::text(how),
        Value::text(one.reason.as_deref().unwrap_or_default()),
    ];
    (one.name.clone(), values)
}

/// A severity as it is shown.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "WARN",
        Severity::Crit => "CRIT",
    }
}

/// A confidence as it is shown.
pub(super) fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

fn finding(one: &Finding) -> (String, Vec<Value<'_>>) {
    // In parts of a million of per cent: the share is a number with a point.
    let share = (one.share.as_ref()).map(|share| (share.percent.max(0.0) * 1e6) as u64);
    let values = vec![
        Value::text(severity(one.severity)),
        Value::text(confidence(one.confidence)),
        Value::Share(share, 100_000_000),
        Value::text(one.id.as_str()),
        Value::text(one.title.as_str()),
    ];
    (format!("{} {}", one.id, one.title), values)
}
