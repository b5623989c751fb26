//! Datagrams: over loopback, veth and bridges, in network namespaces of their own.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{self, AddressFamily, SocketType, sockopt};

use crate::{
    load::{Load, pin},
    netns,
    situation::{offload, socket_filter},
};

/// Sends datagrams over loopback as fast as one CPU can; to be called in a network namespace made for it.
pub fn flood(from: u32) -> Result<Load> {
    let (receiver, sender) = pair("127.0.0.1", "127.0.0.1")?;
    flood_from(from, receiver, sender)
}

fn flood_from(from: u32, receiver: UdpSocket, sender: UdpSocket) -> Result<Load> {
    Load::start_on(from, move || {
        let _full = &receiver;
        burst(&sender)
    })
}

/// The same, received by another CPU.
pub fn steered(from: u32, to: u32) -> Result<Load> {
    netns::steer(&format!("{:x}", 1_u64 << to))?;
    flood(from)
}

/// A hundred at once, received by another CPU, and then none for a while.
pub fn bursts(from: u32, to: u32) -> Result<Load> {
    netns::steer(&format!("{:x}", 1_u64 << to))?;
    let (receiver, sender) = pair("127.0.0.1", "127.0.0.1")?;
    Load::start_on(from, move || {
        let _full = &receiver;
        for _ in 0..100 {
            let _ = sender.send(&[0; 16]);
        }
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    })
}

/// The same to a socket whose filter, a BPF program, takes a microsecond or so for each.
pub fn filtered_by_bpf(from: u32) -> Result<Load> {
    let (receiver, sender) = pair("127.0.0.1", "127.0.0.1")?;
    let _program = socket_filter::attach(&receiver)?;
    flood_from(from, receiver, sender)
}

/// Datagrams each of which is a connection of its own, where connections are tracked.
pub fn connections(from: u32) -> Result<Load> {
    nft(
        "table inet track {\n chain in {\n  type filter hook input priority 0; policy accept;\n  ct state new counter\n }\n}\n",
    )?;
    let sender = UdpSocket::bind("0.0.0.0:0")?;
    let mut next = 0_u32;
    Load::start_on(from, move || {
        for _ in 0..64 {
            next = next.wrapping_add(1);
            // 127.64.0.0 and so on: twenty bits, and nobody listens there.
            let [_, b, c, d] = (next & 0xf_ffff).to_be_bytes();
            let _ = sender.send_to(&[0; 16], (Ipv4Addr::new(127, 64 | b, c, d), 9));
        }
        Ok(())
    })
}

/// Some datagrams; those that find no room are none of our business.
fn burst(sender: &UdpSocket) -> std::io::Result<()> {
    for _ in 0..64 {
        let _ = sender.send(&[0; 16]);
    }
    Ok(())
}

/// A receiver that nobody reads, which is full at once, and a sender to it.
fn pair(receiver: &str, sender: &str) -> Result<(UdpSocket, UdpSocket)> {
    let receiver = UdpSocket::bind((receiver, 0))?;
    sockopt::set_socket_recv_buffer_size(&receiver, 2048)?;
    let sender = UdpSocket::bind((sender, 0))?;
    sender.connect(receiver.local_addr()?)?;
    Ok((receiver, sender))
}

/// Multicast group and port of [`to_many`].
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 5000);

/// Sends datagrams to a group that so many sockets are members of on the device that has this address: receiving one costs much more
/// than sending it. Where the group is reached is the routes' business.
pub fn to_many(from: u32, members: u32, on: Ipv4Addr) -> Result<Load> {
    let receivers = (0..members).map(|_| member(on));
    let receivers: Vec<UdpSocket> = receivers.collect::<Result<_>>()?;
    let sender = UdpSocket::bind("0.0.0.0:0")?;
    sender.connect(GROUP)?;
    Load::start_on(from, move || {
        let _full = &receivers;
        burst(&sender)
    })
}

/// A socket that shares the group's port with others, and is full at once.
fn member(on: Ipv4Addr) -> Result<UdpSocket> {
    let socket = net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_recv_buffer_size(&socket, 2048)?;
    net::bind(&socket, &GROUP)?;
    let socket = UdpSocket::from(socket);
    socket.join_multicast_v4(GROUP.ip(), &on)?;
    Ok(socket)
}

/// Rules of a packet filter's input hook, one after the other, of which none holds a packet back.
pub fn filter(rules: u32) -> Result<()> {
    let mut script =
        "table inet slow {\n chain in {\n  type filter hook input priority 0; policy accept;\n"
            .to_owned();
    for rule in 0..rules {
        let [a, b, c, _] = (rule << 8).to_be_bytes();
        script += &format!("  ip saddr 10.{a}.{b}.{c} drop\n");
    }
    script += " }\n}\n";
    nft(&script)
}

fn nft(script: &str) -> Result<()> {
    run_script("nft", &["-f", "-"], script)
}

/// Runs a program that reads what it is to do.
pub(super) fn run_script(program: &str, arguments: &[&str], script: &str) -> Result<()> {
    let mut running = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program} (nftables, iproute2)"))?;
    let mut input = running.stdin.take().context("it has no input")?;
    input.write_all(script.as_bytes())?;
    drop(input);
    let ended = running.wait()?;
    ensure!(ended.success(), "{program}: {ended}");
    Ok(())
}

