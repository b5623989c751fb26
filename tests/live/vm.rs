//! What only a VM may be asked to do: load and unload a module. `cargo xtask vm` runs these too.

use std::{
    fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use kctx::aggregate::window::{ModuleEvent, ModuleRow, Served};
use kctx_tests::{
    bundle::Bundle,
    program::{Running, run_command},
};
use rustix::net::{AddressFamily, SocketType};

use crate::{alone, vm_machine::only_in_a_vm, without_btf};

const MODULE: &str = "/lib/modules-test/dummy.ko";

/// A protocol family that no kernel here has built in, so that it asks for a module (net/socket.c).
/// `AF_IEEE802154`
const FAMILY: u16 = 36;

/// Captures while `during` runs, in a VM only.
fn capture_during(during: impl FnOnce() -> Result<()>) -> Result<Bundle> {
    only_in_a_vm()?;
    crate::capture_during(during)
}

/// Runs a tool of the VM, and says as which process.
fn tool(words: &[&str]) -> Result<u32> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let running = Running::start(command)?;
    let pid = running.pid();
    running.wait(Duration::from_secs(30))?.success()?;
    Ok(pid)
}

fn events(bundle: &Bundle, event: ModuleEvent) -> Vec<&ModuleRow> {
    let rows = bundle.summary.module.iter();
    rows.filter(|row| row.event == event).collect()
}

/// The letters in brackets at the end of a line of /proc/modules.
fn taints_in_proc(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("dummy "))?;
    let (_, letters) = line.rsplit_once('(').unwrap_or((line, ""));
    Some(letters.trim_end_matches(')'))
}

#[test]
#[ignore = "loads a module: in a VM only, by cargo xtask vm"]
fn vm_a_module_is_seen_to_come_and_go() -> Result<()> {
    let _alone = alone();
    let mut pids = (0, 0);
    let (mut by_sysfs, mut by_proc) = (String::new(), String::new());
    let mut took = Duration::ZERO;
    let bundle = capture_during(|| {
        let start = Instant::now();
        pids.0 = tool(&["insmod", MODULE])?;
        took = start.elapsed();
        fs::read_to_string("/sys/module/dummy/taint")?
            .trim()
            .clone_into(&mut by_sysfs);
        taints_in_proc(&fs::read_to_string("/proc/modules")?)
            .context("dummy is in /proc/modules")?
            .clone_into(&mut by_proc);
        pids.1 = tool(&["rmmod", "dummy"])?;
        Ok(())
    })?;
    let (loads, frees) = (
        events(&bundle, ModuleEvent::Load),
        events(&bundle, ModuleEvent::Free),
    );
    println!("the kernel says taint {by_sysfs:?} and {by_proc:?}; kctx: {loads:?} {frees:?}");
    let ([load], [free]) = (&loads[..], &frees[..]) else {
        panic!("one load and one free: {:?}", bundle.summary.module);
    };
    assert_eq!((load.name.as_str(), free.name.as_str()), ("dummy", "dummy"));
    assert_eq!((load.pid, free.pid), pids);
    assert_eq!(
        (load.comm.as_str(), free.comm.as_str()),
        ("insmod", "rmmod")
    );
    let inits = events(&bundle, ModuleEvent::Init);
    let [init] = &inits[..] else {
        panic!("one init: {:?}", bundle.summary.module);
    };
    assert_eq!(
        (init.name.as_str(), init.ret, init.pid),
        ("dummy", Some(0), pids.0)
    );
    assert!(
        (init.init_ns).is_some_and(|ns| ns > 0 && u128::from(ns) < took.as_nanos()),
        "insmod took {took:?}: {init:?}"
    );
    assert!(load.time_unix_ns < init.time_unix_ns && init.time_unix_ns < free.time_unix_ns);
    assert_eq!(load.taints, by_sysfs);
    assert_eq!(load.taints, by_proc);
    let window = &bundle.summary.window;
    let span = window.start_unix_ns..window.start_unix_ns + window.duration_ns;
    assert!(span.contains(&load.time_unix_ns) && span.contains(&free.time_unix_ns));
    assert!(load.time_unix_ns < free.time_unix_ns);
    let counts = &bundle.summary.accounting.by_family[&kctx::aggregate::window::Family::Module];
    assert_eq!(counts.observed, bundle.summary.module.len() as u64);
    Ok(())
}

/// The module under another name. It then cannot register its kind of device, which is there already.
fn renamed(module: &[u8]) -> Result<Vec<u8>> {
    // `struct module`'s own name fills its array (MODULE_NAME_LEN, include/linux/module.h); other texts go on behind it.
    const NAME: &[u8] = b"dummy\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    // Changed, it no longer fits its signature; without one it is loaded, and the kernel tainted.
    const SIGNED: &[u8] = b"~Module signature appended~\n";
    let at = (module.windows(NAME.len()).position(|bytes| bytes == NAME))
        .context("the module does not say its name")?;
    let mut module = module.strip_suffix(SIGNED).unwrap_or(module).to_vec();
    module[at..at + 5].copy_from_slice(b"other");
    Ok(module)
}

