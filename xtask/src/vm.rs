//! `cargo xtask vm`: the live tests on other kernels.

use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Object};
use crate::console::Console;
use crate::kernels::{self, Kernel};
use crate::libtest::Counts;
use crate::matrix::{self, Config};
use crate::qemu::{self, Boot};
use crate::record::Record;
use crate::results::{self, Group};
use crate::workspace::Workspace;
use crate::{command, dist, initramfs, kernels_doc, setup};

/// The word on the kernel's command line that init.sh hides BTF by.
const NO_BTF: &str = "kctx.no_btf";
/// The word that tells init.sh of a clock that counts instructions.
const INSTRUCTIONS: &str = "kctx.instructions";

/// How often a kernel is booted that ends by itself before init has said a word: an emulated one dies of that
/// now and then, and kctx has no part in it.
const BOOTS: u32 = 3;

/// What `cargo xtask vm` takes.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// 5.10, 6.1, 6.12, 7.2 (Debian's; also with -rt or -cloud after it), or the path of a kernel image or
    /// package [default: those four, then 6.12 with 16 processors, then 6.12 without BTF]
    #[arg(long = "kernel", value_name = "KERNEL", num_args = 1..)]
    kernels: Vec<String>,
    /// Every configuration that docs/kernels.md tells of
    #[arg(long, conflicts_with_all = ["kernels", "cpus", "no_btf"])]
    matrix: bool,
    /// Processors of each VM [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Option<u32>,
    /// Hide the kernel's BTF in the VMs
    #[arg(long)]
    no_btf: bool,
    /// Make the table in docs/kernels.md of these results and those of earlier runs
    #[arg(long)]
    write_docs: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What holds for each VM alike.
#[derive(Args, Clone)]
pub(crate) struct Settings {
    /// More of the kernel's command line
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Have the VMs' clock count instructions, a nanosecond each: for the tests of what kctx costs
    #[arg(long)]
    pub(crate) count_instructions: bool,
    /// Seconds after which a VM is ended
    #[arg(long, default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// VMs at a time [default: as many as this machine has processors]
    #[arg(long, value_parser = jobs)]
    jobs: Option<usize>,
    /// A filter or other arguments for the test program
    #[arg(last = true)]
    arguments: Vec<String>,
}

const TIMEOUT: u64 = 1800;

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on".to_owned()),
        Ok(jobs) => Ok(jobs),
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            append: String::new(),
            count_instructions: false,
            timeout: TIMEOUT,
            jobs: None,
            arguments: Vec::new(),
        }
    }
}

impl Settings {
    /// All tests but those whose names hold one of `words`.
    pub(crate) fn without(words: &[&str]) -> Self {
        let skips = words.iter().flat_map(|word| ["--skip", word]);
        Self {
            arguments: skips.map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    /// Whether all tests run, on a kernel as it is.
    fn is_whole(&self) -> bool {
        self.append.is_empty() && !self.count_instructions && self.arguments.is_empty()
    }
}

/// The command: what was asked for and could not be run is a failure.
pub(crate) fn run(ws: &Workspace, options: &Options) -> Result<ExitCode> {
    // A slip of the keyboard should not cost a build.
    for kernel in &options.kernels {
        kernels::check_name(kernel)?;
    }
    let configs = matrix::chosen(
        &options.kernels,
        options.cpus,
        options.no_btf,
        options.matrix,
    );
    let object = build::bpf(ws)?;
    let groups = groups(ws, &object, &configs, &options.settings, None);
    let code = results::finish(&groups, true);
    if options.write_docs {
        kernels_doc::write(ws)?;
    }
    Ok(code)
}

/// One group of results for each configuration; with the programs that run inside, where somebody has built them already.
pub(crate) fn groups(
    ws: &Workspace,
    object: &Object,
    configs: &[Config],
    settings: &Settings,
    built: Option<Result<Programs>>,
) -> Vec<Group> {
    let for_all = |group: &dyn Fn(&str) -> Group| {
        let titles = configs.iter().map(Config::title);
        titles.map(|title| group(&format!("VM {title}"))).collect()
    };
    if let Object::Unavailable(reason) = object {
        return for_all(&|name| Group::not_run(name, reason.clone()));
    }
    if let Err(error) = setup::qemu(ws).and_then(|()| initramfs::busybox(ws)) {
        return for_all(&|name| Group::not_run(name, format!("{error:#}")));
    }
    let start = Instant::now();
    let programs = match built.unwrap_or_else(|| Programs::build(ws, object)) {
        Ok(programs) => programs,
        Err(error) => {
            let trouble = Some(format!("{error:#}"));
            return for_all(&|name| {
                Group::ran(name, Counts::default(), start.elapsed(), trouble.clone())
            });
        }
    };
    // One after the other: they share apt's directories.
    let kernels: Vec<Result<Kernel>> = configs
        .iter()
        .map(|config| kernels::get(ws, &config.kernel))
        .collect();
    let jobs = settings.jobs.unwrap_or_else(processors);
    in_parallel(jobs, configs.len(), |i| match &kernels[i] {
        Ok(kernel) => boot(ws, &configs[i], kernel, &programs, settings),
        Err(error) => {
            let name = format!("VM {}", configs[i].title());
            Group::not_run(&name, format!("{error:#}"))
        }
    })
}

/// As many VMs as there are processors: each has one thread of the host's.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What `job` gives for 0, 1 and so on below `count`, in that order; at most `jobs` of them at a time.
fn in_parallel<T: Send>(jobs: usize, count: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return done;
            }
            done.push((i, job(i)));
        }
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.min(count)).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(ScopedJoinHandle::join);
        results
            .flat_map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What runs inside: both statically linked, since there is no library in there.
