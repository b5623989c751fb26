//! What this machine does not have, or what is amiss on none that is well, as a recording: modules, a taint, lines of the kernel's
//! log, tasklets, polls that used their budget, interrupts that nobody handled, interrupts' threads,
//! a CPU that does nothing but receive.

use std::path::Path;

use anyhow::Result;
use kctx::{
    aggregate::window::{LogRow, LogRows},
    source::{Control, Item},
};
use kctx_common::record::{NET_RX, context, module_event};
use kctx_tests::stream::{self, Names, START_NS};

/// Ids of names, and an address.
const DEVICE: u64 = 1;
const ACTION: u64 = 2;
const BACKLOG: u64 = 3;
const TASKLET: u64 = 0xffff_ffff_8100_0000;
const SECOND: u64 = 1_000_000_000;
const OUT_OF_TREE: u32 = 1 << 12;

/// Writes the recording.
pub(crate) fn write(path: &Path) -> Result<()> {
    let names = Names::new(
        &[(DEVICE, "eth0"), (ACTION, "eth0-rx"), (BACKLOG, "backlog")],
        &[&[(TASKLET, "some_tasklet")]],
    );
    stream::record(&items(), &names, path)?;
    Ok(())
}

fn items() -> Vec<Item> {
    let at = |ns: u64| START_NS + ns;
    let line = |seq, level, text: &str| LogRow {
        seq,
        level,
        time_unix_ns: START_NS + 30,
        text: text.to_owned(),
        fragment: false,
    };
    let log = LogRows {
        lines: vec![
            line(1, 2, "something broke"),
            line(2, 4, "something is odd"),
        ],
        by_level: [0, 0, 1, 0, 1, 0, 0, 0],
        ..LogRows::default()
    };
    let hot: Vec<_> = (1..=440)
        .map(|i| {
            let run = stream::softirq(NET_RX, at(i * 2_200_000), Some(1_000), 2_000_000);
            stream::raised_by(run, context::KSOFTIRQD, (0, 0))
        })
        .collect();
    let full: Vec<_> = (1..=440)
        .map(|i| stream::napi(BACKLOG, 0, at(i * 2_200_000 - 1_000), 64, 1_900_000))
        .collect();
    vec![
        stream::start(),
        stream::batch(1, &hot),
        stream::batch(1, &full),
        stream::batch(0, &[stream::tasklet(TASKLET, at(1_000), 900, 0)]),
        stream::batch(0, &[stream::napi(DEVICE, 1, at(9_000), 64, 8_000)]),
        // IRQ_NONE.
        stream::batch(0, &[stream::hardirq(30, ACTION, 0, at(10_000), 500)]),
        stream::batch(
            0,
            &[stream::kthread(90, "irq/30-eth0", at(30_000), 500, 9_000)],
        ),
        stream::batch(
            0,
            &[stream::module(
                module_event::LOAD,
                "evil",
                OUT_OF_TREE,
                at(40_000),
            )],
        ),
        stream::control(Control::Taint {
            monotonic_ns: at(50_000),
            before: 0,
            after: u64::from(OUT_OF_TREE),
        }),
        stream::control(Control::Log(Box::new(log))),
        stream::window_end(SECOND),
    ]
}
