//! What changed between two bundles, of hand-made loads.

use std::path::Path;

use anyhow::{Context as _, Result};
use kctx::{
    diff::{self, Diff, Side},
    source::Item,
};
use kctx_common::record::{context, origin};
use kctx_tests::stream::{
    self, Names, START_NS, counted, raised_by, softirq, start, timer, window_end,
};

use crate::{SECOND, sample_path};

const NET_RX: u8 = 3;
const BLOCK: u8 = 4;

/// Some vectors' runs in a window of two seconds.
struct Load {
    seed: u64,
    /// Runs a second and nanoseconds each.
    net_rx: (u64, u64),
    block: (u64, u64),
}

const LOAD: Load = Load {
    seed: 1,
    net_rx: (4000, 20_000),
    block: (1000, 9_000),
};

impl Load {
    /// Between 0 and `below`.
    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    }

    fn items(mut self, spilled: u64) -> Vec<Item> {
        let mut items = vec![start()];
        let mut softirqs = 0;
        for (vector, (rate, took_ns)) in [(NET_RX, self.net_rx), (BLOCK, self.block)] {
            let mut runs = Vec::new();
            // As they come by chance: gaps up to twice the mean.
            let gap_ns = (2 * SECOND).checked_div(rate).unwrap_or(2 * SECOND);
            let mut at_ns = gap_ns;
            while at_ns < 2 * SECOND {
                let took_ns = took_ns / 2 + self.random(took_ns);
                let wait_ns = 500 + self.random(1000);
                let run = softirq(vector, START_NS + at_ns, Some(wait_ns), took_ns);
                let by = (origin::TASK, 77);
                runs.push(raised_by(run, context::TASK, by));
                at_ns += 1 + self.random(gap_ns);
            }
            softirqs += runs.len() as u64;
            items.extend(runs.chunks(512).map(|chunk| stream::batch(0, chunk)));
        }
        let timers: Vec<_> = (1..2000)
            .map(|n| timer(START_NS + n * SECOND / 1000, 900))
            .collect();
        items.extend(timers.chunks(512).map(|chunk| stream::batch(0, chunk)));
        items.push(counted([softirqs + spilled, timers.len() as u64, 0, 0]));
        items.push(window_end(2 * SECOND));
        items
    }

    fn record(self, path: &Path, spilled: u64) -> Result<Side> {
        let names = Names::default().with_comms(&[(77, "iperf3")]);
        stream::record(&self.items(spilled), &names, path)?;
        Ok(Side::read(path)?)
    }

    fn side(self) -> Result<Side> {
        let folder = tempfile::tempdir()?;
        self.record(&folder.path().join("made.kctx.tar.zst"), 0)
    }
}

fn changed(diff: &Diff) -> Vec<String> {
    let changed = diff.rows.iter().filter(|row| row.changed);
    changed
        .map(|row| format!("{} {}", row.kind.as_str(), row.name))
        .collect()
}

#[test]
fn twenty_pairs_of_the_same_load_have_nothing_that_changed() -> Result<()> {
    let sides = (1..22).map(|seed| Load { seed, ..LOAD }.side());
    let sides: Vec<Side> = sides.collect::<Result<_>>()?;
    for (pair, two) in sides.windows(2).enumerate() {
        let diff = diff::compare(&two[0], &two[1]);
        assert_eq!(changed(&diff), Vec::<String>::new(), "pair {pair}");
        let judged = diff.rows.iter().flat_map(|row| &row.figures);
        let noise = judged.filter(|one| matches!(one.judged, diff::Judged::Noise { .. }));
        assert!(noise.count() >= 12, "they were compared");
    }
    Ok(())
}

#[test]
fn the_true_difference_comes_first() -> Result<()> {
    let before = Load { seed: 5, ..LOAD }.side()?;
    // BLOCK runs take three times as long; NET_RX is the same, and much more.
    let block = (LOAD.block.0, LOAD.block.1 * 3);
    let after = Load {
        seed: 6,
        block,
        ..LOAD
    }
    .side()?;
    let diff = diff::compare(&before, &after);
    assert_eq!(changed(&diff), ["softirq BLOCK"]);
    let row = &diff.rows[0];
    let took = row
        .figures
        .iter()
        .find(|one| one.figure == diff::Figure::ServiceP50);
    let took = took.context("a median")?;
    assert!(took.judged.is_changed(), "{took:?}");
    let rate = row
        .figures
        .iter()
        .find(|one| one.figure == diff::Figure::Rate);
    assert!(!rate.context("a rate")?.judged.is_changed());
    // Of two, the larger first, and what raised it.
    let net_rx = (LOAD.net_rx.0 * 4, LOAD.net_rx.1);
    let both = Load {
        seed: 7,
        block,
        net_rx,
    };
    let both = changed(&diff::compare(&before, &both.side()?));
    let expected = [
        "softirq NET_RX",
        "raised NET_RX by task iperf3",
        "softirq BLOCK",
    ];
    assert_eq!(both, expected);
    Ok(())
}