pub(crate) struct Programs {
    kctx: PathBuf,
    live: PathBuf,
}

impl Programs {
    pub(crate) fn build(ws: &Workspace, object: &Object) -> Result<Self> {
        let kctx = dist::dist_with(ws, object)?;
        let mut cargo = dist::static_cargo(ws);
        cargo
            // Optimized as kctx is, so that its crates are built once: an emulated processor is slow enough.
            .args([
                "test",
                "--release",
                "--package",
                "kctx-tests",
                "--test",
                "live",
            ])
            .args(["--no-run", "--message-format=json-render-diagnostics"])
            .args(["--target", &ws.host])
            .stderr(Stdio::inherit());
        object.apply(&mut cargo);
        let messages =
            command::capture(&mut cargo).context("the live tests do not build for a VM")?;
        let live = PathBuf::from(executable(&messages, "live")?);
        dist::check_static(&live)?;
        Ok(Self { kctx, live })
    }
}

/// The program that cargo's JSON messages say it made of the target `name`.
fn executable(messages: &str, name: &str) -> Result<String> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(str::to_owned))
        .with_context(|| format!("cargo made no program of the test target {name}"))
}

fn boot(
    ws: &Workspace,
    config: &Config,
    kernel: &Kernel,
    programs: &Programs,
    settings: &Settings,
) -> Group {
    let name = format!("VM {}", config.title());
    eprintln!(
        "==> {name}: {} (up to {} s)",
        kernel.release, settings.timeout
    );
    let start = Instant::now();
    let mut console = Console::default();
    let log = ws.target.join(format!("vm/logs/{}.log", config.slug()));
    let mut ended = start_vm(ws, config, kernel, programs, settings, &log, &mut console);
    for _ in 1..BOOTS {
        if !matches!(ended, Ok(true)) || console.release.is_some() {
            break;
        }
        eprintln!("==> {name}: the kernel ended before the tests; once more");
        ended = start_vm(ws, config, kernel, programs, settings, &log, &mut console);
    }
    let took = start.elapsed();
    let (trouble, of_record) = match ended {
        Ok(true) => (console.trouble(&log), console.what_went_wrong()),
        Ok(false) => {
            let what = format!("not done after {} s", settings.timeout);
            let told = format!("{what}; the console is in {}", log.display());
            (Some(told), Some(what))
        }
        // No result of the kernel's.
        Err(error) => return Group::ran(&name, console.counts, took, Some(format!("{error:#}"))),
    };
    let record = Record::new(config, &console, took.as_secs(), of_record);
    let left_out = std::mem::take(&mut console.left_out);
    if let Err(error) = record.write(ws, config, settings.is_whole()) {
        return Group::ran(&name, console.counts, took, Some(format!("{error:#}")));
    }
    Group::ran(&name, console.counts, took, trouble).with_left_out(left_out)
}

/// Runs the tests; true if the VM ended by itself.
fn start_vm(
    ws: &Workspace,
    config: &Config,
    kernel: &Kernel,
    programs: &Programs,
    settings: &Settings,
    log: &Path,
    console: &mut Console,
) -> Result<bool> {
    if let Some(bad) = settings.arguments.iter().find(|word| word.contains('\n')) {
        bail!("a test argument may not hold a line break: {bad:?}");
    }
    // One for each, so that several can be started at a time.
    let file = format!("vm/{}.{}.cpio", config.slug(), std::process::id());
    let initramfs = ws.target.join(file);
    initramfs::write(
        ws,
        kernel,
        &programs.kctx,
        &programs.live,
        &settings.arguments,
        &initramfs,
    )?;
    if let Some(logs) = log.parent() {
        fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
    }
    let boot = Boot {
        image: &kernel.image,
        initramfs: &initramfs,
        cpus: config.cpus,
        count_instructions: settings.count_instructions,
        append: &append(config, settings),
        timeout: Duration::from_secs(settings.timeout),
        log,
    };
    let ended = qemu::boot(&boot, |line| {
        println!("{}| {line}", config.slug());
        console.read(line);
    });
    // It is large, and quickly made again.
    let _ = fs::remove_file(&initramfs);
    ended
}

/// What is added to the kernel's command line.
fn append(config: &Config, settings: &Settings) -> String {
    let no_btf = if config.btf { "" } else { NO_BTF };
    let counts = if settings.count_instructions {
        INSTRUCTIONS
    } else {
        ""
    };
    let words = [no_btf, counts, &settings.append];
    let words = words.into_iter().filter(|words| !words.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_done_once_each_and_in_order() {
        for jobs in [1, 3, 8] {
            let at_a_time = AtomicUsize::new(0);
            let results = in_parallel(jobs, 5, |i| {
                let now = at_a_time.fetch_add(1, Ordering::SeqCst) + 1;
                thread::sleep(Duration::from_millis(5 - i as u64));
                at_a_time.fetch_sub(1, Ordering::SeqCst);
                assert!(now <= jobs);
                i
            });
            assert_eq!(results, [0, 1, 2, 3, 4]);
        }
        assert!(in_parallel(2, 0, |i| i).is_empty());
    }

    #[test]
    fn the_test_program_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"kctx\"},\"executable\":\"/a\"}\n\
            not json\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"live\"},\"executable\":\"/b\"}\n";
        assert_eq!(executable(messages, "live").ok().as_deref(), Some("/b"));
        assert!(executable(messages, "e2e").is_err());
    }
}
