//! Ten hours of a busy host whose processes, threads, works and devices come and go, down to the exported series:
//! memory stays flat, and no count goes missing.

use std::process::Command;

use anyhow::{Context as _, Result};
use kctx::{
    aggregate::{
        table::RowLimits,
        window::{FAMILIES, Family, LogRow, LogRows, StackRow, Window},
    },
    export::cumulative::{Cumulative, Limits},
    pipeline::Pipeline,
    resolve::{Lookup, Resolver},
    source::Control,
};
use kctx_common::record::{context, origin};
use kctx_tests::stream::{
    START_NS, Written, batch, control, counted, hardirq, kthread, napi, raised_by, softirq, start,
    tasklet, window_end, work,
};

use crate::{SECOND, exported::Exported};

/// A second each.
const WINDOWS: u64 = 36_000;
/// By then everything that is kept has its size.
const WARM: u64 = 12_000;
const CPUS: u32 = 4;
/// One window of so many is beyond every limit, and so is the export's at its end.
const STORM_EVERY: u64 = 2_000;

/// Most series of a metric.
const SERIES: usize = 2_000;

/// Pages of this process that are in memory (/proc/self/statm).
fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("a second number")?;
    Ok(pages.parse::<u64>()? * 4096)
}

/// A kernel in which everything has a name of its own.
struct AllNamed;

impl Lookup for AllNamed {
    fn name(&mut self, id: u64) -> Option<String> {
        Some(format!("name-{id}"))
    }

    fn function(&mut self, address: u64) -> Option<String> {
        Some(format!("function_{address:x}"))
    }

    fn comm(&mut self, pid: u32) -> Option<String> {
        Some(format!("task-{pid}"))
    }
}

/// The stages from the stream to the series, and what went into them.
struct Host {
    pipeline: Pipeline,
    series: Cumulative,
    /// Records, by family.
    fed: [u64; FAMILIES],
    /// The same in the window that is open.
    open: [u64; FAMILIES],
    /// Records found in closed windows' rows.
    found: [u64; FAMILIES],
    /// Windows in which the family had an overflow row, or left something out.
    overflows: [u64; FAMILIES],
}

impl Host {
    fn new() -> Self {
        let resolver = Resolver::new(Box::new(AllNamed));
        let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
        pipeline.take(&start());
        Self {
            pipeline,
            series: Cumulative::new(Limits {
                max_series: SERIES,
                ..Limits::default()
            }),
            fed: [0; FAMILIES],
            open: [0; FAMILIES],
            found: [0; FAMILIES],
            overflows: [0; FAMILIES],
        }
    }

    fn feed<R: Written>(&mut self, family: Family, cpu: u32, records: &[R]) {
        self.pipeline.take(&batch(cpu, records));
        self.open[family as usize] += records.len() as u64;
    }

    /// `n` records of each family on `cpu`, each of a key of its own: those from `first` on.
    fn new_keys(&mut self, cpu: u32, at: u64, first: u64, n: u64) {
        let keys = first..first + n;
        let runs: Vec<_> = (keys.clone())
            .map(|key| {
                let run = softirq(3, at, Some(10), 1000);
                raised_by(run, context::TASK, (origin::TASK, key as u32))
            })
            .collect();
        self.feed(Family::Softirq, cpu, &runs);
        let works: Vec<_> = (keys.clone())
            .map(|key| work(key / 2, 0xffff_8000_0000_0000 + key * 16, at, 10, 20))
            .collect();
        self.feed(Family::Workqueue, cpu, &works);
        let threads: Vec<_> = (keys.clone())
            .map(|key| kthread(key as u32, &format!("kworker/{key:x}"), at, 5, 100))
            .collect();
        self.feed(Family::Kthread, cpu, &threads);
        let calls: Vec<_> = (keys.clone())
            .map(|key| hardirq(key as u32, key, 1, at, 50))
            .collect();
        self.feed(Family::Hardirq, cpu, &calls);
        let polls: Vec<_> = (keys.clone())
            .map(|key| napi(key, key as u32, at, 64, 900))
            .collect();
        self.feed(Family::Napi, cpu, &polls);
        let calls: Vec<_> = keys
            .map(|key| tasklet(0xffff_9000_0000_0000 + key * 16, at, 10, 0))
            .collect();
        self.feed(Family::Tasklet, cpu, &calls);
    }

    /// More stacks and lines than a window keeps.
    fn stacks_and_log(&mut self, n: u64) {
        let stacks: Vec<_> = (0..12_000)
            .map(|i| StackRow {
                context: "softirq:NET_RX".to_owned(),
                frames: vec![format!("function_{n}_{i}")],
                count: 1,
            })
            .collect();
        self.open[Family::Stack as usize] += stacks.len() as u64;
        self.pipeline.take(&control(Control::Stacks(stacks)));
        let line = |seq| LogRow {
            seq,
            level: 6,
            time_unix_ns: START_NS,
            text: "x".repeat(100),
            fragment: false,
        };
        self.pipeline.take(&control(Control::Log(Box::new(LogRows {
            lines: (0..1000).map(line).collect(),
            by_level: [0, 0, 0, 0, 0, 0, 1000, 0],
            ..LogRows::default()
        }))));
    }

