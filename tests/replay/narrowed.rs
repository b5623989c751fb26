//! Parts of a bundle: by CPU, by vector, by time.

use std::collections::BTreeMap;

use anyhow::Result;
use kctx::{
    aggregate::window::Family,
    report::{
        narrow::{Moment, Narrowing, parse_cpus, parse_vectors},
        reading::{self, Wanted},
        summary::{ContextsFrom, DurationSummary, Summary},
    },
    source::{Control, Item, recorded::RecordedSource},
};
use kctx_common::record::{context, kind, origin};
use kctx_tests::{
    program,
    stream::{
        self, Names, START_NS, START_UNIX_NS, batch, control, counted, hardirq, kthread, napi,
        raised_by, running, softirq, spill_delta, spilled, start, window_end, work,
    },
};

use crate::{SECOND, sample_path};

const MS: u64 = SECOND / 1000;

/// Two CPUs for a second: softirqs every millisecond, an interrupt every two, a thread that runs on.
fn items() -> Vec<Item> {
    let whole = kthread(9, "kworker/1:1", START_NS + 2 * SECOND, 0, 1_500 * MS);
    let mut items = vec![
        start(),
        control(Control::Running(Vec::new())),
        control(Control::Name {
            id: 7,
            text: "eth0".to_owned(),
        }),
    ];
    for ms in 1..1000 {
        let end = START_NS + ms * MS;
        let vector = if ms % 3 == 0 { 1 } else { 3 };
        let run = softirq(vector, end, Some(1_000 + ms), 10_000 + ms);
        let run = raised_by(run, context::IRQ_TAIL, (origin::IRQ, 36));
        items.push(batch((ms % 2) as u32, &[run]));
        if ms % 2 == 0 {
            items.push(batch(0, &[hardirq(36, 7, 1, end, 2_000)]));
            items.push(batch(0, &[napi(7, 5, end, 3, 5_000)]));
            items.push(batch(1, &[work(8, 0x1000, end, 100, 700)]));
        }
    }
    items.push(batch(
        0,
        &[kthread(
            11,
            "ksoftirqd/0",
            START_NS + 600 * MS,
            10,
            300 * MS,
        )],
    ));
    let mut delta = spill_delta(kind::SOFTIRQ, 0);
    delta.number = 3;
    delta.service = spilled(&[500; 40]);
    delta.third = spilled(&[500; 40]);
    items.push(control(Control::Spill(Box::new(delta))));
    items.push(control(Control::Running(vec![running(
        1,
        &whole,
        500 * MS,
    )])));
    items.push(counted([1039]));
    items.push(window_end(SECOND));
    items
}

fn read(narrowing: Narrowing) -> Result<Summary> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    stream::record(&items(), &Names::default(), &path)?;
    let wanted = Wanted {
        narrowing,
        timeline: false,
    };
    Ok(reading::read(RecordedSource::open(&path)?, &wanted)?.summary)
}

fn span(from: Option<Moment>, to: Option<Moment>) -> Narrowing {
    Narrowing {
        from,
        to,
        ..Narrowing::default()
    }
}

/// A count and a sum of nanoseconds, by what they are of.
type Totals = BTreeMap<String, (u64, u64)>;

fn add(totals: &mut Totals, of: String, count: u64, durations: &DurationSummary) {
    let total = totals.entry(of).or_default();
    total.0 += count;
    total.1 += durations.sum_ns;
}

