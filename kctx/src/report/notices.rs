//! What `kctx run` says on stderr besides its windows: the kernel's taint changed, the kernel logged a warning or
//! worse. One line of each in a window, whatever came.

use super::human::{count, cut, name};
use crate::{
    aggregate::window::Window,
    host::kmsg::{LEVEL_NAMES, WARNING},
};

/// Widest text of the log's line.
const LOG_WIDTH: usize = 160;

/// The window's notices.
#[must_use]
pub fn notices(window: &Window) -> Vec<String> {
    taint(window).into_iter().chain(log(window)).collect()
}

fn taint(window: &Window) -> Option<String> {
    let (first, last) = (window.taint.first()?, window.taint.last()?);
    let added: String = window.taint.iter().map(|row| row.added.as_str()).collect();
    Some(format!(
        "the kernel's taint changed: {} to {} (+{})",
        first.before,
        last.after,
        name(&added)
    ))
}

/// The first line, and how many more; by the counts alone where the first was not kept.
fn log(window: &Window) -> Option<String> {
    let levels = window.log.by_level.iter().take(usize::from(WARNING) + 1);
    let all = levels.fold(0, |sum: u64, lines| sum.saturating_add(*lines));
    if all == 0 {
        return None;
    }
    let is_severe = |level| level <= WARNING;
    let first = (window.log.lines.iter()).find(|line| is_severe(line.level) && !line.fragment);
    let Some(line) = first else {
        let all = count(all);
        return Some(format!("kernel log: {all} lines at warning or worse"));
    };
    let level = LEVEL_NAMES.get(usize::from(line.level)).unwrap_or(&"?");
    let more = match all - 1 {
        0 => String::new(),
        more => format!(" (and {} more at warning or worse)", count(more)),
    };
    let text = cut(&line.text, LOG_WIDTH);
    Some(format!("kernel log: {level}: {text}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::window::{LogRow, TaintRow};
    use crate::report::fixture;

    #[test]
    fn a_window_has_one_line_of_each() {
        assert_eq!(
            notices(&fixture::window()),
            [
                "the kernel's taint changed: 1 to 4097 (+O)",
                "kernel log: warning: evil: loading out-of-tree module taints kernel.\\u{1b}[2J",
            ]
        );
        assert!(notices(&Window::default()).is_empty());
    }

    #[test]
    fn more_is_one_line_all_the_same() {
        let mut window = fixture::window();
        window.taint.push(TaintRow {
            before: 4097,
            after: 4609,
            added: "W".to_owned(),
            ..window.taint[0].clone()
        });
        let line = |level, fragment| LogRow {
            level,
            text: "y".repeat(500),
            fragment,
            ..LogRow::default()
        };
        window.log.lines = vec![
            line(6, false),
            line(4, true),
            line(3, false),
            line(0, false),
        ];
        window.log.by_level = [1, 0, 0, 2_000, 0, 7, 9, 9];
        let shown = notices(&window);
        assert_eq!(shown[0], "the kernel's taint changed: 1 to 4609 (+OW)");
        assert_eq!(
            shown[1],
            format!(
                "kernel log: err: {}~ (and 2,000 more at warning or worse)",
                "y".repeat(159)
            )
        );
        window.log.lines.clear();
        assert_eq!(
            notices(&window)[1],
            "kernel log: 2,001 lines at warning or worse"
        );
        window.log.by_level = [0, 0, 0, 0, 0, 7, 9, 9];
        assert_eq!(notices(&window).len(), 1);
    }
}
