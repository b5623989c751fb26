//! What this machine does not have, or what is amiss on none that is well, as a recording: modules, a taint, lines of the kernel's
//! log, tasklets, polls that used their budget, interrupts that nobody handled, interrupts' threads.

use std::path::Path;

use anyhow::Result;
use kctx::{
    aggregate::window::{LogRow, LogRows},
    source::{Control, Item},
};
use kctx_common::record::module_event;
use kctx_tests::stream::{self, Names, START_NS};

/// Ids of names, and an address.
const DEVICE: u64 = 1;
const ACTION: u64 = 2;
const TASKLET: u64 = 0xffff_ffff_8100_0000;
const SECOND: u64 = 1_000_000_000;
const OUT_OF_TREE: u32 = 1 << 12;

/// Writes the recording.
pub(crate) fn write(path: &Path) -> Result<()> {
    let names = Names::new(
        &[(DEVICE, "eth0"), (ACTION, "eth0-rx")],
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
    vec![
        stream::start(),
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
