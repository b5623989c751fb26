//! Packets: over loopback, veth and a shaper, in network namespaces of their own.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::mpsc,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::sockopt;

use crate::{
    load::{Load, pin},
    netns,
    situation::offload,
};

/// Sends datagrams over loopback as fast as one CPU can; to be called in a network namespace made for it.
pub fn flood(from: u32) -> Result<Load> {
    let (receiver, sender) = pair("127.0.0.1", "127.0.0.1")?;
    let mut pinned = false;
    Load::start(move || {
        let _full = &receiver;
        if !pinned {
            pin(from)?;
            pinned = true;
        }
        burst(&sender)
    })
}

/// The same, received by another CPU.
pub fn steered(from: u32, to: u32) -> Result<Load> {
    netns::steer(&format!("{:x}", 1_u64 << to))?;
    flood(from)
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
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start nft (nftables)")?;
    let mut input = nft.stdin.take().context("nft has no input")?;
    input.write_all(script.as_bytes())?;
    drop(input);
    let ended = nft.wait()?;
    ensure!(ended.success(), "nft: {ended}");
    Ok(())
}

fn ip(arguments: &str) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> Result<()> {
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
        // Only so has it a NAPI of its own.
        offload::receive_offload("veth-k0")?;
        offload::no_segmentation_offload("veth-k1")?;
        std::fs::write("/sys/class/net/veth-k0/threaded", "1")
            .context("cannot have veth-k0 polled by a thread")?;
    }
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
        burst(sender)
    })?;
    let thread = thread.recv().context("the sender did not start")?;
    ip(&format!("link set veth-k1 netns {thread}"))?;
    moved.send(()).context("the sender is gone")?;
    Ok(load)
}

/// TCP over loopback through a shaper that has to hold nearly each packet back.
pub fn shaped(cpu: u32) -> Result<Load> {
    ip("link set lo mtu 1500")?;
    run(
        "tc",
        "qdisc add dev lo root tbf rate 500mbit burst 64k latency 20ms",
    )?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while receiver.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let mut pinned = false;
    Load::start(move || {
        if !pinned {
            pin(cpu)?;
            pinned = true;
        }
        sender.write_all(&[0; 1 << 15])
    })
}
