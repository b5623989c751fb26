//! The lines on top: which window, what is hot, what kctx costs.

use ratatui_core::{buffer::Buffer, layout::Rect};

use super::{fold, put, put_at};
use crate::{
    diagnose::Severity,
    report::{
        human::{count, name, share, utc},
        own_cost,
        summary::Summary,
        text::raiser,
    },
    top::{
        history::Frame,
        model::Model,
        palette::Palette,
        rows::{OTHERS, action, confidence, severity},
    },
};

/// Findings that have a line of their own here; the others are in their table.
const FINDINGS: usize = 3;

/// Lines that one of them may take.
const FOLDED: usize = 2;

/// How many lines it takes: the window, what is hot, kctx's own.
pub(super) fn lines(model: &Model, area: Rect) -> u16 {
    let limits = model.shown().map_or(0, |frame| frame.limits.len());
    let hot = hot(model, area.width).len() as u16;
    // On a small terminal the table comes first.
    let most = (area.height / 4).max(1);
    (2 + hot + limits as u16).min(most)
}

pub(super) fn draw(model: &Model, palette: Palette, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let mut x = put_at(buffer, area, area.x, area.y, "kctx top  ", palette.strong());
    let state = state(model);
    x = put_at(buffer, area, x, area.y, &state, palette.selected());
    let Some(frame) = model.shown() else {
        let why = if model.is_over() {
            "this bundle has no window that can be shown; kctx report may say more"
        } else {
            "the first window is still open"
        };
        put(buffer, area, area.y + 1, why, palette.plain());
        return;
    };
    let window = &frame.summary.window;
    let text = format!(
        "  {}  {}  {}",
        utc(window.start_unix_ns),
        crate::report::human::duration(window.duration_ns),
        name(&frame.summary.host.hostname)
    );
    put_at(buffer, area, x, area.y, &text, palette.plain());
    let mut hot = hot(model, area.width);
    // However much is hot, what kctx lost or does not see is told.
    hot.truncate(usize::from(area.height).saturating_sub(2));
    let own = [(false, own(model, frame))].into_iter();
    let limits = frame.limits.iter().map(|limit| (false, limit.clone()));
    let below = hot.into_iter().chain(own).chain(limits);
    for ((alarm, text), y) in below.zip(area.y + 1..area.bottom()) {
        let style = if alarm {
            palette.alarm()
        } else {
            palette.plain()
        };
        put(buffer, area, y, &text, style);
    }
}

fn state(model: &Model) -> String {
    let (place, all) = model.place();
    match (model.is_held(), model.is_over()) {
        (true, _) => format!("PAUSED {place}/{all}"),
        (false, true) => format!("RECORDED {place}/{all}"),
        (false, false) => "LIVE".to_owned(),
    }
}

/// The findings that are alarms, the worst first; without one what is busiest: a window of a second is too short for the
/// diagnosis to say that nothing is hot. In lines that fit, and whether each is an alarm.
fn hot(model: &Model, width: u16) -> Vec<(bool, String)> {
    let Some(frame) = model.shown() else {
        return Vec::new();
    };
    let findings = &frame.diagnosis.findings;
    let alarms = (findings.iter()).filter(|one| one.severity >= Severity::Warn);
    let mut lines: Vec<(bool, String)> = (alarms.take(FINDINGS))
        .map(|one| {
            let text = format!(
                "{} {}: {} (confidence {})",
                severity(one.severity),
                name(&one.id),
                name(&one.title),
                confidence(one.confidence)
            );
            (true, text)
        })
        .collect();
    if lines.is_empty() {
        lines.push((false, busiest(&frame.summary)));
    }
    let folded = lines.into_iter().flat_map(|(alarm, line)| {
        let lines = fold(&line, usize::from(width)).into_iter();
        lines.take(FOLDED).map(move |line| (alarm, line))
    });
    folded.collect()
}

/// What took most of one CPU, and of a softirq who raised it.
pub(super) fn busiest(summary: &Summary) -> String {
    let mut softirqs = std::collections::BTreeMap::new();
    for row in &summary.softirq {
        let ns: &mut u64 = softirqs.entry((row.vector.as_str(), row.cpu)).or_default();
        *ns = ns.saturating_add(row.service_net.sum_ns);
    }
    let softirqs = softirqs.into_iter().map(|((vector, cpu), ns)| {
        let what = format!("softirq {} took", name(vector));
        (ns, what, Some(cpu), raised_by(summary, vector, cpu))
    });
    let hardirqs = summary.hardirq.iter().map(|row| {
        let number = row.irq.map_or_else(String::new, |irq| format!("{irq} "));
        let what = format!("interrupt {number}{} took", name(action(row)));
        (row.service.sum_ns, what, Some(row.cpu), String::new())
    });
    let kthreads = summary.kthread.iter().map(|row| {
        let comm = if row.overflow { OTHERS } else { &row.comm };
        let what = format!("kernel thread {} took", name(comm));
        (row.cpu_net_ns, what, None, String::new())
    });
    let all = softirqs.chain(hardirqs).chain(kthreads);
    let Some((ns, what, cpu, by)) = all.filter(|(ns, ..)| *ns > 0).max_by_key(|(ns, ..)| *ns)
    else {
        return "No kernel context took time in this window.".to_owned();
    };
    let whose = cpu.map_or_else(|| "a CPU".to_owned(), |cpu| format!("CPU {cpu}"));
    let share = share(ns, summary.window.duration_ns);
    format!("Busiest: {what} {share} of {whose}{by}.")
}

fn raised_by(summary: &Summary, vector: &str, cpu: u32) -> String {
    let mut raisers = summary.softirq_origin.iter();
    // The most frequent is the first of its vector and CPU.
    let first = raisers.find(|row| row.vector == vector && row.cpu == cpu);
    first.map_or_else(String::new, |row| {
        format!(", mostly raised by {}", raiser(&row.origin))
    })
}

/// kctx's own cost, what got lost, probes that are not there.
fn own(model: &Model, frame: &Frame) -> String {
    let summary = &frame.summary;
    let cost = summary.own_cost.as_ref();
    let cost = cost.map(|cost| own_cost::brief_of(cost, summary.window.duration_ns));
    let total = &summary.accounting.total;
    let lost = total
        .lost
        .values()
        .fold(0, |sum: u64, n| sum.saturating_add(*n));
    let mut parts: Vec<String> = cost.into_iter().collect();
    parts.push(format!("lost {}", count(lost)));
    let absent = summary
        .probes
        .iter()
        .filter(|probe| !probe.attached)
        .count();
    if absent > 0 {
        parts.push(format!("not attached {absent} (9)"));
    }
    if model.missed() > 0 {
        parts.push(format!("windows not shown {}", count(model.missed())));
    }
    if total.spilled > 0 {
        parts.push(format!("spilled {}", count(total.spilled)));
    }
    parts.join("  ")
}
