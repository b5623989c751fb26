//! Loads whose cost can be timed: each operation has the kernel do the same few things, again and again, on one CPU.
//! Prints the best nanoseconds an operation over some windows. Run it alone, then with a tracer beside it: the
//! difference is what the tracer adds.
//!
//! `cargo run --release -p kctx-tests --example kernel_load -- LOAD [WINDOWS [CPU]]`
//!
//! - `udp`: a datagram to a loopback socket whose buffer is full. One NET_RX raise, entry and exit, one poll.
//! - `timer`: a timer that is due at once (`timerfd_settime`). One interrupt of the local timer.
//! - `work`: a byte through a pseudoterminal. One work, its kworker's switches, and the reader's.
//! - `disk`: 4 KiB read past the page cache. One interrupt of the disk, one BLOCK softirq where its driver has any.

use std::{
    io::{Read as _, Seek as _, Write as _},
    net::UdpSocket,
    os::unix::fs::OpenOptionsExt as _,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use kctx_tests::load::{self, Pty};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Aligned as reads past the page cache want it.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Calls `operation` in windows of `each`; the best time of one.
fn measure(windows: u32, each: u32, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut window = || -> Result<f64> {
        let start = Instant::now();
        for _ in 0..each {
            operation()?;
        }
        Ok(start.elapsed().as_nanos() as f64 / f64::from(each))
    };
    // The first fills buffers and caches.
    window()?;
    let mut best = f64::INFINITY;
    for _ in 0..windows {
        best = best.min(window()?);
    }
    Ok(best)
}

fn udp(windows: u32) -> Result<f64> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    measure(windows, 20_000, || {
        sender.send(&[0; 64])?;
        Ok(())
    })
}

fn timer(windows: u32) -> Result<f64> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    let at_once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: 1,
        },
    };
    let mut expirations = [0; 8];
    measure(windows, 10_000, || {
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &at_once)?;
        rustix::io::read(&timer, &mut expirations)?;
        Ok(())
    })
}

fn work(windows: u32) -> Result<f64> {
    let mut pty = Pty::open()?;
    measure(windows, 5_000, || pty.carry(1))
}

fn disk(windows: u32) -> Result<f64> {
    const BLOCKS: u64 = 256;
    let path = std::env::current_dir()?.join(format!("kernel_load.{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![7; BLOCKS as usize * 4096])?;
    file.sync_all()?;
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .context("this folder's file system reads nothing past the page cache")?;
    std::fs::remove_file(&path)?;
    let mut block = Box::new(Block([0; 4096]));
    let mut at = 0;
    measure(windows, 500, || {
        if at == BLOCKS {
            file.rewind()?;
            at = 0;
        }
        at += 1;
        file.read_exact(&mut block.0)?;
        Ok(())
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| args.get(at).map_or(Ok(default), |text| text.parse());
    let windows = number(1, 40)?.clamp(1, 1000);
    if args.len() > 2 {
        load::pin(number(2, 0)?)?;
    }
    let best = match args.first().map(String::as_str) {
        Some("udp") => udp(windows),
        Some("timer") => timer(windows),
        Some("work") => work(windows),
        Some("disk") => disk(windows),
        _ => bail!("give a load: udp, timer, work or disk"),
    }?;
    println!("{best:.1}");
    Ok(())
}
