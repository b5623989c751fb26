//! What a capture's bounds kept out, in its manifest: those that neither the bundle's writer nor evidence notes.

use std::time::Duration;

use super::{bundle::Manifest, watcher::Ending};
use crate::{
    config::Config, governor::PPM, probe::stacks::MOST as STACKS, report::summary::Summary,
};

/// Notes each bound, whether it bit or not.
pub(super) fn note(
    manifest: &mut Manifest,
    config: &Config,
    window: Duration,
    summary: &Summary,
    ending: &Ending,
) {
    let capture = &config.capture;
    let (asked_ns, had_ns) = (window.as_nanos() as u64, summary.window.duration_ns);
    let missed_ns = match ending.early() {
        Some(_) => asked_ns.saturating_sub(had_ns),
        None => 0,
    };
    let over = ending.most_memory.saturating_sub(capture.max_memory);
    let stacks = summary.stack.iter().filter(|row| row.context == "others");
    let samples: u64 = stacks.map(|row| row.count).sum();
    // Of one CPU, in millionths; what it kept out are families, whose counts are exact all the same.
    let cpu = u64::from(capture.max_cpu.ppm().min(PPM));
    for (name, limit, dropped) in [
        ("window_ns", asked_ns, missed_ns),
        ("memory_bytes", capture.max_memory, over),
        ("cpu_ppm", cpu, summary.governor.len() as u64),
        ("stacks", STACKS as u64, samples),
        (
            "log_lines",
            u64::from(config.log.lines),
            summary.log.dropped,
        ),
    ] {
        manifest.note_limit(name, limit, dropped);
    }
}
