//! Timers, disks, works, real-time tasks.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    net::UdpSocket,
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    thread::UnshareFlags,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use crate::{
    load::{BELOW_IRQ_THREADS, Load, Pty, pin, real_time},
    situation::trie::Addresses,
};

/// A timer that is due each 20 us, and a thread of that CPU that waits for each.
pub fn timers(cpu: u32) -> Result<Load> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    let each = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000,
    };
    timerfd_settime(
        &timer,
        TimerfdTimerFlags::empty(),
        &Itimerspec {
            it_interval: each,
            it_value: each,
        },
    )?;
    let mut file = File::from(timer);
    Load::start_on(cpu, move || file.read_exact(&mut [0; 8]))
}

/// Threads that wait for datagrams that never come, a millisecond at a time (`SO_RCVTIMEO`).
pub fn receive_timeouts(threads: usize) -> Result<Vec<Load>> {
    (0..threads)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(1)))?;
            Load::start(move || {
                let mut buffer = [0; 16];
                // It is the timeout that is wanted.
                let _ = socket.recv(&mut buffer);
                Ok(())
            })
        })
        .collect()
}

/// Aligned as reads past the page cache want it.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// The same, more of it at once.
#[repr(align(4096))]
struct Aligned([u8; 256 << 10]);

/// A large BPF map after another, which a work has to free.
pub fn tries(cpu: u32) -> Result<Load> {
    let addresses = Addresses::new(200_000);
    Load::start_on(cpu, move || {
        drop(addresses.map().map_err(io::Error::other)?);
        Ok(())
    })
}

/// Reads of 4 KiB past the page cache.
pub fn direct_reads(cpu: u32) -> Result<Load> {
    const SIZE: u64 = 64 << 20;
    let path = std::env::current_dir()?.join(format!("kctx-blocks-{}", std::process::id()));
    let mut made = File::create(&path)?;
    for _ in 0..SIZE >> 20 {
        made.write_all(&vec![7; 1 << 20])?;
    }
    made.sync_all()?;
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path);
    std::fs::remove_file(&path)?;
    let mut file = file?;
    let mut block = Box::new(Block([0; 4096]));
    let mut read = 0_u64;
    Load::start_on(cpu, move || {
        if read.is_multiple_of(SIZE >> 12) {
            file.rewind()?;
        }
        read += 1;
        file.read_exact(&mut block.0)
    })
}

/// Writes past the page cache to a loop device in memory: what copies is a work.
pub fn loop_device() -> Result<Load> {
    const SIZE: u64 = 64 << 20;
    let file = tempfile::NamedTempFile::new_in("/dev/shm")?;
    file.as_file().set_len(SIZE)?;
    let losetup = |arguments: &[&std::ffi::OsStr]| -> Result<String> {
        let ended = Command::new("losetup").args(arguments).output();
        let ended = ended.context("cannot start losetup (util-linux)")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "losetup: {}", said.trim());
        Ok(String::from_utf8(ended.stdout)?.trim().to_owned())
    };
    let device = losetup(&[
        "--find".as_ref(),
        "--show".as_ref(),
        file.path().as_os_str(),
    ])?;
    let opened = File::options()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&device);
    // It goes when it is closed.
    losetup(&["--detach".as_ref(), device.as_ref()])?;
    let mut opened = opened?;
    let bytes = Box::new(Aligned([7; 256 << 10]));
    let mut written = 0;
    Load::start(move || {
        if written >= SIZE {
            opened.rewind()?;
            written = 0;
        }
        opened.write_all(&bytes.0)?;
        written += bytes.0.len() as u64;
        Ok(())
    })
}

/// Sockets that come and go: those with a port are taken apart by RCU (`SOCK_RCU_FREE`).
pub fn sockets(cpu: u32) -> Result<Load> {
    Load::start_on(cpu, move || {
        for _ in 0..64 {
            drop(UdpSocket::bind("127.0.0.1:0")?);
        }
        Ok(())
    })
}

/// Bytes through a pseudoterminal that nobody reads but to keep it from filling up.
pub fn pty_writer(cpu: u32) -> Result<Load> {
    let mut pty = Pty::open()?;
    Load::start_on(cpu, move || pty.carry(256).map_err(std::io::Error::other))
}

/// Network namespaces that come and go: what is left of each is taken down by a work.
pub fn namespaces() -> Result<Load> {
    Load::start(move || {
        // SAFETY: a network namespace shares no file descriptors.
        #[allow(unsafe_code)]
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNET)?;
        }
        Ok(())
    })
}

/// A real-time task that never sleeps.
pub fn real_time_spinner(cpu: u32) -> Result<Load> {
    let mut ready = false;
    Load::start(move || {
        if !ready {
            pin(cpu)?;
            real_time(BELOW_IRQ_THREADS)?;
            ready = true;
        }
        for _ in 0..10_000 {
            std::hint::spin_loop();
        }
        Ok(())
    })
}