pub(super) fn ip(arguments: &str) -> Result<()> {
    run("ip", arguments)
}

pub(super) fn run(program: &str, arguments: &str) -> Result<()> {
    let ended = Command::new(program)
        .args(arguments.split(' '))
        .status()
        .with_context(|| format!("cannot start {program} (iproute2)"))?;
    ensure!(ended.success(), "{program} {arguments}: {ended}");
    Ok(())
}

/// Sends through a pair of veth to this network namespace, whose end of it is named `veth-k0`; polled by a thread where that is
/// wanted.
pub fn veth(cpu: u32, threaded: bool) -> Result<Load> {
    ip("link add veth-k0 type veth peer name veth-k1")?;
    ip("addr add 192.0.2.1/30 dev veth-k0")?;
    ip("link set veth-k0 up")?;
    if threaded {
        polled()?;
        std::fs::write("/sys/class/net/veth-k0/threaded", "1")
            .context("cannot have veth-k0 polled by a thread")?;
    }
    through_veth(cpu, burst)
}

/// Queues of [`one_flow`]'s veth.
const QUEUES: u32 = 4;
/// Its other flows.
const FLOWS: u32 = 32;

/// Sends the same way through a pair of veth with several queues: one flow, and now and then a packet of some others.
pub fn one_flow(cpu: u32) -> Result<Load> {
    let queues = format!("numrxqueues {QUEUES} numtxqueues {QUEUES}");
    ip(&format!(
        "link add veth-k0 {queues} type veth peer name veth-k1 {queues}"
    ))?;
    ip("addr add 192.0.2.1/30 dev veth-k0")?;
    ip("link set veth-k0 up")?;
    polled()?;
    let mut others = Vec::new();
    through_veth(cpu, move |sender| {
        while others.len() < FLOWS as usize {
            let other = UdpSocket::bind("192.0.2.2:0")?;
            other.connect("192.0.2.1:9")?;
            others.push(other);
        }
        for other in &others {
            let _ = other.send(&[0; 16]);
        }
        for _ in 0..10 {
            burst(sender)?;
        }
        Ok(())
    })
}

/// Has veth-k0 polled by NAPIs of its own.
fn polled() -> Result<()> {
    offload::receive_offload("veth-k0")?;
    offload::no_segmentation_offload("veth-k1")
}

/// Sends through veth-k1, from a network namespace that it is moved to.
fn through_veth(
    cpu: u32,
    mut send: impl FnMut(&UdpSocket) -> std::io::Result<()> + Send + 'static,
) -> Result<Load> {
    let (entered, thread) = mpsc::channel();
    let (moved, ready) = mpsc::channel::<()>();
    let mut sender: Option<UdpSocket> = None;
    let load = Load::start(move || {
        let sender = match &sender {
            Some(sender) => sender,
            None => {
                let made = (|| -> Result<_> {
                    pin(cpu)?;
                    netns::enter()?;
                    entered.send(rustix::thread::gettid().as_raw_nonzero())?;
                    ready.recv()?;
                    ip("addr add 192.0.2.2/30 dev veth-k1")?;
                    ip("link set veth-k1 up")?;
                    let sender = UdpSocket::bind("192.0.2.2:0")?;
                    // Nobody listens there: the packet goes all the way nevertheless.
                    sender.connect("192.0.2.1:9")?;
                    Ok(sender)
                })();
                let made = made.inspect_err(|error| eprintln!("no veth: {error:#}"));
                sender.insert(made.map_err(std::io::Error::other)?)
            }
        };
        send(sender)
    })?;
    let thread = thread.recv().context("the sender did not start")?;
    ip(&format!("link set veth-k1 netns {thread}"))?;
    moved.send(()).context("the sender is gone")?;
    Ok(load)
}

/// Ports of [`bridged`]: with 64 packets each they have more than a run's 300 (net/core/dev.c, `netdev_budget`).
const PORTS: u32 = 6;

/// Sends through a bridge to an address that it floods to all of its ports, 64 packets at a time to each: the other ends are
/// polled in the same run.
pub fn bridged(cpu: u32) -> Result<Load> {
    ip("link add br-k0 type bridge forward_delay 0")?;
    for port in 0..PORTS {
        ip(&format!(
            "link add veth-p{port} type veth peer name veth-q{port}"
        ))?;
        offload::receive_offload(&format!("veth-q{port}"))?;
        offload::no_segmentation_offload(&format!("veth-p{port}"))?;
        ip(&format!("link set veth-p{port} gso_max_segs 1"))?;
        ip(&format!("link set veth-p{port} master br-k0"))?;
        ip(&format!("link set veth-p{port} up"))?;
        ip(&format!("link set veth-q{port} up"))?;
    }
    ip("addr add 192.0.2.1/24 dev br-k0")?;
    ip("link set br-k0 up")?;
    ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev br-k0")?;
    let sender = UdpSocket::bind("192.0.2.1:0")?;
    sender.connect("192.0.2.9:9")?;
    offload::segments(&sender, 100)?;
    Load::start_on(cpu, move || {
        let _ = sender.send(&[0; 64 * 100]);
        Ok(())
    })
}
