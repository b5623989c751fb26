//! From the embedded object to programs and maps in the kernel.

use std::path::PathBuf;

use aya::{
    Ebpf, EbpfLoader,
    maps::{ArrayOfMaps, MapData, PerCpuHashMap},
};
use aya_log::EbpfLogger;
use kctx_common::{
    bucket::BUCKETS,
    globals::name,
    record::{NR_SOFTIRQS, kind},
    spill::{OriginKey, SpillHistogram, SpillKey, SpillRow},
};

use super::offsets::Offsets;
use crate::{
    host::{HostRoot, btf, cpus, privilege, tracefs},
    source::rings::Ring,
};

/// The programs, as `cargo xtask build` compiled them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("KCTX_BPF_OBJECT"));

/// `BPF_MAP_TYPE_RINGBUF`
const RINGBUF: u32 = 27;

/// Bytes of the ring for rare events; the same in kctx-ebpf/src/maps.rs.
const RARE_RING_BYTES: usize = 64 << 10;

/// Sizes of what kctx takes in the kernel.
#[derive(Clone, Copy, Debug)]
pub struct MapSizes {
    /// Bytes of each CPU's ring: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Rows of the spill, on each CPU.
    pub spill_rows: u32,
    /// Works that may be pending.
    pub pending_works: u32,
    /// Durations from this on go through the ring even where the governor keeps a family from it.
    pub outlier_ns: u64,
    /// The programs of rare events say what they see; shown by [`Loaded::take_log`]'s logger.
    pub bpf_log: bool,
}

impl Default for MapSizes {
    fn default() -> Self {
        Self {
            ring_bytes: 1 << 20,
            spill_rows: 128,
            pending_works: 16384,
            outlier_ns: 1_000_000,
            bpf_log: false,
        }
    }
}

/// Why loading failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refused, or the object and the kernel do not fit.
    #[error("the kernel did not take kctx's BPF object: {0}")]
    Object(#[source] Box<aya::EbpfError>),
    /// A map is not there or of another kind.
    #[error("map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What is wrong.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A map that the object should have.
    #[error("the BPF object has no map {0}: it is of another version than this kctx")]
    NoMap(&'static str),
    /// A ring could not be mapped.
    #[error("cannot map a ring buffer: {0}")]
    Mmap(#[source] rustix::io::Errno),
    /// The CPUs could not be listed.
    #[error("cannot read which CPUs there are, in /sys/devices/system/cpu: {0}")]
    Cpus(#[source] std::io::Error),
}

impl LoadError {
    /// Whether the kernel said that this process may not, rather than that it cannot.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        let mut source: Option<&dyn std::error::Error> = Some(self);
        while let Some(error) = source {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                return io.kind() == std::io::ErrorKind::PermissionDenied;
            }
            source = error.source();
        }
        false
    }
}

/// A CPU's number and its ring.
pub type CpuRing = (u32, Ring);

/// Programs and maps in the kernel, nothing attached yet.
pub struct Loaded {
    /// The programs.
    pub ebpf: Ebpf,
    pub(super) btf: Option<btf::Btf>,
    /// A field of `task_struct` that the kernel's BTF does not tell of.
    pub(super) unknown_of_task: Option<&'static str>,
    pub(super) tracefs: Option<PathBuf>,
    /// The CPUs that may ever come, in the order that the values of per-CPU maps have.
    pub(super) possible: Vec<u32>,
    /// Each possible CPU's number and ring.
    pub rings: Vec<CpuRing>,
    rare: Option<Ring>,
    // Kept so that the inner maps live as long as the mapping of them; the gate's closing sets one anew.
    pub(super) ring_maps: Vec<MapData>,
}

impl Loaded {
    /// What the programs log, on to this process's log.
    pub fn take_log(&mut self) -> Option<EbpfLogger<&'static dyn log::Log>> {
        EbpfLogger::init(&mut self.ebpf)
            .inspect_err(|error| tracing::warn!(%error, "no log of the BPF programs"))
            .ok()
    }

    /// The ring for rare events, once.
    pub fn take_rare(&mut self) -> Result<Ring, LoadError> {
        self.rare.take().ok_or(LoadError::NoMap("RARE"))
    }
}