    /// What one second brings: each has raisers, threads, functions and devices that the one before had not.
    fn second(&mut self, n: u64) {
        for cpu in 0..CPUS {
            let at = START_NS + n * SECOND + 1000 + u64::from(cpu);
            self.new_keys(cpu, at, (n * u64::from(CPUS) + u64::from(cpu)) * 3, 3);
        }
        if n.is_multiple_of(STORM_EVERY) {
            // Twice as many as the largest table holds.
            let keys = RowLimits::default().hardirq as u64 * 2;
            let first = (1 << 24) + n / STORM_EVERY * keys;
            self.new_keys(0, START_NS + n * SECOND + 2000, first, keys);
            self.stacks_and_log(n);
        }
        let open = std::mem::take(&mut self.open);
        for (sum, one) in self.fed.iter_mut().zip(open) {
            *sum += one;
        }
        self.pipeline.take(&counted(open));
        let window = self.pipeline.take(&window_end((n + 1) * SECOND));
        drop(self.pipeline.take_learnt());
        let window = window.expect("the window's end closes one");
        self.series.fold(&window);
        self.look_at(&window);
    }

    fn look_at(&mut self, window: &Window) {
        for family in Family::ALL {
            let i = family as usize;
            let beyond = window.accounting.by_family[i].overflowed;
            self.overflows[i] += u64::from(beyond > 0);
            self.found[i] += window.records(family);
            if family == Family::Stack {
                // What is left out of a window's stacks has no row.
                self.found[i] += beyond;
            }
        }
    }

    /// Every record that went in is in a row, and in a series.
    fn check_conserved(&self) {
        assert_eq!(self.found, self.fed, "{:?}", Family::ALL);
        let storms = WINDOWS.div_ceil(STORM_EVERY);
        for family in Family::ALL {
            let expected = match family {
                // Raisers beyond their limit are `unknown`; modules there are none.
                Family::Softirq | Family::Module => 0,
                _ => storms,
            };
            assert_eq!(self.overflows[family as usize], expected, "{family:?}");
        }
        let exported = Exported::of(&self.series);
        let fed = |family: Family| self.fed[family as usize];
        for (metric, family) in [
            ("kctx.softirq.duration", Family::Softirq),
            ("kctx.softirq.wait.duration", Family::Softirq),
            ("kctx.softirq.raised", Family::Softirq),
            ("kctx.hardirq.duration", Family::Hardirq),
            ("kctx.tasklet.duration", Family::Tasklet),
            ("kctx.workqueue.duration", Family::Workqueue),
            ("kctx.workqueue.wait.duration", Family::Workqueue),
            ("kctx.napi.poll.duration", Family::Napi),
            ("kctx.kthread.wait.duration", Family::Kthread),
        ] {
            assert_eq!(exported.total(metric), fed(family) as f64, "{metric}");
            assert!(exported.series(metric) <= SERIES, "{metric}");
        }
        let packets = exported.total("kctx.napi.poll.packets");
        assert_eq!(packets, 64.0 * fed(Family::Napi) as f64);
        let records = exported.total("kctx.records");
        assert_eq!(records, self.fed.iter().sum::<u64>() as f64);
        // Names that were never the same twice: at the limit, with all others in the overflow series.
        for metric in [
            "kctx.hardirq.duration",
            "kctx.tasklet.duration",
            "kctx.workqueue.duration",
            "kctx.napi.poll.duration",
        ] {
            // One less where the overflow series was among the first.
            assert!(exported.series(metric) >= SERIES - 1, "{metric}");
            assert!(exported.overflow(metric) > 0.0, "{metric}");
        }
    }
}

#[test]
#[ignore = "a process of its own: ten_hours_of_a_busy_host_leave_memory_flat runs it"]
fn alone() -> Result<()> {
    let mut host = Host::new();
    let mut warm = 0;
    for n in 0..WINDOWS {
        host.second(n);
        if n % 6_000 == 0 {
            println!("{n}: {} KiB", resident_bytes()? >> 10);
        }
        if n == WARM {
            warm = resident_bytes()?;
        }
    }
    let end = resident_bytes()?;
    println!(
        "{} KiB after {WARM} windows, {} KiB after {WINDOWS}",
        warm >> 10,
        end >> 10
    );
    host.check_conserved();
    assert!(end <= warm + (4 << 20), "{warm} bytes grew to {end}");
    Ok(())
}

#[test]
fn ten_hours_of_a_busy_host_leave_memory_flat() -> Result<()> {
    let ended = Command::new(std::env::current_exe()?)
        .args(["--exact", "endurance::alone", "--ignored", "--nocapture"])
        .output()?;
    let text = String::from_utf8_lossy(&ended.stdout);
    println!("{text}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(
        ended.status.success() && text.contains("1 passed"),
        "{text}"
    );
    Ok(())
}
