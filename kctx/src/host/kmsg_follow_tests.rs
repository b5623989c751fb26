use std::collections::VecDeque;

use super::*;
use crate::host::kmsg_window::{LogSummary, LogWindow};
use proptest::prelude::*;

/// Gives one record, or one error, a read, as /dev/kmsg does.
#[derive(Default)]
struct Device(VecDeque<Result<String, ErrorKind>>);

impl Device {
    fn of(reads: impl IntoIterator<Item = Result<&'static str, ErrorKind>>) -> Self {
        Self(reads.into_iter().map(|r| r.map(str::to_owned)).collect())
    }
}

impl Seek for Device {
    /// To the end, as is all that is asked for.
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        self.0.clear();
        Ok(0)
    }
}

impl Read for Device {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.pop_front().unwrap_or(Err(ErrorKind::WouldBlock)) {
            Ok(text) => {
                buffer[..text.len()].copy_from_slice(text.as_bytes());
                Ok(text.len())
            }
            Err(kind) => Err(kind.into()),
        }
    }
}

fn follow(
    reads: impl IntoIterator<Item = Result<&'static str, ErrorKind>>,
) -> KmsgFollower<Device> {
    KmsgFollower::over(Device::of(reads), &LogBounds::default())
}

fn at(time_us: u64, level: u8) -> LogLine {
    LogLine {
        seq: time_us,
        level,
        time_us,
        text: "x".into(),
        ..LogLine::default()
    }
}

#[test]
fn lines_come_with_their_level_times_and_readable_text() {
    let polled = follow([
        Ok("4,10,2000,-,caller=T1;eth0: caf\\xc3\\xa9 a\\x5cb\\x0ac\n SUBSYSTEM=net\n DEVICE=n2\n"),
        Ok("3,11,2001,-;IPv6: a;b, c\n"),
    ])
    .poll(77)
    .unwrap();
    let [first, second] = polled.lines.as_slice() else {
        panic!("{polled:?}");
    };
    assert_eq!((first.seq, first.level, first.time_us), (10, 4, 2000));
    assert_eq!(first.text, "eth0: café a\\b\\x0ac");
    assert_eq!(
        (first.seen_ns, first.cut, first.fragment),
        (77, false, false)
    );
    assert_eq!((second.level, second.text.as_str()), (3, "IPv6: a;b, c"));
    assert!(!polled.more);
}

#[test]
fn what_userspace_wrote_is_counted_and_not_kept() {
    // 14 and 30: facilities 1 (what a plain write gets) and 3.
    let mut follower = follow([
        Ok("14,1,5,-;from a shell\n"),
        Ok("30,2,6,-;systemd\n"),
        Ok("6,3,7,-;x\n"),
    ]);
    let polled = follower.poll(0).unwrap();
    assert_eq!((polled.from_userspace, polled.lines.len()), (2, 1));
    assert_eq!(polled.overwritten, 0);
}

#[test]
fn an_overrun_is_counted_with_what_it_cost() {
    let mut follower = follow([
        Ok("3,5,10,-;a\n"),
        Err(ErrorKind::BrokenPipe),
        Ok("3,9,20,-;b\n"),
        Err(ErrorKind::Interrupted),
        Err(ErrorKind::WouldBlock),
        Err(ErrorKind::BrokenPipe),
        Ok("3,12,30,-;c\n"),
    ]);
    let polled = follower.poll(0).unwrap();
    assert_eq!((polled.overruns, polled.overwritten), (1, 3));
    assert_eq!(polled.lines.len(), 2);
    let polled = follower.poll(0).unwrap();
    assert_eq!((polled.overruns, polled.overwritten), (1, 2));
    assert_eq!(follower.poll(0).unwrap(), Polled::default());
}

#[test]
fn an_overrun_before_any_record_was_read_costs_an_unknown_number() {
    let polled = follow([Err(ErrorKind::BrokenPipe), Ok("3,9,20,-;b\n")])
        .poll(0)
        .unwrap();
    assert_eq!((polled.overruns, polled.overwritten), (1, 0));
}

