//! What is measured beside the load: nothing, the floor, kctx in its modes, and its peers as far as they are
//! installed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Load;
use crate::command;

/// How long a tracer may take until it measures.
const PATIENCE: Duration = Duration::from_secs(20);
/// What says nothing when it is ready is given so long: bpftrace and bcc compile first.
const SETTLE: Duration = Duration::from_secs(4);
/// How long one may take to end.
const LAST: Duration = Duration::from_secs(10);

/// Something that traces.
pub(crate) struct Tracer {
    pub(crate) name: &'static str,
    /// What it does, for the table.
    pub(crate) what: &'static str,
    argv: Vec<String>,
    ready: Ready,
}

enum Ready {
    /// It is nothing at all.
    AtOnce,
    /// With its first line.
    FirstLine,
    /// It does not say.
    Settled,
}

/// What the tracers are made of.
pub(crate) struct Programs<'a> {
    pub(crate) kctx: &'a Path,
    /// The program that attaches the floor, and the object that it attaches.
    pub(crate) attach: &'a Path,
    pub(crate) floor: &'a Path,
    /// For configurations and what tracers write.
    pub(crate) folder: &'a Path,
}

/// A kctx by its configuration.
struct Mode {
    name: &'static str,
    what: &'static str,
    config: &'static str,
}

const SOFTIRQ: Mode = Mode {
    name: "kctx softirq",
    what: "raise, entry, exit: wait, gross, net, where it ran, who raised it",
    config: "[probes]\nfamilies = [\"softirq\"]\n",
};
const NO_RAISE: Mode = Mode {
    name: "kctx softirq, no raise",
    what: "entry and exit: gross, net, where it ran",
    config: "[probes]\nfamilies = [\"softirq\"]\nwithout = [\"irq:softirq_raise\"]\n",
};
const SOFTIRQ_KTHREAD: Mode = Mode {
    name: "kctx softirq, kthread",
    what: "the same, and kernel threads",
    config: "[probes]\nfamilies = [\"softirq\", \"kthread\"]\n",
};
const HARDIRQ: Mode = Mode {
    name: "kctx hardirq",
    what: "handlers and vectors",
    config: "[probes]\nfamilies = [\"hardirq\"]\n",
};
const WORKQUEUE: Mode = Mode {
    name: "kctx workqueue",
    what: "queue, activate, start, end",
    config: "[probes]\nfamilies = [\"workqueue\"]\n",
};
const ALL: Mode = Mode {
    name: "kctx",
    what: "every family, as `kctx run` has it",
    config: "",
};

const SOFTIRQ_POINTS: [&str; 3] = ["softirq_raise", "softirq_entry", "softirq_exit"];
const SOFTIRQ_CLOCKS: [&str; 3] = [
    "softirq_raise_clock",
    "softirq_entry_clock",
    "softirq_exit_clock",
];
const SOFTIRQ_SUMS: [&str; 3] = ["softirq_raise_sum", "softirq_entry_sum", "softirq_exit_sum"];
const VECTOR_POINTS: [&str; 4] = [
    "irq_handler_entry",
    "irq_handler_exit",
    "local_timer_entry",
    "local_timer_exit",
];
const WORK_POINTS: [&str; 4] = [
    "workqueue_queue_work",
    "workqueue_activate_work",
    "workqueue_execute_start",
    "workqueue_execute_end",
];

const BPFTRACE: &str = "tracepoint:irq:softirq_entry { @start[cpu] = nsecs; } \
     tracepoint:irq:softirq_exit /@start[cpu]/ { @ns[args->vec] = hist(nsecs - @start[cpu]); delete(@start[cpu]); }";

