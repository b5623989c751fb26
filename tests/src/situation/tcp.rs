//! TCP: through a shaper, and paced by itself.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use anyhow::Result;

use crate::{
    load::Load,
    situation::{
        network::{ip, run},
        socket_option,
    },
};

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
    Load::start_on(cpu, move || sender.write_all(&[0; 1 << 15]))
}

/// Connections of [`paced`], and what each may send.
const CONNECTIONS: usize = 200;
const BYTES_A_SECOND: libc::c_int = 5_000_000;

/// Many connections over loopback, each of which has TCP hold its packets back by a timer of its own.
pub fn paced(cpu: u32) -> Result<Vec<Load>> {
    ip("link set lo mtu 1500")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let rate = (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, BYTES_A_SECOND);
        socket_option::set(&sender, rate)?;
        sender.set_nonblocking(true)?;
        senders.push(sender);
        let (receiver, _) = listener.accept()?;
        receiver.set_nonblocking(true)?;
        receivers.push(receiver);
    }
    let bytes = vec![0; 1 << 18];
    let sending = Load::start_on(cpu, move || {
        senders
            .iter_mut()
            .try_for_each(|sender| unless_full(sender.write(&bytes)))?;
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    })?;
    let mut buffer = vec![0; 1 << 18];
    let receiving = Load::start(move || {
        (receivers.iter_mut()).try_for_each(|receiver| unless_full(receiver.read(&mut buffer)))?;
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    })?;
    Ok(vec![sending, receiving])
}

/// What has nothing to take or no room is asked again later.
fn unless_full(moved: std::io::Result<usize>) -> std::io::Result<()> {
    match moved {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
