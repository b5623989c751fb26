//! The VM's network cards, whose interrupt line is shared: in a VM only.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use kctx::{
    aggregate::window::OriginKind,
    report::summary::{HardirqSummary, NapiSummary},
};
use kctx_tests::{bundle::Bundle, left_out::left_out, program::Running};

use crate::{
    alone, in_vm,
    vm_machine::{capture_during, tool},
    without_btf,
};

const E1000: &str = "/lib/modules-test/e1000.ko";

/// The VM's two network cards, up until this is dropped.
pub(crate) struct Cards;

impl Cards {
    /// `None`, and said, where this kernel has no driver for them.
    pub(crate) fn bring_up_if_any() -> Result<Option<Self>> {
        if !Path::new(E1000).exists() {
            left_out("this kernel has no e1000");
            return Ok(None);
        }
        Self::bring_up().map(Some)
    }

    fn bring_up() -> Result<Self> {
        tool(&["insmod", E1000])?;
        let cards = Self;
        for card in ["eth0", "eth1"] {
            tool(&["ip", "link", "set", card, "up"])?;
        }
        tool(&["ip", "addr", "add", "10.0.2.15/24", "dev", "eth0"])?;
        std::thread::sleep(Duration::from_secs(3));
        Ok(cards)
    }
}

impl Drop for Cards {
    fn drop(&mut self) {
        let _ = tool(&["rmmod", "e1000"]);
    }
}

const PINGS: u64 = 40;

/// As many packets go to the first card's network, and as many come back.
fn ping() -> Result<()> {
    let ping = Running::start({
        let mut ping = Command::new("ping");
        ping.args(["-c", &PINGS.to_string(), "-i", "0.05", "10.0.2.2"]);
        ping
    })?;
    ping.wait(Duration::from_secs(60))?.success()?;
    Ok(())
}

fn polls<'a>(bundle: &'a Bundle, device: &str) -> Vec<&'a NapiSummary> {
    let rows = bundle.summary.napi.iter();
    rows.filter(|row| row.device == device).collect()
}

/// What the first card's driver counted in the window (`ethtool -S`).
fn counted_by_driver(bundle: &Bundle, name: &str) -> Result<u64> {
    let count = |phase: &str| -> Result<u64> {
        let text = bundle.text(&format!("evidence/{phase}/ethtool/eth0.json"))?;
        let device: serde_json::Value = serde_json::from_str(text)?;
        assert_eq!(device["driver"], "e1000");
        // What is zero is left out.
        Ok(device["statistics"][name].as_u64().unwrap_or_default())
    };
    Ok(count("after")? - count("before")?)
}

