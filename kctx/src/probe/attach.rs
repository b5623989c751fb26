//! Attaching: what can be is, and what cannot says why.

use aya::{
    Btf, Ebpf,
    programs::{
        BtfTracePoint, Program, ProgramError, RawTracePoint, TracePoint,
        raw_trace_point::RawTracePointLink, tp_btf::BtfTracePointLink, trace_point::TracePointLink,
    },
};

use super::{
    PAIRS, PROBES, ProbeKind, ProbeSpec,
    clock::{CpuClock, Sampling},
    load::Loaded,
};
use crate::{
    aggregate::window::{Family, ProbeStatus},
    host::{HostRoot, btf, clock, cpus},
};

/// An attachment; dropping it detaches.
#[expect(dead_code, reason = "most are held for their drop alone")]
enum Link {
    Btf(BtfTracePointLink),
    Raw(RawTracePointLink),
    Classic(TracePointLink),
    Clock(CpuClock),
}

impl Link {
    fn mechanism(&self) -> &'static str {
        match self {
            Self::Btf(_) => "tp_btf",
            Self::Raw(_) => "raw_tp",
            Self::Classic(_) => "tracepoint",
            Self::Clock(_) => "perf_event",
        }
    }
}

/// All attachments, ends before starts. The kernel drops them too when the process dies: they are file
/// descriptors, and nothing is pinned.
#[derive(Default)]
pub struct Attached(Vec<Link>);

impl Attached {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sampling clock, for who sees to it that it follows the CPUs.
    pub fn take_clock(&mut self) -> Option<CpuClock> {
        let at = self
            .0
            .iter()
            .position(|link| matches!(link, Link::Clock(_)))?;
        match self.0.remove(at) {
            Link::Clock(clock) => Some(clock),
            _ => None,
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // In the order they were attached in: ends before starts.
        for link in self.0.drain(..) {
            drop(link);
        }
    }
}

/// Attaches every probe of the families that are wanted, and says for each whether, how, or why not.
pub fn attach(
    loaded: &mut Loaded,
    sampling: Sampling,
    wanted: impl Fn(&ProbeSpec) -> bool,
) -> (Attached, Vec<ProbeStatus>) {
    // The loader's own reading of the same BTF: it needs the ids to attach by. Both are megabytes, and nobody asks them
    // once everything is attached.
    let ids = Btf::from_sys_fs();
    let index = loaded.btf.take();
    let mut results: Vec<AttachResult> = Vec::with_capacity(PROBES.len());
    for spec in &PROBES {
        results.push(if !wanted(spec) {
            Err("switched off by the configuration".to_owned())
        } else if let Some(reason) = end_is_missing(&results, spec) {
            // Not even for a moment: what it remembers of a start would stay.
            Err(reason)
        } else if spec.kind == ProbeKind::Clock {
            start_clock(&mut loaded.ebpf, sampling)
        } else {
            attach_one(loaded, ids.as_ref(), index.as_ref(), spec)
        });
    }
    for (start, end) in PAIRS {
        without_its_start(&mut results, start, end);
    }
    let mut attached = Attached::default();
    let statuses = PROBES
        .iter()
        .zip(results)
        .map(|(spec, result)| {
            let (mechanism, reason) = match result {
                Ok((link, instead_of)) => {
                    let mechanism = link.mechanism().to_owned();
                    attached.0.push(link);
                    (Some(mechanism), instead_of)
                }
                Err(reason) => (None, Some(reason)),
            };
            ProbeStatus {
                name: spec.name(),
                family: spec.family.into(),
                attached: mechanism.is_some(),
                mechanism,
                reason,
            }
        })
        .collect();
    (attached, statuses)
}

/// What became of a probe: its attachment and why that is not by the best mechanism, or why there is none.
type AttachResult = Result<(Link, Option<String>), String>;

fn index(tracepoint: &str) -> Option<usize> {
    PROBES.iter().position(|spec| spec.tracepoint == tracepoint)
}

fn because_of(other: usize, reason: &str) -> String {
    format!("{} is not attached: {reason}", PROBES[other].name())
}

/// A start whose end is never seen would look as if it went on for ever. Why `start` is to be left out, if it is;
/// `results` are those of the probes before it, its end's among them.
fn end_is_missing(results: &[AttachResult], start: &ProbeSpec) -> Option<String> {
    let (_, end) = PAIRS.iter().find(|(name, _)| *name == start.tracepoint)?;
    let end = index(end)?;
    let reason = results.get(end)?.as_ref().err()?;
    Some(because_of(end, reason))
}

/// An end without starts says nothing: it is detached.
fn without_its_start(results: &mut [AttachResult], start: &str, end: &str) {
    let (Some(start), Some(end)) = (index(start), index(end)) else {
        return;
    };
    if let (Ok(_), Err(reason)) = (&results[end], &results[start]) {
        results[end] = Err(because_of(start, reason));
    }
}

/// The attachment, and where it is not by the best mechanism, why.
fn attach_one(
    loaded: &mut Loaded,
    ids: Result<&Btf, &aya::BtfError>,
    index: Option<&btf::Btf>,
    spec: &ProbeSpec,
) -> Result<(Link, Option<String>), String> {
    match spec.kind {
        ProbeKind::Rare => attach_classic(loaded, spec).map(|link| (Link::Classic(link), None)),
        ProbeKind::Clock => Err("not a tracepoint".to_owned()),
        ProbeKind::HotTyped => match (ids, index) {
            (Ok(_), Some(_)) if loaded.unknown_of_task.is_some() => Err(format!(
                "the kernel's BTF does not tell where a task's fields are ({})",
                loaded.unknown_of_task.unwrap_or_default()
            )),
            (Ok(ids), Some(index)) if index.has_tracepoint(spec.tracepoint) => {
                attach_btf(&mut loaded.ebpf, spec, ids).map(|link| (Link::Btf(link), None))
            }
            (Ok(_), Some(_)) => Err(format!("this kernel has no tracepoint {}", spec.name())),
            _ => Err(
                "no BTF in /sys/kernel/btf, so nobody knows where a task's fields are".to_owned(),
            ),
        },
        ProbeKind::Hot => {
            let no_btf = match (ids, index) {
                (Ok(ids), Some(index)) if index.has_tracepoint(spec.tracepoint) => {
                    match attach_btf(&mut loaded.ebpf, spec, ids) {
                        Ok(link) => return Ok((Link::Btf(link), None)),
                        Err(reason) => reason,
                    }
                }
                (Ok(_), Some(_)) => {
                    return Err(format!("this kernel has no tracepoint {}", spec.name()));
                }
                _ => "no BTF in /sys/kernel/btf".to_owned(),
            };
            match attach_raw(&mut loaded.ebpf, spec) {
                Ok(link) => Ok((Link::Raw(link), Some(format!("not tp_btf: {no_btf}")))),
                Err(raw) => Err(format!("tp_btf: {no_btf}; raw_tp: {raw}")),
            }
        }
    }
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, String>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| format!("the BPF object has no program {name}"))?
        .try_into()
        .map_err(|e: ProgramError| one_line(&e))
}

