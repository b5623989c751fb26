//! The drain: a thread of its own that empties the rings, keeps the kernel's books, and closes windows.
//!
//! It polls, since the probes never wake anybody, and adapts how long it sleeps to how full it found the
//! fullest ring. What is little stays in its ring for a while: to take it costs more than to look at it, by the thread
//! that is woken for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya_log::EbpfLogger;
use bytes::BytesMut;

use super::{
    Control, Item, RunningThread, batches,
    metering::Metering,
    outlet::{Disconnected, Outlet},
    pace::{LOOK_EVERY, SHORTEST_SLEEP, after, next_sleep, windows_a_second},
    rings::Ring,
    warden::Warden,
    watch::{Closed, Next, Watch},
};
use crate::{
    aggregate::window::{ContextTimes, ProbeStatus},
    governor::CpuShare,
    host::{
        HostIdentity,
        clock::{self, Moment},
        kmsg_follow::LogBounds,
    },
    probe::{
        books::{Books, Staged},
        clock::CpuClock,
        load::{CpuRing, Loaded},
    },
};

/// Less than this is left in a ring, unless a window closes or it may have waited for [`LONGEST_LEFT`].
const WORTH_TAKING: f64 = 1.0 / 16.0;
const LONGEST_LEFT: Duration = Duration::from_secs(1);
/// Pending works older than this were cancelled, or wait for a stuck pool; their entries go.
const PENDING_AGE: Duration = Duration::from_secs(120);
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What the drain works on.
pub struct Drain {
    /// Each possible CPU's number and ring.
    pub rings: Vec<CpuRing>,
    /// The ring for rare events.
    pub rare: Ring,
    /// The kernel's books.
    pub books: Books,
    /// The clock that samples stacks.
    pub clock: Option<CpuClock>,
    /// Holds the programs, and the maps that nobody reads.
    pub loaded: Loaded,
    /// Whether and how each probe is attached; travels in the stream.
    pub probes: Vec<ProbeStatus>,
    /// The machine; travels in the stream.
    pub host: HostIdentity,
    /// Where the stream goes. When it is full the drain waits, the rings fill, and the kernel spills.
    pub out: Outlet,
    /// How often a window closes; `None`: only at the end.
    pub window: Option<Duration>,
    /// When to end by itself.
    pub end_after: Option<Duration>,
    /// What is done at the window's very edges.
    pub edges: Edges,
    /// The kernel's log and taint.
    pub watch: Watch,
    /// Bounds what kctx costs.
    pub warden: Warden,
    /// What kctx costs.
    pub metering: Metering,
    /// What the programs log.
    pub log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// What is done at the window's very edges, on the drain's thread: evidence that is to be compared with
/// the window must not be a drained backlog away from it.
pub struct Edges {
    /// Just before the gate opens.
    pub before_open: Box<dyn FnOnce() + Send>,
    /// Just after it closed.
    pub after_close: Box<dyn FnOnce() + Send>,
}

impl Default for Edges {
    fn default() -> Self {
        Self {
            before_open: Box::new(|| {}),
            after_close: Box::new(|| {}),
        }
    }
}

/// What a running drain can be told to go by from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What kctx may use of one CPU; 0 for no limit.
    pub cpu_limit: CpuShare,
    /// How much of the kernel's log is kept.
    pub log: LogBounds,
}

/// A running drain.
pub struct Handle {
    stop: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
    bounds: Sender<Bounds>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Handle {
    /// Asks it to end: the gate closes, what is in the rings still comes, the last window closes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// What has it close its window now, and open the next: where windows close by an interval. Whoever calls it does not
    /// wait.
    #[must_use]
    pub fn cutter(&self) -> Arc<dyn Fn() + Send + Sync> {
        let (cut, thread) = (Arc::clone(&self.cut), self.thread.thread().clone());
        Arc::new(move || {
            cut.store(true, Ordering::Release);
            thread.unpark();
        })
    }

    /// Where other bounds are sent to. It looks a few times a second.
    #[must_use]
    pub fn bounds(&self) -> Sender<Bounds> {
        self.bounds.clone()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn join(self) -> anyhow::Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the drain thread panicked"),
        }
    }
}

/// What the drain is asked for.
struct Asked {
    /// To end.
    stop: Arc<AtomicBool>,
    /// To close its window now.
    cut: Arc<AtomicBool>,
    /// To go by these.
    bounds: Receiver<Bounds>,
}

impl Drain {
    /// Starts draining, with the gate open.
    pub fn spawn(self) -> std::io::Result<Handle> {
        let (stop, cut) = (Arc::default(), Arc::default());
        let (bounds, asked_bounds) = channel();
        let asked = Asked {
            stop: Arc::clone(&stop),
            cut: Arc::clone(&cut),
            bounds: asked_bounds,
        };
        let thread = std::thread::Builder::new()
            .name("kctx-drain".to_owned())
            .spawn(move || self.run(&asked))?;
        Ok(Handle {
            stop,
            cut,
            bounds,
            thread,
        })
    }

