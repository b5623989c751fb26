//! Where stacks are sampled: their clock leaves CPUs alone that have little to sample.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use kctx_tests::{kernel, load, program::Running};

use crate::{Output, alone};

/// Interrupts of each CPU's local timer in a second: each tick of the clock is one.
fn timer_interrupts() -> Result<BTreeMap<u32, u64>> {
    let read = || kernel::named_interrupts(&fs::read_to_string("/proc/interrupts")?);
    let before = read()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(kernel::growth(&before, &read()?)
        .into_iter()
        .filter(|((name, _), _)| name == "LOC")
        .map(|((_, cpu), grown)| (cpu, grown))
        .collect())
}

#[test]
fn stacks_are_sampled_where_the_kernel_keeps_a_cpu_busy_and_not_where_it_rests() -> Result<()> {
    /// Ticks a second; of which a busy emulator may leave some out.
    const FREQUENCY: u64 = 999;
    const MANY: u64 = FREQUENCY * 6 / 10;
    let _alone = alone();
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    fs::write(
        &config,
        format!("[stacks]\nfrequency = {FREQUENCY}\nbusy = \"5%\"\n"),
    )?;
    let config = config.to_string_lossy().into_owned();
    let cpus = kernel::online_cpus()?;
    let untraced = timer_interrupts()?;
    // What the machine itself does comes on top.
    let ticks = |cpu: u32| -> Result<u64> {
        let now = timer_interrupts()?;
        println!("{now:?}, untraced {untraced:?}");
        let of = |counts: &BTreeMap<u32, u64>| counts.get(&cpu).copied().unwrap_or_default();
        Ok(of(&now).saturating_sub(of(&untraced)))
    };
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "110s"])?;
    run.wait_until_open()?;
    for cpu in &cpus {
        let ticks_at_first = soon(|| Ok(ticks(*cpu)? > MANY))?;
        assert!(ticks_at_first, "CPU {cpu} is not sampled at first");
    }
    std::thread::sleep(Duration::from_secs(8));
    // An emulated machine is busy for a while after anything.
    for cpu in &cpus {
        let rests = soon(|| Ok(ticks(*cpu)? < FREQUENCY - MANY))?;
        assert!(rests, "CPU {cpu} is sampled at rest");
    }
    let busy = cpus.into_iter().max().context("no CPU")?;
    let udp = load::udp_on(busy)?;
    let ticks_again = soon(|| Ok(ticks(busy)? > MANY))?;
    drop(udp);
    run.signal(rustix::process::Signal::INT)?;
    run.wait(Duration::from_secs(20))?;
    assert!(ticks_again, "CPU {busy} is busy, and not sampled");
    Ok(())
}

/// Whether something comes to be, within half a minute.
fn soon(mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    for _ in 0..30 {
        if is_so()? {
            return Ok(true);
        }
    }
    Ok(false)
}
