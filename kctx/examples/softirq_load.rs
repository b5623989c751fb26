//! A load of softirqs whose cost can be timed: one UDP datagram to a loopback socket whose buffer is full is
//! one NET_RX raise, entry and exit, and nothing else. Prints the best nanoseconds a datagram over some
//! windows of 20,000. Run it alone, then with a tracer beside it: the difference is what the tracer adds.
//!
//! `cargo run --release --example softirq_load -- [WINDOWS]`

use std::{net::UdpSocket, time::Instant};

const DATAGRAMS: u32 = 20_000;

fn main() -> anyhow::Result<()> {
    let windows: u32 = std::env::args().nth(1).map_or(Ok(40), |n| n.parse())?;
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    let window = || -> anyhow::Result<f64> {
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            sender.send(&[0; 64])?;
        }
        Ok(start.elapsed().as_nanos() as f64 / f64::from(DATAGRAMS))
    };
    // The first fills the receiver's buffer.
    window()?;
    let mut best = f64::INFINITY;
    for _ in 0..windows.clamp(1, 1000) {
        best = best.min(window()?);
    }
    println!("{best:.1}");
    Ok(())
}