    fn run(mut self, asked: &Asked) -> anyhow::Result<()> {
        let edges = std::mem::take(&mut self.edges);
        let mut buffer = BytesMut::new();
        (edges.before_open)();
        // Before the gate: a line that comes once it is open must not be passed over. And before the stamp: nothing
        // that takes time may lie between that and the gate.
        self.watch.start(clock::monotonic_ns());
        let Moment {
            monotonic_ns,
            unix_ns,
        } = Moment::now();
        self.watch.opens(monotonic_ns);
        let start = Control::Start {
            monotonic_ns,
            unix_ns,
            probes: std::mem::take(&mut self.probes),
            host: Box::new(std::mem::take(&mut self.host)),
        };
        self.books.open_gate()?;
        let (_, running) = self.books.contexts()?;
        self.books.renew_programs();
        self.metering
            .start(self.books.programs(self.clock.as_ref())?);
        if self
            .send(start)
            .and_then(|()| self.send(Control::Running(running)))
            .is_ok()
        {
            self.until_stopped(asked, &mut buffer)?;
        }
        let ended = Moment::now();
        self.books.close_gate()?;
        let contexts = self.books.contexts()?;
        // Now, since collecting evidence takes its time: what is logged meanwhile is not the window's.
        let watched = self.watch.close(ended.monotonic_ns, Next::Nothing);
        (edges.after_close)();
        self.books.wait_for_programs()?;
        // Nothing is emitted any more, so this ends.
        while let Ok(drained) = self.drain_all(&mut buffer) {
            if drained == 0 {
                let _ = self.send_staged()?;
                let _ = self.close_window(ended, Staged::Taken, contexts, watched)?;
                break;
            }
        }
        Ok(())
    }

    /// Sends the records that were still waiting to go into a ring.
    fn send_staged(&mut self) -> anyhow::Result<Result<(), Disconnected>> {
        for (cpu, batch) in self.books.staged()? {
            if self.out.send(Item::Records { cpu, batch }).is_err() {
                return Ok(Err(Disconnected));
            }
        }
        Ok(Ok(()))
    }

