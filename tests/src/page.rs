//! Streams for a page: of a hostile machine, and of a large one.

use anyhow::Result;
use kctx::{
    aggregate::window::{LogRow, LogRows, StackRow},
    host::HostIdentity,
    report::{
        html,
        reading::{self, Wanted},
    },
    source::{Control, Item, recorded::RecordedSource},
};

use crate::stream::{
    self, Names, START_NS, START_UNIX_NS, batch, control, counted, hardirq, kthread, module, napi,
    softirq, window_end,
};

/// A name by which a page would end its script, load something and run something.
pub const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

const SECOND: u64 = 1_000_000_000;

/// The page of a bundle with this stream.
pub fn page_of(items: &[Item], names: &Names) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.kctx.tar.zst");
    stream::record(items, names, &path)?;
    let wanted = Wanted {
        timeline: true,
        ..Wanted::default()
    };
    html::render(&mut reading::read(RecordedSource::open(&path)?, &wanted)?)
}

fn start_of(host: HostIdentity) -> Item {
    control(Control::Start {
        monotonic_ns: START_NS,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(host),
    })
}

/// The page of a machine on which everything that has a name is called [`HOSTILE`] or the like.
pub fn hostile() -> Result<String> {
    let names = Names::new(&[(7, HOSTILE), (8, HOSTILE)], &[]);
    let host = HostIdentity {
        hostname: HOSTILE.to_owned(),
        cpu_list: "0".to_owned(),
        cpus_online: 1,
        ..HostIdentity::default()
    };
    let end = START_NS + SECOND / 2;
    let mut log = LogRows {
        lines: vec![LogRow {
            level: 4,
            time_unix_ns: end,
            text: HOSTILE.to_owned(),
            ..LogRow::default()
        }],
        ..LogRows::default()
    };
    log.by_level[4] = 1;
    let items = [
        start_of(host),
        batch(0, &[hardirq(36, 7, 1, end, 2_000)]),
        batch(0, &[napi(8, 5, end, 3, 5_000)]),
        batch(0, &[module(1, "<b>evil</b>", 0, end)]),
        batch(0, &[kthread(11, "<i>x</i>", end, 10, 3_000_000)]),
        control(Control::Log(Box::new(log))),
        control(Control::Taint {
            monotonic_ns: end,
            before: 0,
            after: 4096,
        }),
        control(Control::Stacks(vec![StackRow {
            context: HOSTILE.to_owned(),
            frames: vec![HOSTILE.to_owned()],
            count: 3,
        }])),
        counted([0; 4]),
        window_end(SECOND),
    ];
    page_of(&items, &names)
}

/// The page of a machine with 256 busy CPUs.
pub fn many_cpus() -> Result<String> {
    let host = HostIdentity {
        cpus_online: 256,
        cpu_list: "0-255".to_owned(),
        ..HostIdentity::default()
    };
    let mut items = vec![start_of(host)];
    for cpu in 0..256 {
        let runs: Vec<_> = (1..400)
            .flat_map(|i| {
                let end = START_NS + i * SECOND / 400;
                // No two alike, so that nothing is short by repetition.
                let service = 1_000 + (u64::from(cpu) * 7_919 + i * 104_729) % 900_000;
                [3, 1, 9].map(|vector| softirq(vector, end, Some(service / 2), service / 3))
            })
            .collect();
        items.push(batch(cpu, &runs));
        let end = START_NS + SECOND / 2;
        items.push(batch(cpu, &[hardirq(cpu, 7, 1, end, 5_000)]));
    }
    items.extend([counted([0; 4]), window_end(SECOND)]);
    page_of(&items, &Names::default())
}
