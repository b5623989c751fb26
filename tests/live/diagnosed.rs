//! Situations made on purpose, and what `kctx diagnose` first says of them.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};
use kctx::diagnose::{Document, Severity, Verdict};
use kctx_tests::{left_out::left_out, load, program, situation};

use crate::{alone, in_vm, two_cpus};

/// What the first finding is to be.
struct Wanted {
    id: &'static str,
    /// On the CPU that the situation works on; else on none in particular.
    on_cpu: bool,
    device: Option<&'static str>,
}

const fn wanted(id: &'static str, on_cpu: bool, device: Option<&'static str>) -> Option<Wanted> {
    Some(Wanted { id, on_cpu, device })
}

/// Diagnoses while the situation is there, in the same network namespace; `None` where it cannot be made.
fn diagnosed(name: &'static str) -> Result<Option<Document>> {
    if in_vm() {
        left_out("emulated CPUs are busy with other things first, kctx among them");
        return Ok(None);
    }
    let _alone = alone();
    let Some((cpu, other)) = two_cpus()? else {
        return Ok(None);
    };
    situation::in_network(move || {
        let made = match situation::make(name, cpu, other) {
            Ok(made) => made,
            Err(error) => {
                left_out(format!("{error:#}"));
                assert!(!has_tools(), "{error:#}");
                return Ok(None);
            }
        };
        std::thread::sleep(situation::SETTLE);
        let ended = program::run(["diagnose", "--window", "5s", "--format", "json"])?.success()?;
        drop(made);
        let document: Document = serde_json::from_str(&ended.stdout)?;
        println!("{name}: {}", document.diagnosis.first_line);
        for finding in &document.diagnosis.findings {
            println!("  {} {:?} {}", finding.id, finding.severity, finding.title);
        }
        Ok(Some(document))
    })
}

/// iproute2 and nftables.
fn has_tools() -> bool {
    ["ip", "tc", "nft"]
        .iter()
        .all(|tool| Command::new(tool).arg("-V").output().is_ok())
}

fn check(name: &'static str, wanted: Option<Wanted>) -> Result<()> {
    let Some(document) = diagnosed(name)? else {
        return Ok(());
    };
    let diagnosis = &document.diagnosis;
    let Some(wanted) = wanted else {
        // Others may be at work here; hot it is not.
        assert_eq!(diagnosis.verdict, Verdict::NothingHot, "{diagnosis:#?}");
        return Ok(());
    };
    // kctx itself may be a finding where it is built without optimization.
    let mut findings = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.id != "SELF");
    let first = findings
        .next()
        .with_context(|| diagnosis.first_line.clone())?;
    assert_eq!(first.id, wanted.id, "{diagnosis:#?}");
    let (cpu, _) = two_cpus()?.context("two CPUs")?;
    if wanted.on_cpu {
        assert_eq!(first.scope.cpus.first(), Some(&cpu), "{first:#?}");
    }
    if let Some(device) = wanted.device {
        assert!(
            first.scope.devices.iter().any(|known| known == device),
            "{first:#?}"
        );
    }
    assert!(
        !first.next.is_empty() && !first.chain.is_empty(),
        "{first:#?}"
    );
    Ok(())
}

#[test]
fn packets_of_a_process_to_itself() -> Result<()> {
    check("net-lo", wanted("NET-LO", true, Some("lo")))
}

#[test]
fn packets_that_are_handed_to_another_cpu() -> Result<()> {
    check("net-rps", wanted("NET-RPS", true, None))
}

#[test]
fn packets_past_a_thousand_rules() -> Result<()> {
    check("net-fw", wanted("NET-FW", true, None))
}

/// No ksoftirqd, no drops: all of it is billed to who sends.
#[test]
fn packets_past_a_thousand_rules_in_the_sender() -> Result<()> {
    check("net-fw-inline", wanted("NET-FW", true, None))
}

#[test]
fn packets_through_a_pair_of_veth() -> Result<()> {
    check("net-virt", wanted("NET-VIRT", true, Some("veth-k0")))
}

/// Six devices have a full poll each in the same run.
#[test]
fn packets_that_are_more_than_a_run_may_take() -> Result<()> {
    check("net-budget", wanted("NET-BUDGET", true, None))
}

#[test]
fn packets_that_a_program_filters() -> Result<()> {
    check("net-bpf", wanted("NET-BPF", true, None))
}

/// More connections than there is room for.
#[test]
fn packets_of_ever_new_connections() -> Result<()> {
    check("net-ct", wanted("NET-CT", false, None))
}

