use super::*;
use proptest::prelude::*;

fn warning(sequence: u64, text: &str) -> KmsgRecord {
    KmsgRecord {
        level: WARNING,
        sequence,
        flags: "-".into(),
        text: text.into(),
        ..KmsgRecord::default()
    }
}

fn sequences<'a>(records: impl IntoIterator<Item = &'a KmsgRecord>) -> Vec<u64> {
    records.into_iter().map(|record| record.sequence).collect()
}

/// Gives one record, or one error, a read, as /dev/kmsg does.
struct Device(VecDeque<Result<&'static str, ErrorKind>>);

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

#[test]
fn parses_header_text_and_properties() {
    let text = "4,1234,567890,-,caller=T1;eth0: a; b, c\\x0ad\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0\n\
                30,1235,567891,c;from userspace\n";
    let records: Vec<_> = parse(text).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].level, records[0].facility), (4, 0));
    assert_eq!((records[0].sequence, records[0].time_us), (1234, 567_890));
    assert_eq!(records[0].text, "eth0: a; b, c\\x0ad");
    assert_eq!(records[0].properties[1].1, "+pci:0000:00:03.0");
    assert_eq!((records[1].level, records[1].facility), (6, 3));
    assert_eq!(records[1].flags, "c");
}

#[test]
fn reads_on_over_an_overrun_and_stops_when_it_would_block() {
    let device = Device(VecDeque::from([
        Ok("3,1,10,-;first\n SUBSYSTEM=net\n"),
        Err(ErrorKind::BrokenPipe),
        Ok("6,8,20,-;information\n"),
        Err(ErrorKind::Interrupted),
        Ok("4,9,30,-;last\n"),
    ]));
    let selection = collect(device, KmsgLimits::default()).unwrap();
    assert_eq!(sequences(selection.records()), [1, 9]);
    assert_eq!((selection.overruns, selection.left_out), (1, 0));
    let device = Device(VecDeque::from([Err(ErrorKind::PermissionDenied)]));
    assert!(collect(device, KmsgLimits::default()).is_err());
}

#[test]
fn over_the_bound_keeps_the_first_and_the_last_and_counts_what_lies_between() {
    let limits = KmsgLimits {
        first: 2,
        last: 3,
        bytes: 1 << 20,
    };
    let mut keeper = KmsgKeeper::new(limits);
    (0..10).for_each(|sequence| keeper.push(warning(sequence, "x")));
    let kept = keeper.finish();
    assert_eq!(sequences(kept.records()), [0, 1, 7, 8, 9]);
    assert_eq!(kept.left_out, 5);
    let text = kept.render();
    assert!(text.contains("4,1,0,-;x\n# 5 records left out here\n4,7,0,-;x\n"));
    assert_eq!(
        sequences(&parse(&text).collect::<Vec<_>>()),
        [0, 1, 7, 8, 9]
    );
}

#[test]
fn a_long_record_that_does_not_fit_is_not_overtaken_by_a_short_one() {
    let limits = KmsgLimits {
        first: 10,
        last: 10,
        bytes: 400,
    };
    let mut keeper = KmsgKeeper::new(limits);
    keeper.push(warning(0, "x"));
    keeper.push(warning(1, &"y".repeat(300)));
    keeper.push(warning(2, "z"));
    let kept = keeper.finish();
    assert_eq!(sequences(kept.records()), [0, 2]);
    assert_eq!((kept.first.len(), kept.left_out), (1, 1));
}

proptest! {
    #[test]
    fn the_bounds_hold_and_nothing_goes_uncounted(
        lengths in prop::collection::vec(0usize..200, 0..100),
        first in 0usize..10,
        last in 0usize..10,
        bytes in 0usize..4000,
    ) {
        let mut keeper = KmsgKeeper::new(KmsgLimits { first, last, bytes });
        for (sequence, length) in (0u64..).zip(&lengths) {
            keeper.push(warning(sequence, &"x".repeat(*length)));
        }
        let kept = keeper.finish();
        prop_assert!(kept.first.len() <= first && kept.last.len() <= last);
        prop_assert!(kept.records().map(KmsgRecord::weight).sum::<usize>() <= bytes);
        prop_assert_eq!(kept.records().count() as u64 + kept.left_out, lengths.len() as u64);
        prop_assert!(sequences(kept.records()).is_sorted());
    }

    #[test]
    fn what_is_written_is_read_back(
        level in 0u8..=WARNING,
        facility in 0u32..24,
        (sequence, time_us) in any::<(u64, u64)>(),
        text in "[ -~é]{0,60}",
        properties in prop::collection::vec(("[A-Z]{1,9}", "[ -~]{0,20}"), 0..3),
    ) {
        let record = KmsgRecord {
            level, facility, sequence, time_us, flags: "-".into(), text, properties,
        };
        let mut keeper = KmsgKeeper::new(KmsgLimits::default());
        keeper.push(record.clone());
        let back: Vec<_> = parse(&keeper.finish().render()).collect();
        prop_assert_eq!(back, [record]);
    }

    #[test]
    fn never_panics(text in "(?s).{0,200}", lines in "[0-9,;= \n\\-]{0,80}") {
        parse(&text).for_each(drop);
        parse(&lines).for_each(drop);
    }
}
