//! Where stacks are sampled: their clock leaves CPUs alone that have little to sample.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use kctx_tests::{
    kernel, load,
    program::{self, Running},
};
use serde_json::Value;

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

/// Ticks a second; of which a busy emulator may leave some out.
const FREQUENCY: u64 = 999;
const MANY: u64 = FREQUENCY * 6 / 10;

/// A configuration by which a CPU is sampled that is so busy.
fn sampled_from(output: &Output, busy: &str) -> Result<String> {
    let config = output.path().with_file_name("kctx.toml");
    let text = format!("[stacks]\nfrequency = {FREQUENCY}\nbusy = \"{busy}\"\n");
    fs::write(&config, text)?;
    Ok(config.to_string_lossy().into_owned())
}

/// What it costs to leave kctx on is without the first seconds, in which each CPU is sampled.
#[test]
fn an_estimate_is_of_cpus_that_may_rest() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = sampled_from(&output, "100%")?;
    let wanted = ["--estimate", "5s", "--format", "json"];
    let ended = program::run(["doctor", "--config", &config].iter().chain(&wanted))?.success()?;
    let estimate: Value = serde_json::from_str(&ended.stdout)?;
    let programs = estimate["bpf"]["programs"].as_array().context("programs")?;
    let clock = programs.iter().find(|one| one["program"] == "cpu_clock");
    let runs = clock.map_or(0, |clock| clock["runs"].as_u64().unwrap_or(u64::MAX));
    println!("{runs} ticks");
    // They stop half a second after the start.
    assert!(
        runs < FREQUENCY * kernel::online_cpus()?.len() as u64,
        "{runs}"
    );
    Ok(())
}

#[test]
fn stacks_are_sampled_where_the_kernel_keeps_a_cpu_busy_and_not_where_it_rests() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = sampled_from(&output, "5%")?;
    let cpus = kernel::online_cpus()?;
    let untraced = timer_interrupts()?;
    // What the machine itself does comes on top.
    let are_all = |cpus: &[u32], is: fn(u64) -> bool| -> Result<bool> {
        let now = timer_interrupts()?;
        println!("{now:?}, untraced {untraced:?}");
        let of = |counts: &BTreeMap<u32, u64>, cpu| counts.get(cpu).copied().unwrap_or_default();
        let mut cpus = cpus.iter();
        Ok(cpus.all(|cpu| is(of(&now, cpu).saturating_sub(of(&untraced, cpu)))))
    };
    let sampled: fn(u64) -> bool = |ticks| ticks > MANY;
    let mut run = Running::kctx(["run", "--config", &config, "--duration", "110s"])?;
    run.wait_until_open()?;
    let at_first = soon(|| are_all(&cpus, sampled))?;
    assert!(at_first, "a CPU is not sampled at first");
    std::thread::sleep(Duration::from_secs(8));
    // An emulated machine is busy for a while after anything.
    let rest = soon(|| are_all(&cpus, |ticks| ticks < FREQUENCY - MANY))?;
    assert!(rest, "a CPU is sampled at rest");
    let busy = cpus.into_iter().max().context("no CPU")?;
    let udp = load::udp_on(busy)?;
    let ticks_again = soon(|| are_all(&[busy], sampled))?;
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
