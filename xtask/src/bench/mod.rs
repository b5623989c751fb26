//! `cargo xtask bench`: what kctx costs, beside the floor and its peers, in one run.
//!
//! Each round measures each tracer once, so that what the machine does besides falls on all of them alike; what counts
//! are differences within a round, and the medians of those.

mod figures;
mod growth;
mod process;
mod table;
mod tracer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::workspace::Workspace;
use crate::{build, command};
use figures::{Figures, LoadFigures, Machine, TracerFigures};
use tracer::{Programs, Running, Tracer};

#[derive(Args)]
pub(crate) struct Options {
    /// How often each tracer is measured
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Windows of a load in each round, of which the best counts
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    windows: u32,
    /// Only these loads
    #[arg(long, value_enum, value_delimiter = ',')]
    loads: Vec<Load>,
    /// The CPU that the load is bound to; the last one where none is given
    #[arg(long)]
    cpu: Option<usize>,
    /// Without what is measured of the process: start, memory, idle cost, rate, disk
    #[arg(long)]
    kernel_only: bool,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the tables into docs/overhead.md
    #[arg(long)]
    write_docs: bool,
}

/// The loads of tests/examples/kernel_load.rs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    Udp,
    Timer,
    Work,
    Disk,
}

impl Load {
    const ALL: [Self; 4] = [Self::Udp, Self::Timer, Self::Work, Self::Disk];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Timer => "timer",
            Self::Work => "work",
            Self::Disk => "disk",
        }
    }

    /// What one operation of it has the kernel do.
    fn operation(self) -> &'static str {
        match self {
            Self::Udp => "a datagram over loopback: NET_RX raised, entered, left; a NAPI poll",
            Self::Timer => "a timer that is due at once: an interrupt of the local timer",
            Self::Work => "a byte through a pseudoterminal: a work, its kworker's switches",
            Self::Disk => "4 KiB read from the disk: its interrupt, the reader's switches",
        }
    }
}

pub(crate) fn run(ws: &Workspace, options: &Options) -> Result<()> {
    if !command::is_root() {
        bail!("measuring attaches to the kernel: run this as root");
    }
    let built = build(ws)?;
    let folder = ws.target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let programs = Programs {
        kctx: &built.kctx,
        attach: &built.attach,
        floor: &built.floor,
        folder: &folder,
    };
    let mut figures = Figures {
        machine: machine(),
        rounds: options.rounds,
        ..Figures::default()
    };
    let loads = if options.loads.is_empty() {
        Load::ALL.to_vec()
    } else {
        options.loads.clone()
    };
    let cpu = options
        .cpu
        .unwrap_or_else(|| figures.machine.cpus.saturating_sub(1));
    for load in loads {
        let (tracers, missing) = tracer::all(load, &programs)?;
        let generator = Generator {
            path: &built.load,
            folder: &folder,
            load,
            windows: options.windows,
            cpu,
        };
        let (measured, refused) = measure(&generator, tracers, options.rounds)?;
        figures.loads.push(measured);
        for peer in missing.into_iter().chain(refused) {
            if !figures.missing.contains(&peer) {
                figures.missing.push(peer);
            }
        }
    }
    if !options.kernel_only {
        figures.process = process::measure(&built.kctx, &built.load, &folder, options.rounds)?;
        let exports = growth::of_export(&built.kctx, &built.sink, &built.load, &folder)?;
        figures.process.extend(exports);
        figures.process.extend(growth::of_memory(&built.growth)?);
    }
    print!("{}", table::text(&figures));
    let json = options
        .json
        .clone()
        .unwrap_or_else(|| folder.join("bench.json"));
    let text = serde_json::to_string_pretty(&figures).context("the figures are no JSON")?;
    fs::write(&json, text + "\n").with_context(|| format!("cannot write {}", json.display()))?;
    eprintln!("bench: the figures are in {}", json.display());
    if options.write_docs {
        table::write_docs(ws, &figures)?;
    }
    Ok(())
}

/// What a bench needs.
struct Built {
    kctx: PathBuf,
    load: PathBuf,
    attach: PathBuf,
    growth: PathBuf,
    sink: PathBuf,
    floor: PathBuf,
}

fn build(ws: &Workspace) -> Result<Built> {
    let (kctx, object) = build::release(ws)?;
    if let build::Object::Unavailable(reason) = &object {
        bail!("no eBPF programs could be built: {reason}");
    }
    for (package, example) in [
        ("kctx", "attach_floor"),
        ("kctx", "memory_growth"),
        ("kctx-tests", "kernel_load"),
        ("kctx-tests", "otlp_sink"),
    ] {
        let mut cargo = ws.cargo();
        cargo.args([
            "build",
            "--release",
            "--package",
            package,
            "--example",
            example,
        ]);
        object.apply(&mut cargo);
        command::show(&mut cargo)?;
    }
    let examples = ws.target.join("release/examples");
    Ok(Built {
        kctx,
        load: examples.join("kernel_load"),
        attach: examples.join("attach_floor"),
        growth: examples.join("memory_growth"),
        sink: examples.join("otlp_sink"),
        floor: build::floor(ws),
    })
}

/// The load generator, and what it is asked for.
struct Generator<'a> {
    path: &'a Path,
    folder: &'a Path,
    load: Load,
    windows: u32,
    cpu: usize,
}

impl Generator<'_> {
    /// The best nanoseconds an operation.
    fn run(&self) -> Result<f64> {
        let text = command::capture(
            Command::new(self.path)
                .current_dir(self.folder)
                .arg(self.load.name())
                .args([self.windows.to_string(), self.cpu.to_string()]),
        )?;
        (text.trim().parse()).with_context(|| format!("the load said {text:?}, which is no number"))
    }
}

/// What was measured, and which peers do not run here.
fn measure(
    generator: &Generator<'_>,
    mut tracers: Vec<Tracer>,
    rounds: u32,
) -> Result<(LoadFigures, Vec<String>)> {
    let mut refused = Vec::new();
    tracers.retain(|tracer| {
        let tried = tracer.start().and_then(Running::stop);
        match tried {
            Err(error) if tracer.is_peer() => {
                eprintln!("bench: {} is left out: {error:#}", tracer.name);
                refused.push(format!("{} ({error:#})", tracer.name));
                false
            }
            _ => true,
        }
    });
    let mut ns: Vec<Vec<f64>> = tracers.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        eprintln!(
            "bench: {}, round {round} of {rounds}, {} tracers",
            generator.load.name(),
            tracers.len()
        );
        for (tracer, ns) in tracers.iter().zip(&mut ns) {
            let running = tracer.start()?;
            let measured = generator
                .run()
                .with_context(|| format!("the load beside {}", tracer.name))?;
            running.stop()?;
            ns.push(measured);
        }
    }
    let figures = LoadFigures {
        load: generator.load.name().to_owned(),
        operation: generator.load.operation().to_owned(),
        tracers: tracers
            .iter()
            .zip(ns)
            .map(|(tracer, ns)| TracerFigures {
                tracer: tracer.name.to_owned(),
                what: tracer.what.to_owned(),
                ns,
            })
            .collect(),
    };
    Ok((figures, refused))
}

fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        command::field(&cpuinfo, name).map(|rest| rest.trim_start_matches([':', ' ', '\t']))
    };
    let clock = read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    Machine {
        cpu: field("model name").unwrap_or("?").to_owned(),
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        clocksource: clock.trim().to_owned(),
        is_virtual: field("flags").is_some_and(|flags| flags.contains(" hypervisor")),
    }
}