#[test]
#[ignore = "loads modules: in a VM only, by cargo xtask vm"]
fn vm_a_module_whose_init_fails_says_so() -> Result<()> {
    const OTHER: &str = "/tmp/other.ko";
    let _alone = alone();
    let mut pid = 0;
    let bundle = capture_during(|| {
        fs::write(OTHER, renamed(&fs::read(MODULE)?)?)?;
        tool(&["insmod", MODULE])?;
        let mut insmod = Command::new("insmod");
        insmod.arg(OTHER);
        let running = Running::start(insmod)?;
        pid = running.pid();
        let failed = running.wait(Duration::from_secs(30))?.success().is_err();
        tool(&["rmmod", "dummy"])?;
        if failed {
            Ok(())
        } else {
            bail!("it was loaded")
        }
    })?;
    let theirs = |event| {
        let rows = events(&bundle, event).into_iter();
        rows.filter(|row| row.name == "other").collect::<Vec<_>>()
    };
    let (inits, frees) = (theirs(ModuleEvent::Init), theirs(ModuleEvent::Free));
    // BusyBox's insmod tries a second time, with the other system call.
    assert!(
        !inits.is_empty() && inits.len() == frees.len(),
        "a free for each init: {:?}",
        bundle.summary.module
    );
    for (init, free) in inits.iter().zip(&frees) {
        assert_eq!((init.ret, init.pid), (Some(-libc::EEXIST), pid));
        assert!(init.time_unix_ns < free.time_unix_ns);
    }
    Ok(())
}

/// A diagnosis of it finds this, among what emulated CPUs are busy with.
pub(crate) fn check_found(bundle: &Bundle, id: &str) {
    let found = bundle.findings();
    println!("found: {found:?}");
    assert!(found.iter().any(|known| known == id), "{id}: {found:?}");
}

/// What a broken host does all day.
#[test]
#[ignore = "loads a module over and over: in a VM only, by cargo xtask vm"]
fn vm_modules_in_a_loop_are_all_seen() -> Result<()> {
    const TIMES: usize = 25;
    let _alone = alone();
    let bundle = capture_during(|| {
        for _ in 0..TIMES {
            tool(&["insmod", MODULE])?;
            tool(&["rmmod", "dummy"])?;
        }
        Ok(())
    })?;
    for event in [ModuleEvent::Load, ModuleEvent::Init, ModuleEvent::Free] {
        let rows = events(&bundle, event);
        let of_dummy: Vec<_> = rows.iter().filter(|row| row.name == "dummy").collect();
        assert_eq!(of_dummy.len(), TIMES, "{event:?}: {rows:?}");
        let in_order = of_dummy
            .windows(2)
            .all(|pair| pair[0].time_unix_ns < pair[1].time_unix_ns);
        assert!(in_order, "{of_dummy:?}");
    }
    check_found(&bundle, "MOD-LOOP");
    crate::conservation::check_conservation(&bundle.summary);
    Ok(())
}

#[test]
#[ignore = "has the kernel ask for a module: in a VM only, by cargo xtask vm"]
fn vm_a_request_for_a_module_is_seen() -> Result<()> {
    let _alone = alone();
    let bundle = capture_during(|| {
        let family = AddressFamily::from_raw(FAMILY);
        // Nobody brings the module, so there will be no socket.
        let refused = rustix::net::socket(family, SocketType::DGRAM, None).is_err();
        assert!(refused, "this kernel has the family built in");
        Ok(())
    })?;
    let wanted = format!("net-pf-{FAMILY}");
    let requests = events(&bundle, ModuleEvent::Request);
    let row = requests.iter().find(|row| row.name == wanted);
    let row = row.with_context(|| format!("no request of {wanted}: {requests:?}"))?;
    assert_eq!(row.pid, std::process::id());
    Ok(())
}

/// What a kernel may lack: tasklets have tracepoints since 6.5 and late 6.1.y, and without BTF nobody knows
/// where a task's fields are.
fn is_known_to_be_missing(probe: &str, reason: &str) -> bool {
    let absent = reason.contains("this kernel has no tracepoint");
    (probe.starts_with("irq:tasklet_") && (absent || without_btf()))
        || (probe.starts_with("sched:") && without_btf())
}

#[test]
#[ignore = "about the VM's kernel: in a VM only, by cargo xtask vm"]
fn vm_every_probe_is_attached() -> Result<()> {
    let _alone = alone();
    let bundle = crate::capture("200ms", &[])?;
    let probes = &bundle.summary.probes;
    // For the table in docs/kernels.md, which is of the kernel's probes, not of files. Past the harness, which
    // keeps what a passed test prints.
    let in_kernel = probes.iter();
    let in_kernel = in_kernel.filter(|probe| matches!(probe.family, Served::Records(_)));
    let json = serde_json::to_string(&in_kernel.collect::<Vec<_>>())?;
    let line = format!("\nKCTX-VM probes {json}\n");
    std::io::stdout().write_all(line.as_bytes())?;
    for probe in probes {
        let reason = probe.reason.as_deref().unwrap_or_default();
        if !probe.attached && is_known_to_be_missing(&probe.name, reason) {
            println!("{}: {reason}", probe.name);
            continue;
        }
        assert!(probe.attached, "{probe:?}");
        let hot = if without_btf() { "raw_tp" } else { "tp_btf" };
        let hows = match probe.family {
            Served::Records(_) => vec![hot, "tracepoint", "perf_event"],
            Served::File(_) => vec!["read"],
        };
        assert!(
            hows.contains(&probe.mechanism.as_deref().unwrap_or_default()),
            "{probe:?}"
        );
    }
    let doctor = run_command(kctx_tests::program::kctx(["doctor"])?)?.success()?;
    assert!(doctor.stdout.contains("Live measurement works here"));
    Ok(())
}