#[test]
fn an_error_waits_until_the_lines_before_it_were_handed_out() {
    let mut follower = follow([
        Ok("3,1,1,-;a\n"),
        Err(ErrorKind::PermissionDenied),
        Err(ErrorKind::PermissionDenied),
    ]);
    assert_eq!(follower.poll(0).unwrap().lines.len(), 1);
    assert_eq!(
        follower.poll(0).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[test]
fn one_poll_reads_a_bounded_number_and_the_next_goes_on() {
    let storm = (0..RECORDS_PER_POLL + 10).map(|seq| Ok(format!("4,{seq},{seq},-;x\n")));
    let device = Device(storm.collect());
    let mut follower = KmsgFollower::over(device, &LogBounds::default());
    let polled = follower.poll(0).unwrap();
    assert_eq!((polled.lines.len(), polled.more), (RECORDS_PER_POLL, true));
    let polled = follower.poll(0).unwrap();
    assert_eq!((polled.lines.len(), polled.more), (10, false));
    assert_eq!(polled.overwritten, 0);
}

#[test]
fn a_lines_time_is_held_between_the_polls_that_it_came_between() {
    const POLL_NS: u64 = 250_000_000;
    // printk's clock is 86 s behind, or ahead: 10 ppm over 100 days.
    let behind = Ok("4,1,100000,-;a\n");
    let ahead = Ok("4,2,172500000,-;b\n");
    let between = Ok("4,3,86300000,-;c\n");
    let mut follower = follow([]);
    follower.skip(86_250_000_000).unwrap();
    follower.source = Device::of([behind, ahead, between]);
    let polled = follower.poll(86_250_000_000 + POLL_NS).unwrap();
    let times: Vec<_> = polled.lines.iter().map(LogLine::monotonic_ns).collect();
    assert_eq!(times, [86_250_000_000, 86_500_000_000, 86_300_000_000]);
}

#[test]
fn a_line_was_logged_after_the_last_poll_that_left_none() {
    let storm = (0..RECORDS_PER_POLL as u64 + 1).map(|seq| Ok(format!("4,{seq},1,-;x\n")));
    let overrun = [Err(ErrorKind::BrokenPipe), Ok("4,900,1,-;y\n".to_owned())];
    let device = Device(storm.chain(overrun).collect());
    let mut follower = KmsgFollower::over(device, &LogBounds::default());
    follower.caught_up_ns = 1_000_000;
    // This poll leaves some: the next one's lines may be as old as this one's.
    assert!(follower.poll(2_000_000).unwrap().more);
    let rest = follower.poll(3_000_000).unwrap();
    let spans: Vec<_> = (rest.lines.iter())
        .map(|line| (line.seq, line.after_ns, line.seen_ns))
        .collect();
    assert_eq!(
        spans,
        [(256, 1_000_000, 3_000_000), (900, 1_000_000, 3_000_000)]
    );
    // That one left none.
    follower.source = Device::of([Ok("4,901,1,-;z\n")]);
    let next = follower.poll(4_000_000).unwrap();
    assert_eq!(next.lines[0].monotonic_ns(), 3_000_000);
}

/// A window opens between two polls, and printk's clock is behind: the line is the window's all the same.
#[test]
fn a_line_is_not_older_than_the_window_that_has_it() {
    let mut follower = follow([Ok("4,1,1,-;x\n")]);
    follower.caught_up_ns = 1_000_000;
    follower.not_before(2_000_000);
    follower.not_before(500_000);
    let lines = follower.poll(3_000_000).unwrap().lines;
    assert_eq!(lines[0].monotonic_ns(), 2_000_000);
}

#[test]
fn what_was_passed_over_is_neither_read_nor_taken_for_overwritten() {
    let mut follower = follow([Ok("4,1,1,-;before\n"), Ok("4,2,2,-;before\n")]);
    assert_eq!(follower.poll(5).unwrap().lines.len(), 2);
    follower.source = Device::of([Ok("4,3,3,-;still before\n")]);
    follower.skip(6_000_000).unwrap();
    follower.source = Device::of([Ok("4,9,4,-;after\n")]);
    let polled = follower.poll(7_000_000).unwrap();
    assert_eq!((polled.lines.len(), polled.overwritten), (1, 0));
    assert_eq!(polled.lines[0].monotonic_ns(), 6_000_000);
}

#[test]
fn at_the_end_all_is_read_up_to_a_bound() {
    let bound = RECORDS_PER_POLL * POLLS_AT_THE_END;
    for (there, read, more) in [(600, 600, false), (bound + 9, bound, true)] {
        let storm = (0..there).map(|seq| Ok(format!("4,{seq},{seq},-;x\n")));
        let device = Device(storm.collect());
        let mut follower = KmsgFollower::over(device, &LogBounds::default());
        let polled = follower.poll_to_the_end(7).unwrap();
        assert_eq!((polled.lines.len(), polled.more), (read, more));
        assert!(polled.lines.iter().all(|line| line.seen_ns == 7));
    }
}

#[test]
fn a_fragment_is_marked_and_its_level_not_believed() {
    let mut follower = follow([Ok("6,1,1,-;CPU: 0\n"), Ok("4,2,2,c; PID: 1\n")]);
    let mut window = LogWindow::new(LogBounds::default());
    window.add(follower.poll(0).unwrap());
    let summary = window.take();
    assert!(summary.lines[1].fragment);
    assert_eq!(summary.by_level, [0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(summary.fragments, 1);
}

#[test]
fn text_is_cut_neither_in_a_character_nor_in_an_escape() {
    assert_eq!(readable("abc", 3), ("abc".into(), false));
    assert_eq!(readable("abcd", 3), ("abc".into(), true));
    assert_eq!(readable("ab\\xc3\\xa9", 3), ("ab".into(), true));
    assert_eq!(readable("ab\\xc3\\xa9", 4), ("abé".into(), false));
    assert_eq!(readable("ab\\x1b[0m", 5), ("ab".into(), true));
    assert_eq!(readable("ab\\x1b[0m", 6), ("ab\\x1b".into(), true));
    // U+009B, a terminal's CSI, is a control character too.
    assert_eq!(readable("\\xc2\\x9b", 99).0, "\\xc2\\x9b");
    // No escape, and bytes that are no UTF-8.
    assert_eq!(readable("\\xg0 \\x", 99).0, "\\xg0 \\x");
    assert_eq!(readable("\\xff", 99).0, "\u{fffd}");
}

#[test]
fn the_first_lines_are_kept_and_the_later_counted_by_level() {
    let mut window = LogWindow::new(LogBounds {
        lines_per_window: 2,
        ..LogBounds::default()
    });
    assert!(window.push(at(1, 6)));
    assert!(window.push(at(2, 3)));
    assert!(!window.push(at(3, 3)));
    let summary = window.take();
    assert_eq!(
        summary.lines.iter().map(|l| l.seq).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(summary.by_level, [0, 0, 0, 2, 0, 0, 1, 0]);
    assert_eq!(summary.dropped, 1);
    assert!(window.push(at(4, 3)));
    assert!(!window.take().is_empty());
    assert!(window.take().is_empty());
}

#[test]
fn other_bounds_hold_from_the_next_line_on() {
    let bounds = |lines_per_window, lines_per_second| LogBounds {
        lines_per_window,
        lines_per_second,
        ..LogBounds::default()
    };
    let mut window = LogWindow::new(bounds(2, 50));
    let kept = |window: &mut LogWindow| (0..4).filter(|_| window.push(at(0, 4))).count();
    assert_eq!(kept(&mut window), 2);
    window.set_bounds(bounds(10, 50));
    assert_eq!(kept(&mut window), 4);
    window.set_bounds(bounds(10, 1));
    assert_eq!(kept(&mut window), 1);
    assert_eq!(window.take().dropped, 2 + 3);
    assert_eq!(kept(&mut window), 1);
}

#[test]
fn a_storm_fills_no_more_than_its_rate_and_leaves_room_for_what_follows() {
    let mut window = LogWindow::new(LogBounds::default());
    // 10,000 lines in 100 ms: 50 at once, and 50 per second of 0.1 s.
    let kept = (0..10_000).filter(|i| window.push(at(i * 10, 4))).count();
    assert_eq!(kept, 50 + 4);
    assert!(window.push(at(2_000_000, 3)), "after the storm");
    let summary = window.take();
    assert_eq!(summary.dropped, 10_000 - 54);
    // The storm comes back and goes on into the next window: its first lines show there too.
    assert!((0..1000).any(|_| !window.push(at(2_000_000, 4))));
    window.take();
    assert!(window.push(at(2_000_000, 4)));
}

#[test]
fn a_summary_survives_the_recorded_stream() {
    let mut line = at(7, 3);
    let json = serde_json::to_string(&line).unwrap();
    assert!(
        !json.contains("cut") && !json.contains("fragment"),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<LogLine>(&json).unwrap(), line);
    line.cut = true;
    let summary = LogSummary {
        lines: vec![line],
        by_level: [0, 0, 0, 1, 0, 0, 0, 0],
        overruns: 2,
        ..LogSummary::default()
    };
    let json = serde_json::to_string(&summary).unwrap();
    assert_eq!(serde_json::from_str::<LogSummary>(&json).unwrap(), summary);
}

#[test]
fn follows_this_kernels_log_where_it_may() {
    let Ok(mut follower) = KmsgFollower::open(&HostRoot::system(), &LogBounds::default()) else {
        return;
    };
    // Whatever comes, it comes without waiting, and is younger than the opening.
    let polled = follower.poll(1).unwrap();
    assert!(polled.lines.iter().all(|line| line.seen_ns == 1));
    assert_eq!(polled.overruns, 0);
}

proptest! {
    #[test]
    fn the_bounds_hold_and_nothing_goes_uncounted(
        steps in prop::collection::vec((0u64..200_000, 0u8..8, any::<bool>()), 0..300),
        lines_per_window in 0usize..50,
        lines_per_second in 0u32..50,
    ) {
        let bounds = LogBounds { lines_per_window, lines_per_second, line_bytes: 512 };
        let mut window = LogWindow::new(bounds);
        let mut time_us = 0;
        for &(step, level, fragment) in &steps {
            time_us += step;
            window.push(LogLine { fragment, ..at(time_us, level) });
        }
        let summary = window.take();
        let all = summary.by_level.iter().sum::<u64>() + summary.fragments;
        prop_assert_eq!(all, steps.len() as u64);
        prop_assert_eq!(summary.lines.len() as u64 + summary.dropped, all);
        prop_assert!(summary.lines.len() <= lines_per_window);
        let by_rate = u64::from(lines_per_second) * (1_000_000 + time_us) / 1_000_000;
        prop_assert!(summary.lines.len() as u64 <= by_rate);
        // Nothing is kept out before a bound is reached.
        if summary.lines.len() < lines_per_window && by_rate >= all && steps.len() <= lines_per_second as usize {
            prop_assert_eq!(summary.dropped, 0);
        }
    }

    #[test]
    fn what_the_kernel_escapes_is_read_back(text in "[ -~é→😀]{0,80}") {
        let escaped: String = text
            .bytes()
            .map(|byte| match byte {
                b' '..=b'~' if byte != b'\\' => char::from(byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            })
            .collect();
        prop_assert_eq!(readable(&escaped, 1000), (text, false));
    }

    #[test]
    fn never_panics_and_never_exceeds_a_lines_bytes(
        text in "(?s).{0,200}",
        escapes in r"(\\x[0-9a-fg]{0,2}|[a-z]){0,60}",
        limit in 0usize..64,
    ) {
        for text in [text, escapes] {
            let (kept, _) = readable(&text, limit);
            prop_assert!(kept.len() <= limit);
            prop_assert!(!kept.chars().any(char::is_control));
            let device = Device(VecDeque::from([Ok(format!("3,1,1,-;{text}"))]));
            KmsgFollower::over(device, &LogBounds::default()).poll(0).unwrap();
        }
    }
}
