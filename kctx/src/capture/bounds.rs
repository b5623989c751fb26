//! What a capture's bounds kept out, in its manifest: those that neither the bundle's writer nor evidence notes.

use std::time::Duration;

use super::{bundle::Manifest, watcher::Ending};
use crate::{config::Config, governor::PPM, report::summary::Summary};

/// What a capture was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// From then on.
    pub window: Duration,
    /// What there is of the time before.
    pub before_ns: u64,
    /// Whether a daemon measures, under its own limit of CPU.
    pub of_daemon: bool,
}

/// Notes each bound, whether it bit or not.
pub(super) fn note(
    manifest: &mut Manifest,
    config: &Config,
    asked: Asked,
    summary: &Summary,
    ending: &Ending,
) {
    let capture = &config.capture;
    let asked_ns = asked.window.as_nanos() as u64;
    let had_ns = (summary.window.duration_ns).saturating_sub(asked.before_ns);
    let missed_ns = match ending.early() {
        Some(_) => asked_ns.saturating_sub(had_ns),
        None => 0,
    };
    let over = ending.most_memory.saturating_sub(capture.max_memory);
    let stacks = summary.stack.iter().filter(|row| row.context == "others");
    let samples: u64 = stacks.map(|row| row.count).sum();
    // Of one CPU, in millionths; what it kept out are families, whose counts are exact all the same.
    let cpu = (!asked.of_daemon).then(|| u64::from(capture.max_cpu.ppm().min(PPM)));
    let cpu = cpu.map(|limit| ("cpu_ppm", limit, summary.governor.len() as u64));
    for (name, limit, dropped) in [
        ("window_ns", asked_ns, missed_ns),
        ("memory_bytes", capture.max_memory, over),
        ("stacks", u64::from(config.stacks.most), samples),
        (
            "log_lines",
            u64::from(config.log.lines),
            summary.log.dropped,
        ),
    ]
    .into_iter()
    .chain(cpu)
    {
        manifest.note_limit(name, limit, dropped);
    }
}
