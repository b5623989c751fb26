//! Taking the items of a sample, in their order, within the bounds of time, bytes and number.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Evidence, EvidenceFile, EvidenceLimits, ITEMS, Item, Phase, Taken, Taking,
    bpf::Programs,
    index::{self, INDEX},
    item::Source,
    place::{Place, reason},
};
use crate::{
    capture::bundle::MissingEvidence,
    host::{clock::Moment, privilege, root::HostRoot},
};

/// An item that looks at the clock itself is given this much more to come back by itself.
const GRACE: Duration = Duration::from_millis(50);

/// What a sample leaves behind for the next, and what items tell beside their text.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub programs: Programs,
    ticks: Mutex<HashMap<(u32, u64), u64>>,
    kmsg_left_out: AtomicU64,
}

impl Memory {
    pub(super) fn remember_ticks(&self, ticks: impl Iterator<Item = ((u32, u64), u64)>) {
        *self.ticks.lock().unwrap_or_else(PoisonError::into_inner) = ticks.collect();
    }

    /// CPU time of a process when the sample before was taken; 0 where it is not known.
    pub(super) fn ticks_before(&self, key: (u32, u64)) -> u64 {
        let ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn add_kmsg_left_out(&self, records: u64) {
        self.kmsg_left_out.fetch_add(records, Ordering::Relaxed);
    }
}

/// One member of an item: its path in the sample's folder, its bytes, whether it was cut.
type Part = (String, Vec<u8>, bool);

/// What came of an item.
type Outcome = Result<(Vec<Part>, Taking), String>;

/// What was read before privileges were given up; `None`: it took too long.
#[derive(Debug, Default)]
struct Held(Vec<(&'static Item, Option<Outcome>)>);

/// Takes both samples of one window.
#[derive(Debug)]
pub struct Sampler {
    root: HostRoot,
    limits: EvidenceLimits,
    memory: Arc<Memory>,
    held: Mutex<Held>,
}

/// Takes one sample of the machine under `root`, with what privileges there are.
#[must_use]
pub fn collect(root: &HostRoot, phase: Phase, limits: &EvidenceLimits) -> Evidence {
    let sampler = Sampler::new(root, limits);
    if phase == Phase::Before {
        sampler.take_privileged();
    }
    sampler.sample(phase)
}

impl Sampler {
    /// Nothing taken yet.
    #[must_use]
    pub fn new(root: &HostRoot, limits: &EvidenceLimits) -> Self {
        Self {
            root: root.clone(),
            limits: *limits,
            memory: Arc::default(),
            held: Mutex::default(),
        }
    }

    /// Reads what takes privileges; to be called before they are given up. It goes into the sample before the window. An
    /// item that hangs is left behind on a thread that ends when it comes back; until then that thread keeps its privileges.
    pub fn take_privileged(&self) {
        privilege::allow_descriptors();
        let _ = self.memory.programs.open();
        let privileged = ITEMS.iter().filter(|item| item.is_privileged());
        let mut readers = Readers::new(self, Phase::Before);
        let held = privileged.map(|item| (item, readers.take(item, self.limits.item_time)));
        let held = Held(held.collect());
        readers.end();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Takes a sample. What is compared with the window's records is read closest to it: last before it, first after it.
    #[must_use]
    pub fn sample(&self, phase: Phase) -> Evidence {
        let mut sample = Sample::new(phase, &self.limits);
        let wanted = |item: &&Item| phase == Phase::Before || item.taken == Taken::Twice;
        let (mut edge, rest): (Vec<_>, Vec<_>) = ITEMS
            .iter()
            .filter(wanted)
            .partition(|item| item.is_at_edge());
        match phase {
            Phase::Before => {
                self.take_rest(&rest, &mut sample);
                // Woken afresh, this thread has a whole time slice before it, and will hardly be preempted
                // between the counters and the opening of the window.
                std::thread::sleep(Duration::from_millis(2));
                edge.reverse();
                let outcomes: Vec<_> = edge.iter().map(|item| self.take(item, phase)).collect();
                sample.add_all(&edge, outcomes);
            }
            Phase::After => {
                let outcomes: Vec<_> = edge.iter().map(|item| self.take(item, phase)).collect();
                sample.add_all(&edge, outcomes);
                self.take_rest(&rest, &mut sample);
            }
        }
        sample.evidence.left_out.kmsg = self.memory.kmsg_left_out.swap(0, Ordering::Relaxed);
        sample.finish()
    }

    /// What may take its time, on a thread that is left behind when it does.
    fn take_rest(&self, items: &[&'static Item], sample: &mut Sample) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let mut held: HashMap<&str, Option<Outcome>> = held
            .0
            .into_iter()
            .map(|(item, outcome)| (item.path, outcome))
            .collect();
        let end = Instant::now() + self.limits.total_time;
        let mut readers = Readers::new(self, sample.phase);
        for item in items {
            if let Some(outcome) = held.remove(item.path) {
                sample.add_or_late(item, outcome, self.limits.item_time);
                continue;
            }
            if item.is_privileged() {
                let reason = "it takes privileges that kctx has given up".to_owned();
                sample.add(item, Err(reason));
                continue;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                sample.left_out_for_time(item);
                continue;
            }
            let wait = left.min(self.limits.item_time);
            let outcome = readers.take(item, wait);
            sample.add_or_late(item, outcome, wait);
        }
    }

    fn reader(&self, phase: Phase) -> std::io::Result<Reader> {
        let (to, jobs) = sync_channel::<(&'static Item, Instant)>(1);
        let (done, from) = sync_channel(1);
        let (root, limits, memory) = (self.root.clone(), self.limits, Arc::clone(&self.memory));
        let thread = std::thread::Builder::new()
            .name("kctx-evidence".to_owned())
            .spawn(move || {
                for (item, deadline) in jobs {
                    let place = Place {
                        root: &root,
                        phase,
                        limits: &limits,
                        deadline,
                        memory: &memory,
                    };
                    if done.send(read(item, &place)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Reader { to, from, thread })
    }

    fn take(&self, item: &Item, phase: Phase) -> Outcome {
        let place = Place {
            root: &self.root,
            phase,
            limits: &self.limits,
            deadline: Instant::now() + self.limits.item_time,
            memory: &self.memory,
        };
        read(item, &place)
    }
}

/// Threads that read items, one at a time; another one takes over from one that is left behind.
struct Readers<'a> {
    sampler: &'a Sampler,
    phase: Phase,
    running: Option<Reader>,
}

impl<'a> Readers<'a> {
    fn new(sampler: &'a Sampler, phase: Phase) -> Self {
        Self {
            sampler,
            phase,
            running: None,
        }
    }

    /// `None` where the item is not done in time.
    fn take(&mut self, item: &'static Item, wait: Duration) -> Option<Outcome> {
        let running = match self.running.take() {
            Some(running) => running,
            None => match self.sampler.reader(self.phase) {
                Ok(started) => started,
                Err(error) => return Some(Err(format!("no thread to read it: {error}"))),
            },
        };
        let outcome = running.take(item, wait);
        if outcome.is_some() {
            self.running = Some(running);
        }
        outcome
    }

    /// Waits for the end of the thread that has nothing left to read.
    fn end(self) {
        if let Some(Reader { to, thread, .. }) = self.running {
            drop(to);
            let _ = thread.join();
        }
    }
}

/// A thread that reads one item after the other.
struct Reader {
    to: SyncSender<(&'static Item, Instant)>,
    from: Receiver<Outcome>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// `None` where it is not done in time: then it must not be asked again.
    fn take(&self, item: &'static Item, wait: Duration) -> Option<Outcome> {
        let deadline = Instant::now() + wait;
        if self.to.send((item, deadline)).is_err() {
            return Some(Err("its reader ended".to_owned()));
        }
        match self.from.recv_timeout(wait + GRACE) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err("its reader ended".to_owned())),
        }
    }
}

fn read(item: &Item, place: &Place<'_>) -> Outcome {
    let limit = item.max_bytes.min(place.limits.file_bytes);
    let begun = Moment::now();
    let one = |bytes: Vec<u8>, cut: bool| vec![(item.path.to_owned(), bytes, cut)];
    let parts = match item.source {
        Source::Edge(path) | Source::File(path) => {
            let file = place.root.read_bounded(path, limit);
            let file = file.map_err(|error| reason(path, &error))?;
            one(file.bytes, file.truncated)
        }
        Source::Tree(patterns) => {
            let paths: Vec<String> = patterns
                .iter()
                .flat_map(|pattern| place.expand(pattern))
                .collect();
            let (bytes, cut) = place.tree(&paths)?;
            one(bytes, cut)
        }
        Source::Chosen(choose) => {
            let (bytes, cut) = place.tree(&choose(place)?)?;
            one(bytes, cut)
        }
        Source::Made(make) | Source::Privileged(make) => one(make(place)?, false),
        Source::Several(make) => {
            let members = make(place)?.into_iter();
            members
                .map(|(name, bytes)| (format!("{}{name}", item.path), bytes, false))
                .collect()
        }
    };
    let parts = parts.into_iter().map(|(path, mut bytes, cut)| {
        let over = bytes.len() > limit;
        bytes.truncate(limit);
        (path, bytes, cut || over)
    });
    let parts = parts.collect();
    let taking = Taking {
        source: item.read_from(),
        monotonic_ns: begun.monotonic_ns,
        unix_ns: begun.unix_ns,
        took_ns: Moment::now()
            .monotonic_ns
            .saturating_sub(begun.monotonic_ns),
    };
    Ok((parts, taking))
}

/// A sample as it grows.
struct Sample<'a> {
    phase: Phase,
    limits: &'a EvidenceLimits,
    evidence: Evidence,
    bytes: usize,
}

impl<'a> Sample<'a> {
    fn new(phase: Phase, limits: &'a EvidenceLimits) -> Self {
        Self {
            phase,
            limits,
            evidence: Evidence::default(),
            bytes: 0,
        }
    }

    fn add_all(&mut self, items: &[&'static Item], outcomes: Vec<Outcome>) {
        for (item, outcome) in items.iter().zip(outcomes) {
            self.add(item, outcome);
        }
    }

    fn add(&mut self, item: &Item, outcome: Outcome) {
        let (parts, taking) = match outcome {
            Ok(taken) => taken,
            Err(reason) => return self.miss(item.path, reason),
        };
        for (path, bytes, truncated) in parts {
            if self.evidence.files.len() >= self.limits.files {
                self.evidence.left_out.for_files += 1;
                let most = self.limits.files;
                self.miss(
                    &path,
                    format!("left out: a sample has at most {most} files"),
                );
            } else if self.bytes + bytes.len() > self.limits.total_bytes {
                self.evidence.left_out.for_bytes += 1;
                let most = self.limits.total_bytes;
                self.miss(
                    &path,
                    format!("left out: a sample has at most {most} bytes"),
                );
            } else {
                self.bytes += bytes.len();
                self.evidence.files.push(EvidenceFile {
                    path: format!("{}/{path}", self.phase.folder()),
                    bytes,
                    truncated,
                    taking: taking.clone(),
                });
            }
        }
    }

    fn add_or_late(&mut self, item: &Item, outcome: Option<Outcome>, waited: Duration) {
        match outcome {
            Some(outcome) => self.add(item, outcome),
            None => self.late(item, waited),
        }
    }

    fn late(&mut self, item: &Item, waited: Duration) {
        self.evidence.left_out.late += 1;
        let ms = waited.as_millis();
        self.miss(item.path, format!("it took longer than {ms} ms"));
    }

    fn left_out_for_time(&mut self, item: &Item) {
        self.evidence.left_out.for_time += 1;
        let ms = self.limits.total_time.as_millis();
        self.miss(
            item.path,
            format!("left out: the sample's {ms} ms were over"),
        );
    }

    fn miss(&mut self, path: &str, reason: String) {
        self.evidence.missing.push(MissingEvidence {
            path: format!("{}/{path}", self.phase.folder()),
            reason,
        });
    }

    /// With the index, which no bound keeps out.
    fn finish(mut self) -> Evidence {
        let bytes = index::render(self.phase, &self.evidence.files);
        self.evidence.files.push(EvidenceFile {
            path: format!("{}/{INDEX}", self.phase.folder()),
            bytes,
            ..EvidenceFile::default()
        });
        self.evidence
    }
}