    fn until_stopped(&mut self, asked: &Asked, buffer: &mut BytesMut) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut next_window = self.window.map(|every| started + every);
        let mut next_sweep = started + SWEEP_EVERY;
        let mut next_look = started + LOOK_EVERY;
        let mut next_emptying = started + LONGEST_LEFT;
        let mut sleep = SHORTEST_SLEEP;
        while !asked.stop.load(Ordering::Acquire) {
            if let Some(log) = &mut self.log {
                log.flush();
            }
            let now = Instant::now();
            if self.end_after.is_some_and(|after| now - started >= after) {
                break;
            }
            let due = next_window.is_some_and(|at| now >= at);
            let closes = due || asked.cut.swap(false, Ordering::AcqRel);
            let worth = if closes || now >= next_emptying {
                next_emptying = now + LONGEST_LEFT;
                0.0
            } else {
                WORTH_TAKING
            };
            let Ok(fullest) = self.fullest_drained(worth, buffer) else {
                break;
            };
            if now >= next_look {
                for bounds in asked.bounds.try_iter() {
                    self.warden.set_limit(bounds.cpu_limit);
                    self.watch.set_log_bounds(bounds.log);
                }
                let taint = self.watch.poll(clock::monotonic_ns());
                if taint.is_some_and(|control| self.send(control).is_err()) {
                    break;
                }
                self.sample_stacks()?;
                next_look = after(next_look, LOOK_EVERY, now);
            }
            if self.govern()?.is_err() {
                break;
            }
            if let (Some(at), Some(every)) = (next_window, self.window)
                && closes
            {
                let end = Moment::now();
                let contexts = self.books.contexts()?;
                let watched = self.watch.close(end.monotonic_ns, Next::Window);
                if self
                    .close_window(end, Staged::Waiting, contexts, watched)?
                    .is_err()
                {
                    break;
                }
                if due {
                    next_window = Some(after(at, every, now));
                }
            }
            if now >= next_sweep {
                self.books
                    .sweep_pending(clock::monotonic_ns(), PENDING_AGE.as_nanos() as u64);
                next_sweep = now + SWEEP_EVERY;
            }
            if self.out.flush().is_err() {
                break;
            }
            sleep = next_sleep(sleep, fullest);
            let end = self.end_after.map(|after| started + after);
            let deadlines = [next_window, end].into_iter().flatten();
            let deadline = deadlines.fold(next_look, Instant::min);
            let until = deadline.saturating_duration_since(Instant::now());
            std::thread::park_timeout(sleep.min(until));
        }
        Ok(())
    }

    /// Has stacks sampled on CPUs that came online, and no longer on those that went; where CPUs may rest, on those only that are
    /// busy.
    fn sample_stacks(&mut self) -> anyhow::Result<()> {
        let Some(clock) = &mut self.clock else {
            return Ok(());
        };
        let now_ns = clock::monotonic_ns();
        if clock.rests() {
            let shares = self.books.sampled_shares()?;
            if let Err(reason) = clock.heed(&shares, now_ns) {
                tracing::warn!(reason, "no more stacks of a CPU");
            }
        }
        if let Ok(online) = self.books.online_now()
            && let Err(reason) = clock.follow(&online, now_ns)
        {
            tracing::warn!(
                reason,
                "no stacks of a CPU that came online (Debian's kernels want CAP_SYS_ADMIN for that where \
                 kernel.perf_event_paranoid is 3, which kctx has given up by then)"
            );
        }
        Ok(())
    }

    /// What kctx costs is looked at, and what follows from it done.
    fn govern(&mut self) -> anyhow::Result<Result<(), Disconnected>> {
        if self.metering.is_due() {
            self.books.renew_programs();
            let programs = self.books.programs(self.clock.as_ref())?;
            self.metering.end_sample(programs);
        }
        let now_ns = clock::monotonic_ns();
        if self.warden.is_due(now_ns)
            && let Some(ruling) = self.warden.tick(now_ns, self.books.observed_ever()?)
        {
            self.books.govern(u64::from(ruling.mask))?;
            let mut controls = ruling.controls.into_iter();
            return Ok(controls.try_for_each(|control| self.send(control)));
        }
        Ok(Ok(()))
    }

    fn send(&mut self, control: Control) -> Result<(), Disconnected> {
        self.out.send(Item::Control(Box::new(control)))
    }

    /// Empties the rings that are at least this full, and the one for rare events; how full the fullest was found, from
    /// 0 to 1.
    fn fullest_drained(&mut self, worth: f64, buffer: &mut BytesMut) -> Result<f64, Disconnected> {
        let mut fullest = 0.0_f64;
        for (cpu, ring) in &mut self.rings {
            let full = ring.filled() as f64 / ring.size() as f64;
            if full >= worth {
                drain_ring(ring, Some(*cpu), buffer, &mut self.out, &mut self.metering)?;
            }
            fullest = fullest.max(full);
        }
        self.drain_rare(buffer)?;
        Ok(fullest)
    }

    fn drain_rare(&mut self, buffer: &mut BytesMut) -> Result<usize, Disconnected> {
        let (rare, out) = (&mut self.rare, &mut self.out);
        drain_ring(rare, None, buffer, out, &mut self.metering)
    }

    fn drain_all(&mut self, buffer: &mut BytesMut) -> Result<usize, Disconnected> {
        let mut drained = self.drain_rare(buffer)?;
        for (cpu, ring) in &mut self.rings {
            drained += drain_ring(ring, Some(*cpu), buffer, &mut self.out, &mut self.metering)?;
        }
        Ok(drained)
    }

    fn close_window(
        &mut self,
        end: Moment,
        staged: Staged,
        (times, running): (Vec<ContextTimes>, Vec<RunningThread>),
        watched: Closed,
    ) -> anyhow::Result<Result<(), Disconnected>> {
        let last = staged == Staged::Taken;
        if last || self.metering.wants_programs(clock::monotonic_ns()) {
            self.books.renew_programs();
        }
        let programs = self.books.programs(self.clock.as_ref())?;
        let counted = Box::new(self.books.counted(staged)?);
        let mut controls = vec![Control::Contexts(times), Control::Running(running)];
        let spilled = self.books.spilled_ever();
        let a_second = windows_a_second(self.window);
        if self.books.spill.pace.is_due(spilled, a_second, last) {
            let grown = self.books.spill.grown()?.into_iter();
            controls.extend(grown.map(|delta| Control::Spill(Box::new(delta))));
            controls.push(Control::SpilledOrigins(self.books.spill.grown_origins()?));
        }
        controls.extend(watched.controls);
        let stacks = self.books.stacks.take()?;
        if !stacks.is_empty() {
            controls.push(Control::Stacks(stacks));
        }
        controls.push(Control::Counted(counted));
        controls.push(self.metering.close(programs));
        controls.push(Control::WindowEnd {
            monotonic_ns: end.monotonic_ns,
            unix_ns: end.unix_ns,
            taint: watched.taint,
        });
        Ok(controls
            .into_iter()
            .try_for_each(|control| self.send(control)))
    }
}

fn drain_ring(
    ring: &mut Ring,
    cpu: Option<u32>,
    buffer: &mut BytesMut,
    out: &mut Outlet,
    metering: &mut Metering,
) -> Result<usize, Disconnected> {
    let drained = batches::of_ring(ring, buffer, |batch| {
        let cpu = cpu.unwrap_or_default();
        out.send(Item::Records { cpu, batch })
    })?;
    metering.drained(cpu, drained, ring.size());
    Ok(drained)
}
