//! What kctx cost, from its word in the stream to the lines and summaries that a user reads.

use anyhow::Result;
use bytes::Bytes;
use kctx::{
    aggregate::{table::RowLimits, window::Family},
    capture::events::{Decoder, Encoder},
    meter::{Basis, BpfCost, CpuTime, OwnCost, ProgramCost, RingFill, ThreadTime},
    pipeline::Pipeline,
    report::{live, summary::Summary},
    resolve::Resolver,
    source::{Control, Item},
};
use kctx_tests::stream::{Names, control, start, window_end};

use crate::SECOND;

fn own_cost() -> OwnCost {
    OwnCost {
        threads: vec![ThreadTime {
            thread: "kctx-drain".to_owned(),
            cpu_ns: 5_000_000,
        }],
        memory_bytes: Some(24 << 20),
        ring_bytes: 1000,
        fullest_ring_ppm: 10_000,
        rings: vec![RingFill {
            cpu: 1,
            fullest_ppm: 10_000,
        }],
        bpf: BpfCost {
            basis: Basis::Scaled,
            reason: None,
            programs: vec![ProgramCost {
                program: "napi_poll".to_owned(),
                family: Family::Napi,
                runs: 1000,
                run_ns: 400_000,
            }],
            cpus: vec![CpuTime {
                cpu: 1,
                run_ns: 400_000,
            }],
            unsampled: vec![Family::Module],
        },
    }
}

fn windows(items: &[Item]) -> Vec<kctx::aggregate::window::Window> {
    let resolver = Resolver::new(Box::new(Names::default()));
    let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
    items
        .iter()
        .filter_map(|item| pipeline.take(item))
        .collect()
}

fn stream() -> Vec<Item> {
    vec![
        start(),
        control(Control::OwnCost(Box::new(own_cost()))),
        window_end(SECOND),
        window_end(2 * SECOND),
    ]
}

#[test]
fn a_window_has_the_cost_that_came_in_it() {
    let windows = windows(&stream());
    let costs: Vec<_> = windows
        .iter()
        .map(|window| window.own_cost.clone())
        .collect();
    assert_eq!(costs, [Some(own_cost()), None]);
    let lines: Vec<_> = windows.iter().map(live::one_line).collect();
    let said = " | kctx 0.50 % + ~0.04 % in the kernel, 24.0 MiB | lost 0";
    assert!(lines[0].ends_with(said), "{}", lines[0]);
    assert!(!lines[1].contains("kctx"), "{}", lines[1]);
}

#[test]
fn a_recording_yields_the_same() -> Result<()> {
    let mut encoder = Encoder::default();
    for item in stream() {
        if let Item::Control(control) = &item {
            encoder.control(control);
        }
    }
    let mut decoder = Decoder::new(Bytes::from(encoder.finish()))?;
    let mut read = Vec::new();
    while let Some(item) = decoder.next_item()? {
        read.push(item);
    }
    assert_eq!(read, stream());
    let summary = |items: &[Item]| -> Result<serde_json::Value> {
        let windows = windows(items);
        let summary = Summary::from_window(&windows[0], kctx::host::HostIdentity::default(), None);
        Ok(serde_json::to_value(summary)?)
    };
    assert_eq!(summary(&read)?, summary(&stream())?);
    assert_eq!(
        summary(&read)?["own_cost"],
        serde_json::to_value(own_cost())?
    );
    Ok(())
}

/// A damaged recording may bring any number of rows.
#[test]
fn what_a_recording_brings_is_bounded() {
    let mut cost = own_cost();
    cost.threads = vec![cost.threads[0].clone(); 100_000];
    cost.bpf.programs = vec![cost.bpf.programs[0].clone(); 100_000];
    cost.bpf.cpus = vec![cost.bpf.cpus[0]; 100_000];
    cost.bpf.unsampled = vec![Family::Napi; 100_000];
    let items = [
        start(),
        control(Control::OwnCost(Box::new(cost))),
        window_end(SECOND),
    ];
    let window = windows(&items).remove(0);
    let kept = window.own_cost.as_ref().map(|cost| {
        [
            cost.threads.len(),
            cost.bpf.programs.len(),
            cost.bpf.cpus.len(),
            cost.bpf.unsampled.len(),
        ]
    });
    assert_eq!(kept, Some([64, 256, 8192, 8]));
    assert!(live::table(&window, 80, 24).lines().count() <= 24);
}
