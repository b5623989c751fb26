//! Known loads. Each is bounded, stays on this machine, and ends when dropped.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::UdpSocket,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::{Mode, OFlags},
    net::sockopt,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
    thread::CpuSet,
};

use crate::bottom_half::Holder;

/// A load that was forgotten ends by itself.
const LONGEST: Duration = Duration::from_secs(120);

/// A load on a thread of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Calls `round` over and over; an error of it ends the load.
    pub(crate) fn start(
        mut round: impl FnMut() -> std::io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (seen, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let start = Instant::now();
                while !seen.load(Ordering::Relaxed) && start.elapsed() < LONGEST {
                    if round().is_err() {
                        break;
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })?;
        Ok(Self {
            stop,
            rounds,
            thread: Some(thread),
        })
    }

    /// The same, on one CPU.
    pub(crate) fn start_on(
        cpu: u32,
        mut round: impl FnMut() -> std::io::Result<()> + Send + 'static,
    ) -> Result<Self> {
        let mut pinned = false;
        Self::start(move || {
            if !pinned {
                pin(cpu)?;
                pinned = true;
            }
            round()
        })
    }

    /// It is to end after this round; nobody waits for that yet.
    pub fn end_soon(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Rounds so far.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end_soon();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Datagrams over loopback to a socket that nobody reads and that is full at once: each is one NET_RX. In a test
/// VM in bursts, each enough to fill a ring of a page: emulated processors take turns, and kctx and the test
/// need theirs.
pub fn udp() -> Result<Load> {
    udp_from(None, Duration::ZERO)
}

/// The same with a pause after each, which the kernel makes some 50 us longer.
pub fn slow_udp(pause: Duration) -> Result<Load> {
    udp_from(None, pause)
}

/// The same from one CPU.
pub fn udp_on(cpu: u32) -> Result<Load> {
    udp_from(Some(cpu), Duration::ZERO)
}

fn udp_from(mut cpu: Option<u32>, pause: Duration) -> Result<Load> {
    const BURST: u64 = 128;
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    sockopt::set_socket_recv_buffer_size(&receiver, 2048)?;
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    sender.connect(receiver.local_addr()?)?;
    let emulated = std::env::var_os("KCTX_VM").is_some();
    let mut sent = 0_u64;
    Load::start(move || {
        let _full = &receiver;
        if let Some(cpu) = cpu.take() {
            pin(cpu)?;
        }
        sent += 1;
        if emulated && sent.is_multiple_of(BURST) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        sender.send(&[0; 32]).map(drop)
    })
}

/// The same from one CPU, in a network of its own that hands them over to another CPU: each is raised there
/// by an interrupt that the sender caused, or by idle. After each the sender waits as long as is said: not so short
/// that the other CPU never gets to the end of one, unless that is what is wanted.
pub fn steered_udp(from: u32, to: u32, pause: Duration) -> Result<Load> {
    let mut sockets = None;
    Load::start(move || {
        if sockets.is_none() {
            let made = (|| -> Result<_> {
                pin(from)?;
                crate::netns::enter()?;
                crate::netns::steer(&format!("{:x}", 1_u64 << to))?;
                let receiver = UdpSocket::bind("127.0.0.1:0")?;
                sockopt::set_socket_recv_buffer_size(&receiver, 2048)?;
                let sender = UdpSocket::bind("127.0.0.1:0")?;
                sender.connect(receiver.local_addr()?)?;
                Ok((receiver, sender))
            })();
            let made = made.inspect_err(|error| eprintln!("no steered load: {error:#}"));
            sockets = Some(made.map_err(std::io::Error::other)?);
        }
        let Some((_, sender)) = &sockets else {
            return Ok(());
        };
        sender.send(&[0; 32])?;
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        Ok(())
    })
}

/// A task of one CPU that never sleeps.
pub fn spinner(cpu: u32) -> Result<Load> {
    Load::start_on(cpu, move || {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
        Ok(())
    })
}

/// A task that goes from CPU to CPU, and rests on each.
pub fn hopper(cpus: std::ops::Range<u32>) -> Result<Load> {
    let mut next = cpus.clone().cycle();
    Load::start(move || {
        pin(next.next().unwrap_or_default())?;
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    })
}

/// A task of one CPU that is nearly always in the kernel, at its own behest: no kernel context.
pub fn reader(cpu: u32) -> Result<Load> {
    let mut zeros = File::open("/dev/zero")?;
    let mut buffer = vec![0; 1 << 20];
    Load::start_on(cpu, move || zeros.read_exact(&mut buffer))
}

/// Bottom halves of one CPU are held off for some milliseconds again and again: what comes for it meanwhile piles up.
pub fn held_off(cpu: u32) -> Result<Load> {
    let mut holder = None;
    Load::start(move || {
        let holder = match &mut holder {
            Some(holder) => holder,
            empty => {
                pin(cpu)?;
                empty.insert(Holder::load(500).map_err(std::io::Error::other)?)
            }
        };
        holder.hold().map_err(std::io::Error::other)?;
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    })
}

/// `MEMBARRIER_CMD_GLOBAL_EXPEDITED` and `MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED` (include/uapi/linux/membarrier.h)
const MEMBARRIER: [libc::c_int; 2] = [1 << 1, 1 << 2];

#[allow(unsafe_code)]
fn membarrier(command: libc::c_int) -> std::io::Result<()> {
    // SAFETY: takes numbers, and touches no memory of this process.
    if unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Function calls to the other CPUs that run this process (`ipi_mb`, kernel/sched/membarrier.c), as fast as one CPU
/// makes them. Another must be kept busy by this process: [`spinner`].
pub fn function_calls(from: u32) -> Result<Load> {
    let [call, register] = MEMBARRIER;
    membarrier(register)?;
    Load::start_on(from, move || membarrier(call))
}

/// Small writes to a file in `folder`, each brought to the disk.
pub fn disk(folder: &Path) -> Result<Load> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut written = 0;
    Load::start(move || {
        if written > 4 << 20 {
            file.set_len(0)?;
            std::io::Seek::rewind(&mut file)?;
            written = 0;
        }
        written += file.write(&[7; 4096])?;
        file.sync_data()
    })
}

/// Whether what is written in `folder` goes to a block device of its own number: not so on tmpfs and
/// overlays.
pub fn has_block_device(folder: &Path) -> Result<bool> {
    Ok(rustix::fs::major(std::fs::metadata(folder)?.dev()) != 0)
}

/// Binds the calling thread to a CPU.
pub fn pin(cpu: u32) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu as usize);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Zeros to the second serial line as fast as it takes them: a character or some are an interrupt.
pub fn serial_line(cpu: u32) -> Result<Load> {
    let mut line = File::options().write(true).open("/dev/ttyS1")?;
    let mut settings = tcgetattr(&line)?;
    settings.make_raw();
    tcsetattr(&line, OptionalActions::Now, &settings)?;
    Load::start_on(cpu, move || line.write_all(&[0; 4096]))
}

/// A priority below that of interrupts' threads, which is 50, and one above it.
pub const BELOW_IRQ_THREADS: i32 = 10;
const ABOVE_IRQ_THREADS: i32 = 60;

/// Takes a CPU from all but what is more urgent than interrupts' threads, for so long at a time.
pub fn real_time_turns(cpu: u32, turn: Duration) -> Result<Load> {
    let mut ready = false;
    Load::start_on(cpu, move || {
        if !ready {
            real_time(ABOVE_IRQ_THREADS)?;
            ready = true;
        }
        let begun = Instant::now();
        while begun.elapsed() < turn {
            std::hint::spin_loop();
        }
        std::thread::sleep(turn / 4);
        Ok(())
    })
}

/// Makes the calling thread a real-time one (`SCHED_FIFO`): nothing but interrupts and its like takes
/// the CPU from it, for the 950 ms of each second that the kernel allows.
#[allow(unsafe_code)]
pub fn real_time(priority: i32) -> std::io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameters outlive the call, and 0 is this thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// A pseudoterminal: each byte written to one end is carried to the other by a work item, `flush_to_ldisc`.
pub struct Pty {
    near: File,
    far: File,
}

impl Pty {
    /// Opens both ends, raw: no echo, no lines.
    pub fn open() -> Result<Self> {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        let name = ptsname(&near, Vec::new())?;
        let far: OwnedFd = rustix::fs::open(
            &name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .with_context(|| format!("cannot open {}", name.to_string_lossy()))?;
        let mut settings = tcgetattr(&far)?;
        settings.make_raw();
        tcsetattr(&far, OptionalActions::Now, &settings)?;
        Ok(Self {
            near: near.into(),
            far: far.into(),
        })
    }

    /// The end that a program has as its terminal.
    pub fn terminal(&self) -> Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.far, 3)?)
    }

    /// Carries this many bytes over, waiting for each: few of them share a work item.
    pub fn carry(&mut self, bytes: u32) -> Result<()> {
        let mut byte = [0];
        for _ in 0..bytes {
            self.near.write_all(b"x")?;
            self.far.read_exact(&mut byte)?;
        }
        Ok(())
    }
}

impl Pty {
    /// Carries this many bytes over while nobody waits for any of them: the work is queued again while it
    /// runs.
    pub fn flood(&mut self, bytes: u32) -> Result<()> {
        let mut near = self.near.try_clone()?;
        let writer = std::thread::spawn(move || {
            (0..bytes).try_for_each(|i| {
                // About as long as the work takes: less, and they become one; more, and it is over.
                let pause = Duration::from_micros(u64::from(i % 12));
                let start = Instant::now();
                while start.elapsed() < pause {
                    std::hint::spin_loop();
                }
                near.write_all(b"x")
            })
        });
        let mut read = vec![0; bytes as usize];
        self.far.read_exact(&mut read)?;
        Ok(writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))??)
    }
}

/// Lines on the console; each few characters are an interrupt of a serial one.
pub fn console() -> Result<Load> {
    let mut console = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/console")?;
    Load::start(move || {
        std::thread::sleep(Duration::from_millis(50));
        console.write_all(b"................................................................\n")
    })
}
