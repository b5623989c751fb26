//! Situations that `kctx diagnose` is to recognize, made on purpose: each is bounded, stays on this machine, and ends when
//! dropped.

mod addresses;
pub mod network;
mod offload;
pub mod other;
mod socket_filter;
mod socket_option;
pub mod tcp;
mod trie;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    load::{self, Load},
    netns,
};

/// Loads that together make a situation.
pub struct Situation {
    _loads: Vec<Load>,
}

impl Situation {
    fn of(loads: Vec<Load>) -> Self {
        Self { _loads: loads }
    }
}

/// Names of all.
pub const NAMES: [&str; 28] = [
    "net-lo",
    "net-rps",
    "net-fw",
    "net-fw-inline",
    "net-virt",
    "net-budget",
    "net-bpf",
    "net-ct",
    "net-napi-thread",
    "net-flow",
    "net-tx",
    "tmr-hard",
    "tmr-soft",
    "tmr-hrsoft",
    "blk-done",
    "wq-churn",
    "wq-cg",
    "wq-wb",
    "wq-hog",
    "wq-stall",
    "rcu-flood",
    "rt-starve",
    "irq-ipi",
    "syscall",
    "idle",
    "spinners",
    "disk",
    "light-udp",
];

/// Makes the situation of that name, with its work on one CPU and what causes it on another. To be called inside of
/// [`in_network`].
pub fn make(name: &str, cpu: u32, other: u32) -> Result<Situation> {
    Ok(Situation::of(match name {
        "net-lo" => vec![network::flood(cpu)?],
        "net-rps" => vec![network::steered(other, cpu)?],
        "net-fw" => {
            network::filter(2_000)?;
            vec![network::steered(other, cpu)?]
        }
        "net-fw-inline" => {
            network::filter(2_000)?;
            vec![network::flood(cpu)?]
        }
        "net-virt" => vec![network::veth(cpu, false)?],
        "net-budget" => vec![network::bridged(cpu)?],
        "net-bpf" => vec![network::filtered_by_bpf(cpu)?],
        "net-ct" => vec![network::connections(cpu)?],
        "net-napi-thread" => vec![network::veth(other, true)?],
        "net-flow" => vec![network::one_flow(cpu)?],
        "net-tx" => vec![tcp::shaped(cpu)?],
        "tmr-hard" => vec![other::timers(cpu)?],
        "tmr-soft" => other::receive_timeouts(300)?,
        "tmr-hrsoft" => tcp::paced(cpu)?,
        "blk-done" => vec![other::direct_reads(cpu)?],
        "wq-churn" => vec![other::pty_writer(cpu)?],
        "wq-cg" => vec![other::namespaces()?],
        "wq-wb" => vec![other::loop_device()?],
        "wq-hog" => vec![other::tries(cpu)?, other::tries(other)?],
        "wq-stall" => vec![addresses::asked_for_without_end()?],
        "rcu-flood" => vec![other::sockets(cpu)?],
        "rt-starve" => vec![
            network::steered(other, cpu)?,
            other::real_time_spinner(cpu)?,
        ],
        "irq-ipi" => vec![load::spinner(cpu)?, load::function_calls(other)?],
        "syscall" => vec![load::reader(cpu)?],
        "idle" => Vec::new(),
        "spinners" => vec![load::spinner(cpu)?, load::spinner(other)?],
        "disk" => vec![load::disk(&std::env::temp_dir())?],
        "light-udp" => vec![load::slow_udp(Duration::from_micros(200))?],
        other => bail!("there is no situation {other:?}"),
    }))
}

/// For how long a situation needs to be there before it is what it is.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Does something on a thread that is in a network namespace of its own, and so is all that it starts.
pub fn in_network<T: Send + 'static>(
    inside: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // It speaks for the test that made it.
    let test = std::thread::current()
        .name()
        .unwrap_or("in a network")
        .to_owned();
    let thread = std::thread::Builder::new()
        .name(test)
        .spawn(move || -> Result<T> {
            netns::enter()?;
            inside()
        })?;
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("the thread in the network namespace panicked"))?
}
