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
        format!("[stacks]\nfrequency = {FREQUENCY}\nbusy = \"10%\"\n"),
    )?;
    let config = config.to_string_lossy().into_owned();
    let untraced = timer_interrupts()?;
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "80s"])?;
    run.wait_until_open()?;
    let at_first = timer_interrupts()?;
    std::thread::sleep(Duration::from_secs(10));
    let at_rest = timer_interrupts()?;
    let cpu = (kernel::online_cpus()?.into_iter().max()).context("no CPU")?;
    let udp = load::udp_on(cpu)?;
    std::thread::sleep(Duration::from_secs(2));
    let busy = timer_interrupts()?;
    drop(udp);
    println!("{untraced:?}, at first {at_first:?}, at rest {at_rest:?}, CPU {cpu} busy {busy:?}");
    run.signal(rustix::process::Signal::INT)?;
    run.wait(Duration::from_secs(20))?;
    // What the machine itself does comes on top.
    let more = |now: &BTreeMap<u32, u64>, cpu: u32| {
        let of = |counts: &BTreeMap<u32, u64>| counts.get(&cpu).copied().unwrap_or_default();
        of(now).saturating_sub(of(&untraced))
    };
    for cpu in kernel::online_cpus()? {
        assert!(more(&at_first, cpu) > MANY, "CPU {cpu} at first");
        assert!(more(&at_rest, cpu) < FREQUENCY - MANY, "CPU {cpu} at rest");
    }
    assert!(more(&busy, cpu) > MANY, "CPU {cpu}, busy");
    Ok(())
}
