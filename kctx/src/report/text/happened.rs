//! What happened at a time: modules, taint, kernel log; and the governor's note.

use super::{finish, more, title};
use crate::{
    aggregate::window::ModuleRow,
    host::kmsg::LEVEL_NAMES,
    report::{
        columns::Columns,
        human::{brief, count, cut, duration, name},
        paper::Paper,
        summary::Summary,
    },
};

/// Module events shown.
const MODULE_EVENTS: usize = 50;

/// Lines of the kernel's log shown.
const LOG_LINES: usize = 15;

/// Widest text of a log line.
const LOG_WIDTH: usize = 80;

/// Near the top: it changes how the numbers below are to be read.
pub(super) fn governor(out: &mut Paper, summary: &Summary) {
    for row in &summary.governor {
        let after = |unix_ns: u64| duration(unix_ns.saturating_sub(summary.window.start_unix_ns));
        let until = match row.until_unix_ns {
            Some(until) => format!("to {}", after(until)),
            None => "to the end".to_owned(),
        };
        let since = match row.since_unix_ns <= summary.window.start_unix_ns {
            true => "from the start".to_owned(),
            false => format!("from {}", after(row.since_unix_ns)),
        };
        let governed = summary.accounting.by_family.get(&row.family);
        out.push_str(&format!(
            "governor {} only as histograms {since} {until} ({} records): {}\n",
            row.family.as_str(),
            brief(governed.map_or(0, |counts| counts.governed)),
            out.cut(&row.reason, 60)
        ));
    }
}

pub(super) fn modules(out: &mut Paper, summary: &Summary) {
    if summary.module.is_empty() {
        return;
    }
    title(out, "Modules");
    let mut table = Columns::new([
        "after",
        "<event",
        "<module",
        "<taints",
        "<by",
        "init took",
        "<asked for by",
    ]);
    let shown = out.rows(MODULE_EVENTS);
    for row in summary.module.iter().take(shown) {
        table.push([
            after(summary, row.time_unix_ns),
            row.event.as_str().to_owned(),
            out.cut(&row.name, 18),
            out.cut(or_dash(&row.taints), 6),
            out.cut(&format!("{}[{}]", name(&row.comm), row.pid), 18),
            init(row),
            row.requested_by.as_ref().map_or_else(String::new, |by| {
                let sure = if by.guess { "?" } else { "" };
                let process = format!("{}[{}]{sure}", name(&by.comm), by.pid);
                out.cut(&format!("{process} ({})", name(&by.name)), 21)
            }),
        ]);
    }
    finish(out, &table);
    more(out, summary.module.len(), shown, "module events");
}

/// How long an init function took, and what it returned where that is no success.
fn init(row: &ModuleRow) -> String {
    let Some(took) = row.init_ns else {
        return String::new();
    };
    match row.ret.unwrap_or(0) {
        0 => duration(took),
        ret => cut(&format!("failed {ret}"), 11),
    }
}

pub(super) fn taints(out: &mut Paper, summary: &Summary) {
    if summary.taint.changes.is_empty() {
        return;
    }
    title(out, "Taint changes");
    for row in &summary.taint.changes {
        out.push_str(&format!(
            "  after {}: {} to {} (+{})\n",
            after(summary, row.time_unix_ns),
            row.before,
            row.after,
            out.cut(&row.added, 20)
        ));
    }
}

/// Times are since the window's start, so that they can be told from those of modules and taints.
pub(super) fn log(out: &mut Paper, summary: &Summary) {
    let log = &summary.log;
    let levels = LEVEL_NAMES.iter().zip(log.by_level);
    let kinds: Vec<_> = levels
        .chain([(&"fragments", log.fragments)])
        .filter(|(_, lines)| *lines > 0)
        .map(|(level, lines)| format!("{level} {}", count(lines)))
        .collect();
    if kinds.is_empty() && log.overruns == 0 && log.failed == 0 {
        return;
    }
    title(out, &format!("Kernel log ({})", kinds.join(", ")));
    let mut table = Columns::new(["after", "<level", "<text"]);
    let shown = out.rows(LOG_LINES);
    for line in log.lines.iter().take(shown) {
        let level = match line.fragment {
            true => "-",
            false => LEVEL_NAMES.get(usize::from(line.level)).unwrap_or(&"?"),
        };
        table.push([
            after(summary, line.time_unix_ns),
            level.to_owned(),
            out.cut(&line.text, LOG_WIDTH - 2),
        ]);
    }
    finish(out, &table);
    let kept = log.lines.len().saturating_sub(shown) as u64;
    let left_out = log.dropped.saturating_add(kept);
    if left_out > 0 {
        out.push_str(&format!("  and {} more lines\n", count(left_out)));
    }
    if log.overruns > 0 {
        out.push_str(&format!(
            "  lines are missing: {} times more came than could be read ({} known to be overwritten)\n",
            count(log.overruns),
            count(log.overwritten)
        ));
    }
    if log.failed > 0 {
        out.push_str(&format!(
            "  the log could not be read {} times\n",
            count(log.failed)
        ));
    }
}

fn after(summary: &Summary, unix_ns: u64) -> String {
    duration(unix_ns.saturating_sub(summary.window.start_unix_ns))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
