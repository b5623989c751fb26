//! Tracks: of each CPU one for each context, and further ones where slices would overlap.

use rustc_hash::FxHashMap;

use super::proto::{
    CounterDescriptor, NEVER_MERGED, ORDERED_BY_RANK, TrackDescriptor, UNIT_TIME_NS,
};

/// Tracks of one CPU and context. As many works may be asleep on a CPU as its workqueues allow at a time.
const LANES: usize = 512;

/// 0 is the trace as a whole; nobody else makes tracks in the file.
const FIRST_UUID: u64 = 1;

/// A context, in the order in which its track is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Context {
    /// Interrupt handlers and vectors.
    Interrupts,
    /// Softirqs, wherever they ran but in ksoftirqd.
    Softirqs,
    /// Softirqs in ksoftirqd.
    Ksoftirqd,
    /// Tasklets.
    Tasklets,
    /// NAPI polls.
    Napi,
    /// Works.
    Works,
    /// Kernel threads.
    Kthreads,
    /// Module events.
    Modules,
    /// The kernel's log.
    Log,
    /// Changes of the taint.
    Taint,
    /// What the governor did.
    Governor,
}

impl Context {
    /// What the track is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupts => "interrupts",
            Self::Softirqs => "softirqs",
            Self::Ksoftirqd => "softirqs in ksoftirqd",
            Self::Tasklets => "tasklets",
            Self::Napi => "NAPI polls",
            Self::Works => "works",
            Self::Kthreads => "kernel threads",
            Self::Modules => "modules",
            Self::Log => "kernel log",
            Self::Taint => "taint",
            Self::Governor => "governor",
        }
    }

    /// The category of its events: the family.
    pub(super) fn category(self) -> &'static str {
        match self {
            Self::Interrupts => "hardirq",
            Self::Softirqs | Self::Ksoftirqd => "softirq",
            Self::Tasklets => "tasklet",
            Self::Napi => "napi",
            Self::Works => "workqueue",
            Self::Kthreads => "kthread",
            Self::Modules => "module",
            Self::Log => "log",
            Self::Taint => "taint",
            Self::Governor => "governor",
        }
    }

    /// Where it stands, with room for its further tracks; counters come after all of them.
    fn rank(self) -> i32 {
        self as i32 * LANES as i32
    }
}

/// Counters stand after every context.
const COUNTER_RANK: i32 = (Context::Governor as i32 + 1) * LANES as i32;

/// Whose a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The track that a CPU's tracks are under.
    Cpu(u32),
    /// Instants; of no CPU those of the machine.
    Instants(Option<u32>, Context),
    /// The waits of a vector on a CPU.
    Wait(u32, &'static str),
}

/// A track of slices, and where its last one ends.
#[derive(Clone, Copy, Debug)]
struct Lane {
    uuid: u64,
    end_ns: u64,
}

/// The tracks so far.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    known: FxHashMap<Key, u64>,
    lanes: FxHashMap<(u32, Context), Vec<Lane>>,
    made: u64,
}

impl Tracks {
    /// The track of a slice: the first whose last slice is over by then. `None` where there are too many. With it the
    /// tracks that are new.
    pub(super) fn place(
        &mut self,
        cpu: u32,
        context: Context,
        start_ns: u64,
        end_ns: u64,
    ) -> (Option<u64>, Vec<TrackDescriptor>) {
        let lanes = self.lanes.entry((cpu, context)).or_default();
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.end_ns <= start_ns) {
            lane.end_ns = end_ns;
            return (Some(lane.uuid), Vec::new());
        }
        let nth = lanes.len();
        if nth == LANES {
            return (None, Vec::new());
        }
        let mut described = Vec::new();
        let parent = self.cpu(cpu, &mut described);
        let name = match nth {
            0 => context.name().to_owned(),
            _ => format!("{} ({})", context.name(), nth + 1),
        };
        let uuid = self.make();
        described.push(child(Some(parent), uuid, name, context.rank() + nth as i32));
        let lanes = self.lanes.entry((cpu, context)).or_default();
        lanes.push(Lane { uuid, end_ns });
        (Some(uuid), described)
    }

    /// The track of instants.
    pub(super) fn of_instants(
        &mut self,
        cpu: Option<u32>,
        context: Context,
    ) -> (u64, Vec<TrackDescriptor>) {
        let mut described = Vec::new();
        let key = Key::Instants(cpu, context);
        if let Some(&uuid) = self.known.get(&key) {
            return (uuid, described);
        }
        let parent = cpu.map(|cpu| self.cpu(cpu, &mut described));
        let uuid = self.make();
        self.known.insert(key, uuid);
        let name = match cpu {
            Some(_) => format!("{} without a beginning", context.name()),
            None => context.name().to_owned(),
        };
        let rank = context.rank() + LANES as i32 - 1;
        described.push(child(parent, uuid, name, rank));
        (uuid, described)
    }

    /// The counter of a vector's waits.
    pub(super) fn wait_counter(
        &mut self,
        cpu: u32,
        vector: &'static str,
    ) -> (u64, Vec<TrackDescriptor>) {
        let mut described = Vec::new();
        let key = Key::Wait(cpu, vector);
        if let Some(&uuid) = self.known.get(&key) {
            return (uuid, described);
        }
        let parent = self.cpu(cpu, &mut described);
        let uuid = self.make();
        self.known.insert(key, uuid);
        let counter = CounterDescriptor {
            unit: Some(UNIT_TIME_NS),
            y_axis_share_key: Some("softirq wait".to_owned()),
        };
        described.push(TrackDescriptor {
            counter: Some(counter),
            ..child(Some(parent), uuid, format!("{vector} wait"), COUNTER_RANK)
        });
        (uuid, described)
    }

    fn cpu(&mut self, cpu: u32, described: &mut Vec<TrackDescriptor>) -> u64 {
        let key = Key::Cpu(cpu);
        if let Some(&uuid) = self.known.get(&key) {
            return uuid;
        }
        let uuid = self.make();
        self.known.insert(key, uuid);
        let rank = i32::try_from(cpu).unwrap_or(i32::MAX);
        described.push(TrackDescriptor {
            child_ordering: Some(ORDERED_BY_RANK),
            ..child(None, uuid, format!("CPU {cpu}"), rank)
        });
        uuid
    }

    fn make(&mut self) -> u64 {
        self.made += 1;
        FIRST_UUID + self.made - 1
    }
}

fn child(parent_uuid: Option<u64>, uuid: u64, name: String, rank: i32) -> TrackDescriptor {
    TrackDescriptor {
        uuid: Some(uuid),
        name: Some(name),
        parent_uuid,
        sibling_order_rank: Some(rank),
        sibling_merge_behavior: Some(NEVER_MERGED),
        ..TrackDescriptor::default()
    }
}
