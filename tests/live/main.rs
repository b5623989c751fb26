//! kctx on a real kernel: this one, and by `cargo xtask vm` others. Needs root.
//!
//! Counts are compared with the kernel's own books; times are only checked for sense, since the machine
//! may be busy with other things. One test at a time: they share the kernel.

mod attribution;
mod bounds;
mod conservation;
mod contexts;
mod cost;
mod counts;
mod diagnosed;
mod endpoint;
mod evidence;
mod governor;
mod process;
mod programs;
mod provoked;
mod recorder;
mod reload;
mod sampling;
mod scrape;
mod top;
mod triggers;
mod vm;
mod vm_acpi_diagnosed;
mod vm_cost;
mod vm_cpus;
mod vm_diagnosed;
mod vm_irq_diagnosed;
mod vm_machine;
mod vm_network;
mod vm_network_diagnosed;
mod vm_wq_diagnosed;
mod witness;
mod workqueue;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use kctx_tests::{
    bundle::{self, Bundle},
    kernel,
    left_out::left_out,
    program::{self, Running},
};
use rustix::process::Signal;
use tempfile::TempDir;

static KERNEL: Mutex<()> = Mutex::new(());

/// The kernel for one test alone, also where the harness runs several at a time.
fn alone() -> MutexGuard<'static, ()> {
    // A failed test leaves nothing behind that the next could stumble over.
    KERNEL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder for a bundle.
struct Output {
    folder: TempDir,
}

impl Output {
    fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("live.kctx.tar.zst")
    }
}

/// Captures a window, checks that its replay yields the same summary, and reads the bundle.
fn capture(window: &str, more: &[&str]) -> Result<Bundle> {
    let output = Output::new()?;
    let path = output.path();
    let path_text = path.to_string_lossy();
    let mut arguments = vec!["capture", "--window", window, "-o", &path_text];
    arguments.extend(more);
    program::run(arguments)?.success()?;
    let bundle = Bundle::read(&path)?;
    check_replay(&bundle, &path)?;
    Ok(bundle)
}

/// Captures while `during` runs, from before its first to after its last event.
fn capture_during(during: impl FnOnce() -> Result<()>) -> Result<Bundle> {
    capture_with(&[], during)
}

/// The same with more arguments.
fn capture_with(more: &[&str], during: impl FnOnce() -> Result<()>) -> Result<Bundle> {
    let output = Output::new()?;
    let path = output.path();
    let path_text = path.to_string_lossy();
    let mut arguments = vec!["capture", "--window", "100s", "-o", &path_text];
    arguments.extend(more);
    let mut capture = Running::kctx(arguments)?;
    capture.wait_until_open()?;
    during()?;
    // What was last ends a moment later.
    std::thread::sleep(Duration::from_millis(50));
    capture.signal(Signal::INT)?;
    capture.wait(Duration::from_secs(60))?.cut_short()?;
    let bundle = Bundle::read(&path)?;
    check_replay(&bundle, &path)?;
    Ok(bundle)
}

/// The recorded stream yields the recorded summary, and has as many records as the probes streamed.
fn check_replay(bundle: &Bundle, path: &std::path::Path) -> Result<()> {
    let replayed = bundle::replay(path)?;
    assert_eq!(
        bundle::comparable(&replayed.summary)?,
        bundle::comparable(&bundle.summary)?,
        "the replay yields another summary"
    );
    assert_eq!(replayed.undecoded, 0);
    let streamed = bundle.summary.accounting.total.streamed;
    assert_eq!(replayed.received.iter().sum::<u64>(), streamed);
    Ok(())
}

/// The first and the last CPU, of which one is to do something to the other; `None`, and said, where there is one
/// alone.
fn two_cpus() -> Result<Option<(u32, u32)>> {
    let cpus = kernel::online_cpus()?;
    let [first, .., last] = cpus[..] else {
        left_out("this machine has one CPU");
        return Ok(None);
    };
    Ok(Some((first, last)))
}

/// Whether this is a test VM, with nothing in it but busybox, kctx and this program.
fn in_vm() -> bool {
    std::env::var_os("KCTX_VM").is_some()
}

/// Whether this is a test VM whose BTF is hidden: names that lie in the kernel's own structs are then not read.
fn without_btf() -> bool {
    std::env::var_os("KCTX_VM_NO_BTF").is_some()
}