/// The tracers for a load, untraced first, and which peers are not installed.
pub(crate) fn all(load: Load, programs: &Programs<'_>) -> Result<(Vec<Tracer>, Vec<String>)> {
    let mut tracers = vec![Tracer {
        name: "untraced",
        what: "",
        argv: Vec::new(),
        ready: Ready::AtOnce,
    }];
    let mut missing = Vec::new();
    let mut peer = |program: &str, name, what, arguments: &[&str]| match command::program(program) {
        Some(path) => {
            let mut argv = vec![text(&path)];
            argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
            Some(Tracer {
                name,
                what,
                argv,
                ready: Ready::Settled,
            })
        }
        None => {
            missing.push(program.to_owned());
            None
        }
    };
    let perf_data = text(&programs.folder.join("perf.data"));
    match load {
        Load::Udp => {
            for (name, what, names) in [
                (
                    "floor, 3 programs",
                    "three empty programs",
                    &SOFTIRQ_POINTS[..],
                ),
                (
                    "floor, 2 programs",
                    "empty programs at entry and exit",
                    &SOFTIRQ_POINTS[1..],
                ),
                (
                    "clock, 3 programs",
                    "three programs that read the clock, and no more",
                    &SOFTIRQ_CLOCKS[..],
                ),
                (
                    "clock, 2 programs",
                    "programs that read the clock at entry and exit, and no more",
                    &SOFTIRQ_CLOCKS[1..],
                ),
                (
                    "sums, 3 programs",
                    "three programs that add up waits and runs of all vectors together, and no more",
                    &SOFTIRQ_SUMS[..],
                ),
            ] {
                tracers.push(floor(programs, name, what, names));
            }
            for mode in [&SOFTIRQ, &NO_RAISE, &SOFTIRQ_KTHREAD, &ALL] {
                tracers.push(kctx(programs, mode)?);
            }
            let peers = [
                peer(
                    "softirqs",
                    "softirqs -d",
                    "libbpf-tools: entry and exit, a histogram in the kernel",
                    &["-d", "1000"],
                ),
                peer(
                    "bpftrace",
                    "bpftrace",
                    "entry and exit, a histogram in the kernel",
                    &["-e", BPFTRACE],
                ),
                peer(
                    "softirqs-bpfcc",
                    "softirqs-bpfcc -d",
                    "bcc: entry and exit, a histogram in the kernel",
                    &["-d", "1000"],
                ),
                peer(
                    "perf",
                    "perf kwork record",
                    "raise, entry and exit, written to a file",
                    &["kwork", "-k", "softirq", "record", "-o", &perf_data],
                ),
            ];
            tracers.extend(peers.into_iter().flatten());
        }
        Load::Timer | Load::Disk => {
            let what = "empty programs at handlers and the local timer";
            tracers.push(floor(programs, "floor, 4 programs", what, &VECTOR_POINTS));
            for mode in [&HARDIRQ, &ALL] {
                tracers.push(kctx(programs, mode)?);
            }
            let peers = [
                peer(
                    "hardirqs",
                    "hardirqs -d",
                    "libbpf-tools: handlers, a histogram in the kernel",
                    &["-d", "1000"],
                ),
                peer(
                    "perf",
                    "perf kwork record",
                    "interrupts and softirqs, written to a file",
                    &["kwork", "-k", "irq,softirq", "record", "-o", &perf_data],
                ),
            ];
            tracers.extend(peers.into_iter().flatten());
        }
        Load::Work => {
            let what = "four empty programs";
            tracers.push(floor(programs, "floor, 4 programs", what, &WORK_POINTS));
            for mode in [&WORKQUEUE, &ALL] {
                tracers.push(kctx(programs, mode)?);
            }
            tracers.extend(peer(
                "perf",
                "perf kwork record",
                "works, written to a file",
                &["kwork", "-k", "workqueue", "record", "-o", &perf_data],
            ));
        }
    }
    Ok((tracers, missing))
}

/// Those of the floor's programs that have these names.
fn floor(
    programs: &Programs<'_>,
    name: &'static str,
    what: &'static str,
    names: &[&str],
) -> Tracer {
    let mut argv = vec![text(programs.attach), text(programs.floor)];
    argv.extend(names.iter().map(|name| (*name).to_owned()));
    Tracer {
        name,
        what,
        argv,
        ready: Ready::FirstLine,
    }
}

fn kctx(programs: &Programs<'_>, mode: &Mode) -> Result<Tracer> {
    let config = programs
        .folder
        .join(format!("{}.toml", mode.name.replace([' ', ','], "_")));
    // Not while the kernel counts run times: that is the first second's alone, and costs by itself.
    let text_of_it = format!("{}[meter]\nsample = \"0s\"\n", mode.config);
    std::fs::write(&config, text_of_it)
        .with_context(|| format!("cannot write {}", config.display()))?;
    Ok(Tracer {
        name: mode.name,
        what: mode.what,
        argv: vec![
            text(programs.kctx),
            "run".to_owned(),
            "--config".to_owned(),
            text(&config),
        ],
        ready: Ready::FirstLine,
    })
}

fn text(path: &Path) -> String {
    PathBuf::from(path).to_string_lossy().into_owned()
}

/// A tracer at work.
pub(crate) struct Running {
    child: Option<Child>,
    name: &'static str,
}

impl Tracer {
    /// Whether it is none of kctx's own: then it may be missing or refuse.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.ready, Ready::Settled)
    }

    /// Starts it, and waits until it measures.
    pub(crate) fn start(&self) -> Result<Running> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Ok(Running {
                child: None,
                name: self.name,
            });
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let stdout = child.stdout.take().context("a piped output is there")?;
        let (said, line) = std::sync::mpsc::channel();
        // What it writes is read all the time, so that it never waits for us.
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut first = String::new();
            let _ = stdout.read_line(&mut first);
            let _ = said.send(());
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let running = Running {
            child: Some(child),
            name: self.name,
        };
        match self.ready {
            Ready::AtOnce => {}
            Ready::FirstLine => line
                .recv_timeout(PATIENCE)
                .with_context(|| format!("{} does not begin to measure", self.name))?,
            Ready::Settled => std::thread::sleep(SETTLE),
        }
        running.check()
    }
}

impl Running {
    fn check(mut self) -> Result<Self> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("{} ended by itself ({status})", self.name);
        }
        Ok(self)
    }

    /// Ends it as a terminal would, and waits until it is gone.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.check_and_take()? else {
            return Ok(());
        };
        drop(child.stdin.take());
        let pid = child.id().to_string();
        command::capture(Command::new("kill").args(["-INT", &pid]))?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > LAST {
                child.kill()?;
                child.wait()?;
                bail!("{} did not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn check_and_take(&mut self) -> Result<Option<Child>> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("{} ended in the middle ({status})", self.name);
        }
        Ok(self.child.take())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