/// Loads the object: makes a ring for each possible CPU, sets the globals, makes the
/// spill's standing rows.
pub fn load(sizes: MapSizes, softirq_vectors: u16) -> Result<Loaded, LoadError> {
    // Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; later ones don't care.
    let unlimited = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
    // Rings, programs and links are descriptors, and the soft limit is often 1024.
    privilege::allow_descriptors();

    let possible = cpus::possible(&HostRoot::system()).map_err(LoadError::Cpus)?;
    let Some(highest) = possible.last() else {
        let none = std::io::Error::new(std::io::ErrorKind::InvalidData, "there is none");
        return Err(LoadError::Cpus(none));
    };
    let count = possible.len();
    let btf = std::fs::read(btf::VMLINUX)
        .ok()
        .and_then(|bytes| btf::Btf::parse(bytes).ok());
    let tracefs = tracefs::mounted();
    let offsets = Offsets::find(btf.as_ref(), tracefs.as_deref());

    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries("RINGS", highest + 1)
        .map_max_entries("CPU_STEPS", highest + 1)
        .map_max_entries("SPILL", sizes.spill_rows)
        .map_max_entries("PENDING", sizes.pending_works);
    for (name, value) in &offsets.0 {
        loader.override_global(name, value, true);
    }
    // aya-log's level: 0 is off, and lets the verifier remove what would be logged.
    let log_level: u8 = if sizes.bpf_log { 5 } else { 0 };
    loader.override_global(aya_log::LEVEL, &log_level, true);
    if !sizes.bpf_log {
        loader.map_max_entries("AYA_LOGS", 4096);
    }
    let all = (1 << NR_SOFTIRQS) - 1;
    let vectors = if softirq_vectors & all == all {
        u64::MAX
    } else {
        u64::from(softirq_vectors)
    };
    loader.override_global(name::SOFTIRQ_VECTORS, &vectors, true);
    loader.override_global(name::OUTLIER_NS, &sizes.outlier_ns, true);
    let mut ebpf = loader
        .load(OBJECT)
        .map_err(|e| LoadError::Object(Box::new(e)))?;

    let (rings, ring_maps) = make_rings(&mut ebpf, &possible, sizes.ring_bytes)?;
    let rare = ebpf.map("RARE").ok_or(LoadError::NoMap("RARE"))?;
    let aya::maps::Map::RingBuf(rare) = rare else {
        return Err(LoadError::NoMap("RARE"));
    };
    let rare = Ring::map(&rare.fd(), RARE_RING_BYTES).map_err(LoadError::Mmap)?;
    make_spill_rows(&mut ebpf, count)?;
    Ok(Loaded {
        ebpf,
        btf,
        unknown_of_task: offsets.unknown_of_task(),
        tracefs,
        possible,
        rings,
        rare: Some(rare),
        ring_maps,
    })
}

fn make_rings(
    ebpf: &mut Ebpf,
    cpus: &[u32],
    bytes: u32,
) -> Result<(Vec<CpuRing>, Vec<MapData>), LoadError> {
    let error = |source| LoadError::Map {
        map: "RINGS",
        source: Box::new(source),
    };
    let mut outer: ArrayOfMaps<_> = ebpf
        .map_mut("RINGS")
        .ok_or(LoadError::NoMap("RINGS"))?
        .try_into()
        .map_err(error)?;
    let mut rings = Vec::with_capacity(cpus.len());
    let mut maps = Vec::with_capacity(cpus.len());
    for &cpu in cpus {
        let map = MapData::create(
            aya_obj::Map::new_from_params(RINGBUF, 0, 0, bytes, 0),
            "kctx_ring",
            None,
        )
        .map_err(error)?;
        outer.set(cpu, &map, 0).map_err(error)?;
        let ring = Ring::map(map.fd(), bytes as usize).map_err(LoadError::Mmap)?;
        rings.push((cpu, ring));
        maps.push(map);
    }
    Ok((rings, maps))
}

fn make_spill_rows(ebpf: &mut Ebpf, cpus: usize) -> Result<(), LoadError> {
    let error = |source| LoadError::Map {
        map: "SPILL",
        source: Box::new(source),
    };
    let mut spill: PerCpuHashMap<_, SpillKey, SpillRow> = ebpf
        .map_mut("SPILL")
        .ok_or(LoadError::NoMap("SPILL"))?
        .try_into()
        .map_err(error)?;
    let none = SpillHistogram {
        count: 0,
        sum_ns: 0,
        max_ns: 0,
        buckets: [0; BUCKETS],
    };
    let empty = SpillRow {
        wait: none,
        service: none,
        third: none,
        fourth: none,
    };
    let overflow = [
        (kind::HARDIRQ, 0),
        (kind::HARDIRQ, 1),
        (kind::WORK, 0),
        (kind::TASKLET, 0),
        (kind::NAPI, 0),
        (kind::KTHREAD, 0),
    ]
    .map(|(family, unhandled)| SpillKey {
        family,
        unhandled,
        overflow: 1,
        ..SpillKey::default()
    });
    // The vectors are known beforehand: with their rows made here none of them can overflow. What has no
    // row of its own for where it ran goes there too.
    let vectors = (0..NR_SOFTIRQS as u32).map(|number| SpillKey {
        family: kind::SOFTIRQ,
        number,
        ..SpillKey::default()
    });
    for key in overflow.into_iter().chain(vectors) {
        let values =
            aya::maps::PerCpuValues::try_from(vec![empty; cpus]).map_err(LoadError::Cpus)?;
        spill.insert(key, values, 0).map_err(error)?;
    }
    make_origin_rows(ebpf, cpus)
}

/// What raised a spilled softirq has a row made here too, for what finds no room: none goes uncounted.
fn make_origin_rows(ebpf: &mut Ebpf, cpus: usize) -> Result<(), LoadError> {
    let error = |source| LoadError::Map {
        map: "SPILLED_ORIGINS",
        source: Box::new(source),
    };
    let mut origins: PerCpuHashMap<_, OriginKey, u64> = ebpf
        .map_mut("SPILLED_ORIGINS")
        .ok_or(LoadError::NoMap("SPILLED_ORIGINS"))?
        .try_into()
        .map_err(error)?;
    for vector in 0..NR_SOFTIRQS as u8 {
        let key = OriginKey {
            vector,
            ..OriginKey::default()
        };
        let none = aya::maps::PerCpuValues::try_from(vec![0; cpus]).map_err(LoadError::Cpus)?;
        origins.insert(key, none, 0).map_err(error)?;
    }
    Ok(())
}
