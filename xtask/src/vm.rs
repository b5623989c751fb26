//! `cargo xtask vm`: the live tests on other kernels.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::build::{self, Object};
use crate::guest::{Guest, Programs};
use crate::kernels::{self, Kernel};
use crate::libtest::Counts;
use crate::matrix::{self, Config};
use crate::results::{self, Group};
use crate::workspace::Workspace;
use crate::{initramfs, kernels_doc, setup};

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
    pub(crate) append: String,
    /// Have the VMs' clock count instructions, a nanosecond each: for the tests of what kctx costs
    #[arg(long)]
    pub(crate) count_instructions: bool,
    /// Seconds after which a VM is ended
    #[arg(long, default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// VMs at a time [default: as many as this machine has processors]
    #[arg(long, value_parser = jobs)]
    jobs: Option<usize>,
    /// A filter or other arguments for the test program
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
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
    pub(crate) fn is_whole(&self) -> bool {
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
        Ok(kernel) => Guest {
            ws,
            config: &configs[i],
            kernel,
            programs: &programs,
            settings,
        }
        .test(),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
