//! Causes in receiving that want network cards: provoked in a VM, and found by a diagnosis.

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::Result;
use kctx_tests::{bundle::Bundle, left_out::left_out, load::Load, situation};

use crate::{
    alone,
    vm::check_found,
    vm_irq_diagnosed::check_if,
    vm_machine::{Restore, capture_during, tool},
    vm_network::Cards,
};

/// How long each lasts: beginning and end are no part of it.
const LASTS: Duration = Duration::from_secs(8);

/// The line of the cards that receive what the other sends.
const LINE: &str = "/proc/irq/10/smp_affinity_list";
/// Members of a group: what one packet costs, that many times.
const MEMBERS: u32 = 128;

/// Two cards, joined: what is sent to a group through the first comes in by the second.
struct Joined {
    _cards: Cards,
}

impl Joined {
    fn bring_up_if_any() -> Result<Option<Self>> {
        let Some(cards) = Cards::bring_up_if_any()? else {
            return Ok(None);
        };
        for (card, address) in [("eth2", "192.0.2.1/24"), ("eth3", "198.51.100.1/24")] {
            tool(&["ip", "link", "set", card, "up"])?;
            tool(&["ip", "addr", "add", address, "dev", card])?;
        }
        tool(&["ip", "route", "add", "239.0.0.0/8", "dev", "eth2"])?;
        // What comes in has an address of this machine's as its source.
        for (setting, value) in [("accept_local", "1"), ("rp_filter", "0")] {
            fs::write(format!("/proc/sys/net/ipv4/conf/eth3/{setting}"), value)?;
        }
        std::thread::sleep(Duration::from_secs(2));
        Ok(Some(Self { _cards: cards }))
    }

    /// Sends from one CPU what another receives and hands to many.
    fn send(from: u32) -> Result<Load> {
        situation::network::to_many(from, MEMBERS, Ipv4Addr::new(198, 51, 100, 1))
    }
}

/// What NET_RX takes of a CPU, as a part of the window.
fn receiving(bundle: &Bundle, cpu: u32) -> f64 {
    let rows = bundle.summary.softirq.iter();
    let rows = rows.filter(|row| row.vector == "NET_RX" && row.cpu == cpu);
    let sum: u64 = rows.map(|row| row.service_net.sum_ns).sum();
    sum as f64 / bundle.summary.window.duration_ns as f64
}

/// All receiving of a card on one CPU: its line goes there, and it has one queue.
#[test]
#[ignore = "brings up network cards: in a VM only, by cargo xtask vm"]
fn vm_receiving_on_one_cpu_is_found() -> Result<()> {
    let _alone = alone();
    let Some(cards) = Joined::bring_up_if_any()? else {
        return Ok(());
    };
    let bundle = capture_during(|| {
        let _restore = Restore::after(LINE, "0")?;
        let load = Joined::send(1)?;
        std::thread::sleep(LASTS);
        drop(load);
        Ok(())
    })?;
    drop(cards);
    let share = receiving(&bundle, 0);
    println!("{share:.3} of the CPU");
    // How much an emulated CPU gets done, nobody knows.
    assert!(share > 0.5, "receiving takes {share}");
    if (share - 0.7).abs() > 0.02 {
        check_if(&bundle, "NET-CONC", share > 0.7);
    }
    Ok(())
}

/// More than the CPU of its line can take, while others receive as well.
#[test]
#[ignore = "brings up network cards: in a VM only, by cargo xtask vm --cpus 4"]
fn vm_receiving_that_a_cpu_cannot_keep_up_with_is_found() -> Result<()> {
    let _alone = alone();
    if std::thread::available_parallelism()?.get() < 4 {
        left_out("the CPU of the card has kctx on it too");
        return Ok(());
    }
    let Some(cards) = Joined::bring_up_if_any()? else {
        return Ok(());
    };
    let bundle = capture_during(|| {
        let _restore = Restore::after(LINE, "0")?;
        let loads = [Joined::send(1)?, situation::network::flood(2)?];
        std::thread::sleep(LASTS);
        drop(loads);
        Ok(())
    })?;
    drop(cards);
    let (share, other) = (receiving(&bundle, 0), receiving(&bundle, 2));
    println!("{share:.3} of the CPU, and {other:.3} of another");
    assert!(share > 0.5 && other > 0.1, "{share}, {other}");
    // Where hardly any other receives, it is that this one does: NET-CONC.
    if share > 0.82 && other > 0.22 {
        check_found(&bundle, "NET-SAT");
    }
    Ok(())
}
