//! Works of known number: a pseudoterminal's, one for each byte that it carries.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kctx::report::summary::WorkqueueSummary;
use kctx_tests::{
    bundle::Bundle,
    kernel,
    load::{self, Pty},
    program::Running,
};
use rustix::process::Signal;

use crate::{Output, alone, check_replay};

/// `tty_flip_buffer_push` and its like queue it (drivers/tty/tty_buffer.c).
const FUNCTION: &str = "flush_to_ldisc";

/// Captures while `during` runs, from before its first to after its last work.
fn capture_during(during: impl FnOnce() -> Result<()>) -> Result<Bundle> {
    let output = Output::new()?;
    let path = output.path();
    let path_text = path.to_string_lossy();
    let mut capture = Running::kctx(["capture", "--window", "100s", "-o", &path_text])?;
    capture.wait_until_open()?;
    during()?;
    // The last work has delivered its byte, and returns a moment later.
    std::thread::sleep(Duration::from_millis(50));
    capture.signal(Signal::INT)?;
    capture.wait(Duration::from_secs(60))?.success()?;
    let bundle = Bundle::read(&path)?;
    check_replay(&bundle, &path)?;
    Ok(bundle)
}

fn flushes(bundle: &Bundle) -> Result<&WorkqueueSummary> {
    let mut rows = (bundle.summary.workqueue.iter()).filter(|row| row.function == FUNCTION);
    let row = rows
        .next()
        .with_context(|| format!("no row of {FUNCTION}"))?;
    assert!(rows.next().is_none(), "two rows of {FUNCTION}");
    Ok(row)
}

#[test]
fn known_works_are_counted_by_name() -> Result<()> {
    const BYTES: u32 = 1500;
    let _alone = alone();
    let mut pty = Pty::open()?;
    let bundle = capture_during(|| pty.carry(BYTES))?;
    let row = flushes(&bundle)?;
    assert_eq!(row.workqueue, "events_unbound");
    let bytes = u64::from(BYTES);
    // Other terminals of the machine may be in use.
    assert!((bytes..bytes + 300).contains(&row.count), "{row:?}");
    assert_eq!(row.service.count, row.count);
    assert_eq!(row.wait.count + row.wait_unknown, row.count);
    assert!(
        row.wait.count >= bytes && row.activate.count >= bytes,
        "{row:?}"
    );
    assert!(row.service.p50_ns > 0 && row.wait.p50_ns > 0, "{row:?}");
    assert!(row.activate.sum_ns <= row.wait.sum_ns, "{row:?}");
    // One byte after the other: together they cannot take longer than the window.
    let window = bundle.summary.window.duration_ns;
    assert!(row.wait.sum_ns + row.service.sum_ns < 2 * window, "{row:?}");
    Ok(())
}

#[test]
fn a_work_that_runs_on_another_cpu_is_paired_with_its_queueing() -> Result<()> {
    const BYTES: u32 = 400;
    let _alone = alone();
    let cpus = kernel::online_cpus()?;
    if cpus.len() < 2 {
        println!("one CPU only: there is no other");
        return Ok(());
    }
    let mut pty = Pty::open()?;
    let bundle = capture_during(|| {
        // Whoever queues shares its CPU with a busy loop, so the worker wakes on another.
        for &cpu in cpus.iter().take(2) {
            let _busy = load::spin(cpu)?;
            let carrier = std::thread::scope(|scope| {
                let pty = &mut pty;
                scope
                    .spawn(move || {
                        load::pin(cpu)?;
                        pty.carry(BYTES)
                    })
                    .join()
            });
            carrier.map_err(|_| anyhow::anyhow!("the carrier panicked"))??;
        }
        Ok(())
    })?;
    let row = flushes(&bundle)?;
    assert!(row.remote > 10, "{row:?}");
    assert!(row.remote <= row.count, "{row:?}");
    assert!(row.wait.count >= 2 * u64::from(BYTES), "{row:?}");
    assert!(row.wait_unknown <= 5, "{row:?}");
    Ok(())
}