/// Polls are by device, in the softirq that a card's interrupt raised; and in a thread of the NAPI's own, if the
/// device is told to have such.
#[test]
#[ignore = "brings up network cards: in a VM only, by cargo xtask vm"]
fn vm_a_cards_polls_are_by_device_in_softirqs_and_in_threads() -> Result<()> {
    const THREADED: &str = "/sys/class/net/eth0/threaded";
    let _alone = alone();
    if in_vm() && (!Path::new(E1000).exists() || without_btf()) {
        left_out("this kernel has no e1000, or nobody knows a device's name without BTF");
        return Ok(());
    }
    let cards = Cards::bring_up()?;
    let in_softirq = capture_during(ping)?;
    let threaded = Path::new(THREADED).exists();
    let mut in_thread = None;
    if threaded {
        fs::write(THREADED, "1").context("eth0 cannot have NAPI threads")?;
        in_thread = Some(capture_during(ping)?);
        fs::write(THREADED, "0")?;
    }
    drop(cards);
    let rows = polls(&in_softirq, "eth0");
    println!("{rows:?}");
    let packets: u64 = rows.iter().map(|row| row.packets).sum();
    assert!((PINGS..PINGS * 4).contains(&packets), "{rows:?}");
    let counted = counted_by_driver(&in_softirq, "rx_packets")?;
    assert!((PINGS..=packets).contains(&counted), "{counted}, {rows:?}");
    for row in &rows {
        assert!(
            row.context != "napi_thread" && row.context != "unknown",
            "{row:?}"
        );
        assert_eq!(
            (row.service.count, row.exhausted),
            (row.count, 0),
            "{row:?}"
        );
    }
    // Not on PREEMPT_RT, where the handler is a thread.
    let forced =
        (in_softirq.summary.hardirq.iter()).any(|row| row.name == "eth0" && row.woke_thread > 0);
    let by_card: u64 = (in_softirq.summary.softirq_origin.iter())
        .filter(|row| row.vector == "NET_RX" && row.origin.kind == OriginKind::Irq)
        .filter(|row| row.origin.number == Some(11) && row.origin.name.contains("eth"))
        .map(|row| row.count)
        .sum();
    assert!(
        forced || by_card > PINGS / 2,
        "raised by the card: {by_card} of {:?}",
        in_softirq.summary.softirq_origin
    );
    let Some(in_thread) = in_thread else {
        left_out("this kernel has no NAPI threads");
        return Ok(());
    };
    let rows = polls(&in_thread, "eth0");
    println!("{rows:?}");
    let of_threads: Vec<_> = rows
        .iter()
        .filter(|row| row.context == "napi_thread")
        .collect();
    let packets: u64 = of_threads.iter().map(|row| row.packets).sum();
    assert!((PINGS..PINGS * 4).contains(&packets), "{rows:?}");
    for row in of_threads {
        assert_eq!(row.service.count, row.count, "{row:?}");
        assert!(row.service.sum_ns > 0, "{row:?}");
    }
    let threads: Vec<_> = (in_thread.summary.kthread.iter())
        .filter(|row| row.comm.starts_with("napi/eth0"))
        .collect();
    assert!(!threads.is_empty(), "{:?}", in_thread.summary.kthread);
    for row in threads {
        assert_eq!(row.role, "napi", "{row:?}");
        assert!(row.cpu_ns > 0 && row.wait.count > 0, "{row:?}");
    }
    Ok(())
}

/// Two cards on one line: what one raises, the other's handler is asked about too, and says that it is not
/// its own (`IRQ_NONE`).
#[test]
#[ignore = "brings up network cards: in a VM only, by cargo xtask vm"]
fn vm_a_shared_line_is_not_counted_twice() -> Result<()> {
    let _alone = alone();
    if in_vm() && !Path::new(E1000).exists() {
        left_out("this kernel has no e1000");
        return Ok(());
    }
    let cards = Cards::bring_up()?;
    let bundle = capture_during(ping)?;
    drop(cards);
    let read = |phase: &str| {
        kctx_tests::kernel::interrupts(bundle.text(&format!("evidence/{phase}/proc/interrupts"))?)
    };
    let growth = kctx_tests::kernel::growth(&read("before")?, &read("after")?);
    let rows = (bundle.summary.hardirq.iter()).filter(|row| row.irq == Some(11));
    let line: u64 = growth
        .iter()
        .filter(|((irq, _), _)| *irq == 11)
        .map(|(_, n)| n)
        .sum();
    println!("the kernel counts {line} interrupts on the line");
    let rows: Vec<_> = rows.collect();
    let only_wakes = |row: &&HardirqSummary| row.count > 0 && row.woke_thread == row.count;
    if !rows.is_empty() && rows.iter().all(only_wakes) {
        // Forced threading (PREEMPT_RT): each action only wakes its thread, which then asks its device.
        for row in &rows {
            assert!(row.count <= line + 3, "{row:?}");
        }
        assert!(line > 10, "{line} interrupts");
        return Ok(());
    }
    let (mut handled, mut unhandled) = (0, 0);
    for row in rows {
        println!(
            "{} on CPU {}: {} and {} not its own",
            row.name, row.cpu, row.count, row.unhandled
        );
        handled += row.count;
        unhandled += row.unhandled;
        assert_eq!(
            row.service.count, row.count,
            "IRQ_NONE is no service: {row:?}"
        );
    }
    assert!(
        handled > 10 && unhandled > 10,
        "{handled} handled, {unhandled} not"
    );
    // Each interrupt calls both actions: one handles it, or at times neither.
    assert!(handled <= line + 3, "{handled} handled of {line}");
    assert!(
        (handled + unhandled).abs_diff(2 * line) <= 8,
        "{handled} + {unhandled}, twice {line}"
    );
    Ok(())
}
