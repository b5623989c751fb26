//! What happened at a time, over the windows that are kept: modules, taint, the kernel's log.

use super::history::History;
use crate::{
    aggregate::window::{LogRow, ModuleRow, TaintRow},
    host::kmsg::LEVEL_NAMES,
    report::{human, summary::Summary},
};

/// The newest ones that are shown.
pub(super) const SHOWN: usize = 500;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Happened {
    /// When, in nanoseconds since the Unix epoch.
    pub(super) time_unix_ns: u64,
    /// `module load`, `taint`, `log warning` and so on.
    pub(super) what: String,
    /// The rest in words.
    pub(super) text: String,
}

/// Up to the window of a number, the newest first.
pub(super) fn up_to(history: &History, number: u64, most: usize) -> Vec<Happened> {
    let mut all = Vec::new();
    for frame in history.up_to(number) {
        let mut of_window = in_window(&frame.summary);
        of_window.sort_by_key(|one| std::cmp::Reverse(one.time_unix_ns));
        all.append(&mut of_window);
        if all.len() >= most {
            all.truncate(most);
            break;
        }
    }
    all
}

fn in_window(summary: &Summary) -> Vec<Happened> {
    let modules = summary.module.iter().map(module);
    let taints = summary.taint.changes.iter().map(taint);
    let lines = summary.log.lines.iter().map(log);
    let mut all: Vec<Happened> = modules.chain(taints).chain(lines).collect();
    if summary.log.dropped > 0 {
        let end = summary.window.start_unix_ns + summary.window.duration_ns;
        all.push(Happened {
            time_unix_ns: end,
            what: "log".to_owned(),
            text: format!("and {} more lines", human::count(summary.log.dropped)),
        });
    }
    all
}

fn module(row: &ModuleRow) -> Happened {
    let mut text = format!("{} by {}[{}]", row.name, row.comm, row.pid);
    if !row.taints.is_empty() {
        text.push_str(&format!(", taints {}", row.taints));
    }
    if let Some(took) = row.init_ns {
        text.push_str(&format!(", init took {}", human::duration(took)));
    }
    if let Some(ret) = row.ret.filter(|ret| *ret != 0) {
        text.push_str(&format!(", failed {ret}"));
    }
    if let Some(by) = &row.requested_by {
        let sure = if by.guess { "maybe " } else { "" };
        text.push_str(&format!(", {sure}asked for by {}[{}]", by.comm, by.pid));
    }
    Happened {
        time_unix_ns: row.time_unix_ns,
        what: format!("module {}", row.event.as_str()),
        text,
    }
}

fn taint(row: &TaintRow) -> Happened {
    Happened {
        time_unix_ns: row.time_unix_ns,
        what: "taint".to_owned(),
        text: format!("{} to {} (+{})", row.before, row.after, row.added),
    }
}

fn log(row: &LogRow) -> Happened {
    let level = LEVEL_NAMES.get(usize::from(row.level)).unwrap_or(&"?");
    Happened {
        time_unix_ns: row.time_unix_ns,
        what: match row.fragment {
            true => "log -".to_owned(),
            false => format!("log {level}"),
        },
        text: row.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::fixture, top::history::Frame};

    #[test]
    fn the_newest_of_all_windows_come_first() {
        let mut history = History::new(1 << 20);
        for number in 0..3 {
            let mut window = fixture::window();
            for row in &mut window.module {
                row.time_unix_ns += number * 1_000_000_000;
            }
            window.log = Default::default();
            window.taint.clear();
            history.push(Frame::new(number, &window, fixture::host()));
        }
        let all = up_to(&history, 1, SHOWN);
        assert_eq!(all.len(), 6, "of the windows 1 and 0");
        assert!(all.is_sorted_by(|a, b| a.time_unix_ns >= b.time_unix_ns));
        assert_eq!(all[0].what, "module init");
        assert_eq!(
            all[1].text,
            "evil\n by insmod[77], taints OE, maybe asked for by iperf3[4711]"
        );
        assert_eq!(up_to(&history, 2, 4).len(), 4);
    }

    #[test]
    fn lines_that_were_not_kept_are_counted() {
        let mut history = History::new(1 << 20);
        history.push(Frame::new(0, &fixture::window(), fixture::host()));
        let all = up_to(&history, 0, SHOWN);
        assert_eq!(all[0].text, "and 3 more lines");
        assert!(all.iter().any(|one| one.what == "log warning"));
        assert!(all.iter().any(|one| one.text == "1 to 4097 (+O)"));
    }
}