#[test]
fn packets_that_a_thread_polls() -> Result<()> {
    check(
        "net-napi-thread",
        wanted("NET-NAPI-THREAD", false, Some("veth-k0")),
    )
}

#[test]
fn packets_that_a_shaper_holds_back() -> Result<()> {
    check("net-tx", wanted("NET-TX", false, None))
}

#[test]
fn timers_of_microseconds() -> Result<()> {
    check("tmr-hard", wanted("TMR-HARD", true, None))
}

/// Its interrupts are no task's that sleeps.
#[test]
fn timers_that_tcp_paces_by() -> Result<()> {
    check("tmr-hrsoft", wanted("TMR-HRSOFT", true, None))
}

#[test]
fn sockets_that_come_and_go() -> Result<()> {
    check("rcu-flood", wanted("RCU-FLOOD", true, None))
}

#[test]
fn works_of_a_loop_device() -> Result<()> {
    if !Path::new("/dev/loop-control").exists() {
        left_out("there are no loop devices");
        return Ok(());
    }
    check("wq-wb", wanted("WQ-WB", false, None))
}

/// BPF maps that take long to free.
#[test]
fn a_work_that_keeps_a_cpu_for_itself() -> Result<()> {
    check("wq-hog", wanted("WQ-HOG", false, None))
}

/// Of a queue that runs one at a time, while the lock that each wants is taken.
#[test]
fn works_that_wait_for_others_of_their_queue() -> Result<()> {
    if !Path::new("/proc/sys/net/ipv6").exists() {
        left_out("there is no IPv6");
        return Ok(());
    }
    check("wq-stall", wanted("WQ-STALL", false, None))
}

#[test]
fn works_of_a_pseudoterminal() -> Result<()> {
    check("wq-churn", wanted("WQ-CHURN", false, None))
}

#[test]
fn namespaces_that_come_and_go() -> Result<()> {
    check("wq-cg", wanted("WQ-CG", false, None))
}

#[test]
fn a_real_time_task_that_never_sleeps() -> Result<()> {
    check("rt-starve", wanted("RT-STARVE", true, None))
}

#[test]
fn function_calls_from_cpu_to_cpu() -> Result<()> {
    check("irq-ipi", wanted("IRQ-IPI", true, None))
}

/// None of what kctx measures, and said to be so.
#[test]
fn a_task_in_the_kernel_at_its_own_behest() -> Result<()> {
    let Some(document) = diagnosed("syscall")? else {
        return Ok(());
    };
    let diagnosis = &document.diagnosis;
    assert_eq!(diagnosis.verdict, Verdict::NothingHot, "{diagnosis:#?}");
    let mut findings = diagnosis.findings.iter();
    let own = findings.find(|finding| finding.id == "SYSCALL");
    let own = own.with_context(|| format!("{diagnosis:#?}"))?;
    let (cpu, _) = two_cpus()?.context("two CPUs")?;
    assert_eq!(own.scope.cpus, [cpu], "{own:#?}");
    // The test's own process.
    let process = std::fs::read_to_string("/proc/self/comm")?;
    assert_eq!(own.scope.comms, [process.trim()], "{own:#?}");
    Ok(())
}

/// Where the working directory and the folder for temporary files lie on one, as loads of a disk need it.
fn has_a_disk() -> Result<bool> {
    for folder in [std::env::current_dir()?, std::env::temp_dir()] {
        if !load::has_block_device(&folder)? {
            left_out(format!("{} is on no block device", folder.display()));
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn completions_of_a_disk() -> Result<()> {
    if !has_a_disk()? {
        return Ok(());
    }
    check("blk-done", wanted("BLK-DONE", false, None))
}

/// One that writes what tasks have synced.
#[test]
fn nothing_is_hot_where_a_disk_writes() -> Result<()> {
    if !has_a_disk()? {
        return Ok(());
    }
    check("disk", None)
}

#[test]
fn nothing_is_hot_at_rest() -> Result<()> {
    check("idle", None)
}

/// Busy is not hot.
#[test]
fn nothing_is_hot_where_tasks_are_busy() -> Result<()> {
    check("spinners", None)
}

#[test]
fn nothing_is_hot_in_a_light_load() -> Result<()> {
    check("light-udp", None)?;
    let Some(document) = diagnosed("tmr-soft")? else {
        return Ok(());
    };
    let worst = document
        .diagnosis
        .findings
        .iter()
        .map(|finding| finding.severity)
        .max();
    assert!(worst <= Some(Severity::Info), "{:#?}", document.diagnosis);
    Ok(())
}

#[test]
fn packets_of_one_flow_in_one_of_four_queues() -> Result<()> {
    check("net-flow", wanted("NET-FLOW", true, Some("veth-k0")))
}
