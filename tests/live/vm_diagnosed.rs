//! Causes that want another machine than the one at hand: provoked in a VM, and found by a diagnosis.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use kctx_tests::{
    bundle::Bundle,
    left_out::left_out,
    load::{self, Load},
    situation,
};

use crate::{
    alone,
    vm::check_found,
    vm_machine::{Restore, capture_during, keyboard, set_lights},
};

/// How long each lasts.
const LASTS: Duration = Duration::from_secs(4);

/// A driver that defers to a tasklet all the time: the keyboard's lights.
#[test]
#[ignore = "sets a keyboard's lights: in a VM only, by cargo xtask vm"]
fn vm_tasklets_without_end_are_found() -> Result<()> {
    let _alone = alone();
    let bundle = capture_during(|| {
        let keyboard = keyboard()?;
        // All of it on one CPU.
        load::pin(1)?;
        let begun = Instant::now();
        let mut lights = 0;
        while begun.elapsed() < LASTS {
            lights += 1;
            set_lights(&keyboard, lights)?;
        }
        Ok(())
    })?;
    check_found_if_busy(&bundle, "TASKLET", "TASK-TASKLET");
    Ok(())
}

/// Six hundred threads that each set a timer as soon as the last one is due.
#[test]
#[ignore = "too little for a CPU that is not emulated: in a VM only, by cargo xtask vm"]
fn vm_timers_without_end_are_found() -> Result<()> {
    let _alone = alone();
    let bundle = capture_during(|| {
        let timers = situation::other::receive_timeouts(600)?;
        std::thread::sleep(LASTS);
        // All of them, before the first is waited for.
        timers.iter().for_each(Load::end_soon);
        drop(timers);
        Ok(())
    })?;
    check_found_if_busy(&bundle, "TIMER", "TMR-SOFT");
    Ok(())
}

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

/// Bursts that are longer than a CPU's backlog, of which they leave most of the time unused.
#[test]
#[ignore = "sets netdev_max_backlog: in a VM only, by cargo xtask vm"]
fn vm_bursts_beyond_the_backlog_are_found() -> Result<()> {
    let _alone = alone();
    if !Path::new("/sys/class/net/lo/queues/rx-0/rps_cpus").exists() {
        left_out("this kernel has no RPS");
        return Ok(());
    }
    let bundle = capture_during(|| {
        let _restore = Restore::after(BACKLOG, "8")?;
        situation::in_network(|| {
            let bursts = situation::network::bursts(1, 0)?;
            std::thread::sleep(LASTS);
            drop(bursts);
            Ok(())
        })
    })?;
    check_found(&bundle, "NET-BACKLOG");
    Ok(())
}

/// What a vector must take of a CPU before it is anything to tell of.
const BUSY: f64 = 0.1;

/// The vector has its cause where it kept a CPU busy, and none where it did not: how fast an emulated CPU does what, nobody
/// knows.
pub(crate) fn check_found_if_busy(bundle: &Bundle, vector: &str, id: &str) {
    let mut shares = BTreeMap::<u32, f64>::new();
    let rows = bundle.summary.softirq.iter();
    for row in rows.filter(|row| row.vector == vector) {
        let share = row.service_net.sum_ns as f64 / bundle.summary.window.duration_ns as f64;
        *shares.entry(row.cpu).or_default() += share;
    }
    let share = shares.into_values().fold(0.0, f64::max);
    println!("{vector} takes {share:.3} of a CPU");
    if share > BUSY * 1.02 {
        check_found(bundle, id);
    } else if share < BUSY * 0.98 {
        let found = bundle.findings();
        assert!(found.iter().all(|known| known != id), "{share}: {found:?}");
    }
}