/// Counts and sums of all rows, by what they are of.
fn totals(summary: &Summary) -> Totals {
    let mut totals = Totals::new();
    for row in &summary.softirq {
        add(
            &mut totals,
            format!("{} {} net", row.vector, row.cpu),
            row.count,
            &row.service_net,
        );
        add(
            &mut totals,
            format!("{} {} wait", row.vector, row.cpu),
            row.wait.count,
            &row.wait,
        );
    }
    for row in &summary.hardirq {
        add(
            &mut totals,
            format!("irq {:?} {}", row.irq, row.cpu),
            row.count,
            &row.service,
        );
    }
    for row in &summary.workqueue {
        add(
            &mut totals,
            format!("work {}", row.function),
            row.count,
            &row.service,
        );
    }
    for row in &summary.napi {
        add(
            &mut totals,
            format!("napi {}", row.device),
            row.packets,
            &row.service,
        );
    }
    for row in &summary.kthread {
        add(
            &mut totals,
            format!("thread {}", row.comm),
            row.count,
            &row.service,
        );
        totals
            .entry(format!("thread {} on CPU", row.comm))
            .or_default()
            .0 += row.cpu_ns;
    }
    for row in &summary.softirq_origin {
        totals
            .entry(format!("{} by {:?}", row.vector, row.origin.number))
            .or_default()
            .0 += row.count;
    }
    for row in &summary.cpu {
        let parts = [
            Some(row.hardirq_ns),
            Some(row.softirq_ns),
            row.ksoftirqd_ns,
            row.kthread_ns,
        ];
        for (part, ns) in parts.into_iter().enumerate() {
            totals
                .entry(format!("CPU {} part {part}", row.cpu))
                .or_default()
                .0 += ns.unwrap_or(0);
        }
    }
    totals.retain(|_, total| *total != (0, 0));
    totals
}

fn sum(a: Totals, b: Totals) -> Totals {
    let mut sum = a;
    for (of, (count, ns)) in b {
        let total = sum.entry(of).or_default();
        total.0 += count;
        total.1 += ns;
    }
    sum
}

#[test]
fn spans_that_meet_add_up_to_the_whole() -> Result<()> {
    let after = |ns| Some(Moment::After(ns));
    let whole = totals(&read(span(after(0), None))?);
    for at in [SECOND / 2, 333 * MS, 450 * MS + 5_000, 999 * MS] {
        let first = read(span(None, after(at)))?;
        let second = read(span(after(at), None))?;
        assert_eq!(first.window.duration_ns, at);
        assert_eq!(second.window.start_unix_ns, START_UNIX_NS + at);
        assert_eq!(first.window.duration_ns + second.window.duration_ns, SECOND);
        assert_eq!(sum(totals(&first), totals(&second)), whole, "at {at}");
        for part in [&first, &second] {
            let counts = &part.accounting.total;
            assert_eq!((counts.observed, counts.spilled), (counts.streamed, 0));
        }
    }
    Ok(())
}

#[test]
fn a_span_says_what_has_no_time() -> Result<()> {
    let part = read(span(None, Some(Moment::After(SECOND / 2))))?;
    let narrowed = part.narrowed.as_ref().expect("it is a part");
    assert_eq!(narrowed.spilled_left_out, 40);
    assert_eq!(narrowed.contexts, ContextsFrom::Records);
    let whole = read(Narrowing::default())?;
    assert_eq!(whole.narrowed, None);
    // The spilled are in the whole alone.
    let runs = |summary: &Summary| -> u64 { summary.softirq.iter().map(|row| row.count).sum() };
    assert_eq!(runs(&whole), 999 + 40);
    let rest = read(span(Some(Moment::After(SECOND / 2)), None))?;
    assert_eq!(runs(&part) + runs(&rest), 999);
    Ok(())
}

#[test]
fn what_the_governor_did_after_a_span_or_before_it_is_not_in_it() -> Result<()> {
    let governor = |ms: u64, limited: bool| {
        control(Control::Governor {
            family: Family::Napi,
            limited,
            monotonic_ns: START_NS + ms * MS,
            reason: "cpu_limit".to_owned(),
        })
    };
    let mut items = items();
    let last = items.len() - 2;
    items.splice(last..last, [governor(300, true), governor(600, false)]);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    stream::record(&items, &Names::default(), &path)?;
    for (from, to, rows) in [(0, 200, 0), (0, 500, 1), (400, 900, 1), (700, 900, 0)] {
        let moment = |ms: u64| Some(Moment::After(ms * MS));
        let wanted = Wanted {
            narrowing: span(moment(from), moment(to)),
            timeline: false,
        };
        let part = reading::read(RecordedSource::open(&path)?, &wanted)?.summary;
        assert_eq!(
            part.governor.len(),
            rows,
            "{from} {to}: {:?}",
            part.governor
        );
    }
    Ok(())
}