#[test]
fn what_is_new_or_gone_is_a_change() -> Result<()> {
    let with = Load { seed: 5, ..LOAD }.side()?;
    let without = Load {
        seed: 6,
        net_rx: (0, 0),
        ..LOAD
    }
    .side()?;
    for (before, after) in [(&with, &without), (&without, &with)] {
        let names = changed(&diff::compare(before, after));
        assert_eq!(names.first().map(String::as_str), Some("softirq NET_RX"));
    }
    Ok(())
}

#[test]
fn where_records_are_missing_nothing_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let before = Load { seed: 5, ..LOAD }.side()?;
    let net_rx = (LOAD.net_rx.0 * 4, LOAD.net_rx.1);
    let after = Load {
        seed: 6,
        net_rx,
        ..LOAD
    };
    let after = after.record(&folder.path().join("spilled.kctx.tar.zst"), 5000)?;
    let diff = diff::compare(&before, &after);
    assert_eq!(changed(&diff), Vec::<String>::new());
    assert_eq!(diff.after.incomplete.len(), 1);
    let text = diff::render(&diff);
    assert!(text.contains("cannot tell, after: only"), "{text}");
    assert!(
        text.starts_with("nothing that can be told changed; it cannot be told of softirq\n"),
        "{text}"
    );
    Ok(())
}

/// Raisers that are not kept apart are one row, a pool's kworkers are one, and none costs another row its place.
#[test]
fn raisers_are_bounded_and_told_by_what_they_are() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("many.kctx.tar.zst");
    let (mut comms, mut runs) = (Vec::new(), Vec::new());
    for task in 0..600_u32 {
        comms.push(match task % 60 {
            0 | 1 => (task, format!("kworker/{task}:1")),
            2 => (task, format!("ksoftirqd/{task}")),
            _ => (task, format!("task-{task}")),
        });
        let end_ns = START_NS + u64::from(task) * 1_000_000;
        let run = softirq((task / 60) as u8, end_ns, Some(1), 100);
        runs.push(raised_by(run, context::TASK, (origin::TASK, task)));
    }
    let known: Vec<(u32, &str)> = comms.iter().map(|(pid, comm)| (*pid, &**comm)).collect();
    let items = [
        start(),
        stream::batch(0, &runs),
        counted([600, 0, 0, 0]),
        window_end(2 * SECOND),
    ];
    stream::record(&items, &Names::default().with_comms(&known), &path)?;
    let diff = diff::compare(&Side::read(&path)?, &Side::read(&path)?);
    let names: Vec<_> = diff.rows.iter().map(|row| &*row.name).collect();
    let has = |name: &str| names.contains(&name);
    assert!(has("NET_RX by task kworker") && has("NET_RX by task ksoftirqd"));
    assert!(has("RCU by others") && has("RCU"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("kworker/")));
    // 512 raisers, the vectors, and at most one row of others for each of those.
    assert!((522..=532).contains(&names.len()), "{}", names.len());
    assert_eq!(diff.before.rows_left_out, 0);
    Ok(())
}

#[test]
fn a_pipe_is_not_compared() -> Result<()> {
    let error = Side::read(std::path::Path::new("/dev/null")).err();
    let error = error.context("a device is no file")?.to_string();
    assert!(error.contains("no file that can be read twice"), "{error}");
    Ok(())
}

#[test]
fn a_window_too_short_tells_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("short.kctx.tar.zst");
    let items = [start(), counted([0; 4]), window_end(SECOND / 10)];
    stream::record(&items, &Names::default(), &path)?;
    let diff = diff::compare(&Side::read(&path)?, &Load { seed: 5, ..LOAD }.side()?);
    assert_eq!(changed(&diff), Vec::<String>::new());
    assert!(
        diff::render(&diff).contains("too short"),
        "{}",
        diff::render(&diff)
    );
    Ok(())
}

#[test]
fn the_sample_is_the_same_as_itself_and_its_text_fits() -> Result<()> {
    let same = diff::compare(&Side::read(&sample_path())?, &Side::read(&sample_path())?);
    assert_eq!((changed(&same), same.facts.len()), (Vec::new(), 0));
    let other = diff::compare(
        &Load { seed: 5, ..LOAD }.side()?,
        &Side::read(&sample_path())?,
    );
    let text = diff::render(&other);
    assert!(text.contains("most of all"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    Ok(())
}
