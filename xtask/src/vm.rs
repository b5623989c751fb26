//! `cargo xtask vm`: the live tests on other kernels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Object};
use crate::kernels::{self, Kernel};
use crate::libtest::Counts;
use crate::qemu::{self, Boot};
use crate::results::{self, Group};
use crate::workspace::Workspace;
use crate::{command, dist, initramfs, setup};

/// How the init script starts each line of its own.
const MARKER: &str = "KCTX-VM ";

/// What `cargo xtask vm` takes.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// 5.10, 6.1, 6.12, 7.2 (Debian's), or the path of a kernel image or package
    #[arg(long = "kernel", value_name = "KERNEL", num_args = 1.., default_values = kernels::DEFAULT)]
    pub(crate) kernels: Vec<String>,
    /// Processors of each VM
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// More of the kernel's command line
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Seconds after which a VM is ended
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// A filter or other arguments for the test program
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kernels: kernels::DEFAULT.map(str::to_owned).to_vec(),
            cpus: 2,
            append: String::new(),
            timeout: 600,
            arguments: Vec::new(),
        }
    }
}

/// The command: what was asked for and could not be run is a failure.
pub(crate) fn run(ws: &Workspace, options: &Options) -> Result<ExitCode> {
    // A slip of the keyboard should not cost a build.
    for kernel in &options.kernels {
        kernels::check_name(kernel)?;
    }
    let object = build::bpf(ws)?;
    Ok(results::finish(&groups(ws, &object, options), true))
}

/// One group of results for each kernel.
pub(crate) fn groups(ws: &Workspace, object: &Object, options: &Options) -> Vec<Group> {
    let for_all = |group: &dyn Fn(&str) -> Group| {
        let names = options.kernels.iter();
        names.map(|kernel| group(&format!("VM {kernel}"))).collect()
    };
    if let Object::Unavailable(reason) = object {
        return for_all(&|name| Group::not_run(name, reason.clone()));
    }
    if let Err(error) = setup::qemu(ws).and_then(|()| initramfs::busybox(ws)) {
        return for_all(&|name| Group::not_run(name, format!("{error:#}")));
    }
    let start = Instant::now();
    let programs = match Programs::build(ws, object) {
        Ok(programs) => programs,
        Err(error) => {
            let trouble = Some(format!("{error:#}"));
            return for_all(&|name| {
                Group::ran(name, Counts::default(), start.elapsed(), trouble.clone())
            });
        }
    };
    let kernels = options.kernels.iter();
    kernels
        .map(|name| match kernels::get(ws, name) {
            Ok(kernel) => boot(ws, &kernel, &programs, options),
            Err(error) => Group::not_run(&format!("VM {name}"), format!("{error:#}")),
        })
        .collect()
}

/// What runs inside: both statically linked, since there is no library in there.
struct Programs {
    kctx: PathBuf,
    live: PathBuf,
}

impl Programs {
    fn build(ws: &Workspace, object: &Object) -> Result<Self> {
        let kctx = dist::dist_with(ws, object)?;
        let mut cargo = dist::static_cargo(ws);
        cargo
            .args(["test", "--package", "kctx-tests", "--test", "live"])
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

fn boot(ws: &Workspace, kernel: &Kernel, programs: &Programs, options: &Options) -> Group {
    let name = format!("VM {}", kernel.release);
    eprintln!("==> {name} (up to {} s)", options.timeout);
    let start = Instant::now();
    let mut console = Console::default();
    let ended = start_vm(ws, kernel, programs, options, &mut console);
    let trouble = match ended {
        Ok((true, log)) => console.trouble(&log),
        Ok((false, log)) => Some(format!(
            "not done after {} s; the console is in {}",
            options.timeout,
            log.display()
        )),
        Err(error) => Some(format!("{error:#}")),
    };
    Group::ran(&name, console.counts, start.elapsed(), trouble)
}

fn start_vm(
    ws: &Workspace,
    kernel: &Kernel,
    programs: &Programs,
    options: &Options,
    console: &mut Console,
) -> Result<(bool, PathBuf)> {
    if let Some(bad) = options.arguments.iter().find(|word| word.contains('\n')) {
        bail!("a test argument may not hold a line break: {bad:?}");
    }
    let initramfs = initramfs::write(
        ws,
        kernel,
        &programs.kctx,
        &programs.live,
        &options.arguments,
    )?;
    let logs = ws.target.join("vm/logs");
    fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let log = logs.join(format!("{}.log", kernel.release));
    let boot = Boot {
        image: &kernel.image,
        initramfs: &initramfs,
        cpus: options.cpus,
        append: &options.append,
        timeout: Duration::from_secs(options.timeout),
        log: &log,
    };
    let ended = qemu::boot(&boot, |line| {
        println!("{}| {line}", kernel.release);
        console.read(line);
    })?;
    Ok((ended, log))
}

/// What the console has said so far.
#[derive(Default)]
struct Console {
    counts: Counts,
    started: bool,
    exit: Option<i32>,
}

impl Console {
    fn read(&mut self, line: &str) {
        self.counts.read(line);
        // A kernel message may come before it on the same line.
        if let Some((_, said)) = line.split_once(MARKER) {
            self.started |= said.starts_with("kernel ");
            if let Some(code) = said.strip_prefix("exit ") {
                self.exit = code.trim().parse().ok();
            }
        }
    }

    /// What went wrong that no failed test tells.
    fn trouble(&self, log: &Path) -> Option<String> {
        let what = match self.exit {
            None if self.started => "the VM ended during the tests".to_owned(),
            None => "the VM did not get to the tests".to_owned(),
            Some(0) if self.counts == Counts::default() => "no test was run".to_owned(),
            Some(0) => return None,
            Some(_) if self.counts.failed > 0 => return None,
            Some(code) => format!("the test program ended with {code}"),
        };
        Some(format!("{what}; the console is in {}", log.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.read(line);
        }
        console
    }

    const OK: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";
    const BAD: &str = "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured";

    #[test]
    fn only_a_marker_of_success_with_tests_is_good() {
        let log = Path::new("log");
        let good = console(&["KCTX-VM kernel 6.1", OK, "[ 1.2] noiseKCTX-VM exit 0"]);
        assert_eq!(good.trouble(log), None);
        assert_eq!(
            good.counts,
            Counts {
                passed: 2,
                failed: 0
            }
        );
        assert_eq!(
            console(&["KCTX-VM kernel 6.1", BAD, "KCTX-VM exit 101"]).trouble(log),
            None
        );
        for (lines, says) in [
            (&["SeaBIOS"][..], "did not get to"),
            (&["KCTX-VM kernel 6.1", OK][..], "ended during"),
            (&["KCTX-VM kernel 6.1", "KCTX-VM exit 0"][..], "no test"),
            (&["KCTX-VM kernel 6.1", "KCTX-VM exit 139"][..], "with 139"),
        ] {
            let trouble = console(lines).trouble(log).unwrap_or_default();
            assert!(trouble.contains(says), "{trouble}");
        }
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