#[test]
fn a_time_of_day_is_a_moment_too() -> Result<()> {
    let by_offset = read(span(Some(Moment::After(SECOND / 4)), None))?;
    let by_clock = read(span(Some(Moment::Unix(START_UNIX_NS + SECOND / 4)), None))?;
    assert_eq!(by_offset, by_clock);
    Ok(())
}

#[test]
fn cpus_add_up_to_the_whole_and_the_spilled_are_theirs() -> Result<()> {
    let of = |list: &str| {
        read(Narrowing {
            cpus: Some(parse_cpus(list).expect("a list")),
            ..Narrowing::default()
        })
    };
    let (first, second) = (of("0")?, of("1")?);
    let whole = totals(&read(Narrowing::default())?);
    assert_eq!(sum(totals(&first), totals(&second)), whole);
    assert!(first.softirq.iter().all(|row| row.cpu == 0));
    let counts = &first.accounting.by_family;
    let spilled: u64 = counts.values().map(|counts| counts.spilled).sum();
    assert_eq!(spilled, 40);
    assert_eq!(
        first.accounting.total.observed,
        first.accounting.total.streamed + 40
    );
    assert_eq!(totals(&of("0-1")?), whole);
    Ok(())
}

#[test]
fn a_vector_comes_with_what_ran_in_it() -> Result<()> {
    let of = |names: &str| {
        read(Narrowing {
            vectors: Some(parse_vectors(names).expect("a list")),
            ..Narrowing::default()
        })
    };
    let network = of("net_rx")?;
    assert!(network.softirq.iter().all(|row| row.vector == "NET_RX"));
    assert!(
        network
            .softirq_origin
            .iter()
            .all(|row| row.vector == "NET_RX")
    );
    assert_eq!(
        network.napi.iter().map(|row| row.packets).sum::<u64>(),
        499 * 3
    );
    assert!(
        network.hardirq.is_empty() && network.workqueue.is_empty() && network.kthread.is_empty()
    );
    let timer = of("TIMER")?;
    assert!(timer.napi.is_empty());
    let runs = |summary: &Summary| -> u64 { summary.softirq.iter().map(|row| row.count).sum() };
    assert_eq!((runs(&network), runs(&timer)), (666 + 40, 333));
    Ok(())
}

#[test]
fn the_sample_s_parts_keep_to_the_schema_and_add_up() -> Result<()> {
    let schema = include_str!("../../docs/summary.schema.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(schema)?)?;
    let sample = sample_path();
    let sample = sample.to_string_lossy();
    let runs = |arguments: &[&str]| -> Result<u64> {
        let all = ["report", "--format", "json", &sample]
            .into_iter()
            .chain(arguments.iter().copied());
        let summary: serde_json::Value =
            serde_json::from_str(&program::run(all)?.success()?.stdout)?;
        let errors: Vec<String> = (validator.iter_errors(&summary))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        assert!(summary["narrowed"].is_object());
        Ok(serde_json::from_value::<Summary>(summary)?
            .accounting
            .total
            .streamed)
    };
    let whole = runs(&["--from", "0s"])?;
    assert_eq!(
        runs(&["--to", "300ms"])? + runs(&["--from", "300ms"])?,
        whole
    );
    assert_eq!(
        runs(&["--from", "0s", "--cpu", "0"])? + runs(&["--from", "0s", "--cpu", "1"])?,
        whole
    );
    assert!(runs(&["--vector", "NET_RX"])? < whole);
    Ok(())
}
