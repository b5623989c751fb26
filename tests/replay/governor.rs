//! From the governor's word in the stream to the line that a user reads.

use kctx::{
    aggregate::{table::RowLimits, window::Family},
    pipeline::Pipeline,
    report::live,
    resolve::Resolver,
    source::{Control, Item},
};
use kctx_tests::stream::{Names, START_NS, control, start, window_end};

use crate::SECOND;

/// The last part of each window's line.
fn said(items: &[Item]) -> Vec<String> {
    let resolver = Resolver::new(Box::new(Names::default()));
    let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
    let windows = items.iter().filter_map(|item| pipeline.take(item));
    let last = |line: String| line.rsplit(" | ").next().unwrap_or_default().to_owned();
    windows
        .map(|window| last(live::one_line(&window)))
        .collect()
}

#[test]
fn a_limit_is_told_in_each_window_that_it_lasts() {
    let governor = |limited, after: u64, reason: &str| {
        control(Control::Governor {
            family: Family::Napi,
            limited,
            monotonic_ns: START_NS + after,
            reason: reason.to_owned(),
        })
    };
    let items = [
        start(),
        governor(true, 2 * SECOND, "kctx used 3.6 % of a CPU"),
        window_end(3 * SECOND),
        window_end(4 * SECOND),
        governor(false, 5 * SECOND, "it would fit"),
        window_end(6 * SECOND),
    ];
    let limited = "limited napi since 2023-11-14 22:13:22 UTC: kctx used 3.6 % of a CPU";
    assert_eq!(said(&items), [limited, limited, "lost 0"]);
}

#[test]
fn that_nothing_is_left_to_limit_is_told_in_each_window_that_it_lasts() {
    let helpless = |after: u64, reason: Option<&str>| {
        control(Control::GovernorHelpless {
            monotonic_ns: START_NS + after,
            reason: reason.map(str::to_owned),
        })
    };
    let items = [
        start(),
        helpless(2 * SECOND, Some("nothing is left to limit")),
        window_end(3 * SECOND),
        window_end(4 * SECOND),
        helpless(5 * SECOND, None),
        window_end(6 * SECOND),
    ];
    let over = "over the limit since 2023-11-14 22:13:22 UTC: nothing is left to limit";
    assert_eq!(said(&items), [over, over, "lost 0"]);
}