fn attach_btf(ebpf: &mut Ebpf, spec: &ProbeSpec, btf: &Btf) -> Result<BtfTracePointLink, String> {
    let program: &mut BtfTracePoint = program(ebpf, spec.tracepoint)?;
    program
        .load(spec.tracepoint, btf)
        .map_err(|e| one_line(&e))?;
    let id = program.attach().map_err(|e| one_line(&e))?;
    program.take_link(id).map_err(|e| one_line(&e))
}

fn attach_raw(ebpf: &mut Ebpf, spec: &ProbeSpec) -> Result<RawTracePointLink, String> {
    let program: &mut RawTracePoint = program(ebpf, &format!("{}_raw", spec.tracepoint))?;
    program.load().map_err(|e| one_line(&e))?;
    let id = program.attach(spec.tracepoint).map_err(|e| one_line(&e))?;
    program.take_link(id).map_err(|e| one_line(&e))
}

fn attach_classic(loaded: &mut Loaded, spec: &ProbeSpec) -> Result<TracePointLink, String> {
    let Some(tracefs) = &loaded.tracefs else {
        if spec.family == Family::Module && !std::path::Path::new("/proc/modules").exists() {
            return Err("CONFIG_MODULES is off".to_owned());
        }
        return Err(
            "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing".to_owned(),
        );
    };
    if !tracefs
        .join("events")
        .join(spec.group)
        .join(spec.tracepoint)
        .is_dir()
    {
        if spec.family == Family::Module && !std::path::Path::new("/proc/modules").exists() {
            return Err("CONFIG_MODULES is off".to_owned());
        }
        return Err(format!("this kernel has no tracepoint {}", spec.name()));
    }
    let program: &mut TracePoint = program(&mut loaded.ebpf, spec.tracepoint)?;
    program.load().map_err(|e| one_line(&e))?;
    let id = program
        .attach(spec.group, spec.tracepoint)
        .map_err(|e| one_line(&e))?;
    program.take_link(id).map_err(|e| one_line(&e))
}

fn start_clock(ebpf: &mut Ebpf, sampling: Sampling) -> AttachResult {
    if sampling.frequency == 0 {
        return Err("switched off by the configuration".to_owned());
    }
    let online = cpus::online(&HostRoot::system())
        .map_err(|error| format!("cannot read which CPUs are online: {error}"))?;
    let started = CpuClock::start(ebpf, sampling, &online, clock::monotonic_ns())?;
    Ok((Link::Clock(started), None))
}

/// An error with its causes in one line, without the verifier's log, which is for `KCTX_LOG=debug`.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut source = Some(error);
    while let Some(error) = source {
        let message = error.to_string();
        tracing::debug!("{message}");
        let first = message.lines().next().unwrap_or_default();
        if !text.contains(first) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(first);
        }
        source = error.source();
    }
    text
}
