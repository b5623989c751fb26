//! One VM: what runs inside, its boot, and a second try of the few tests that failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::Object;
use crate::console::Console;
use crate::kernels::Kernel;
use crate::libtest::{Verdicts, second_try};
use crate::matrix::Config;
use crate::qemu::{self, Boot};
use crate::record::Record;
use crate::results::Group;
use crate::vm::Settings;
use crate::workspace::Workspace;
use crate::{command, dist, initramfs};

/// The word on the kernel's command line that init.sh hides BTF by.
const NO_BTF: &str = "kctx.no_btf";
/// The word that tells init.sh of a clock that counts instructions.
const INSTRUCTIONS: &str = "kctx.instructions";

/// How often a kernel is booted that ends by itself before init has said a word: an emulated one dies of that
/// now and then, and kctx has no part in it.
const BOOTS: u32 = 3;

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

/// A VM that can be started.
pub(crate) struct Guest<'a> {
    pub(crate) ws: &'a Workspace,
    pub(crate) config: &'a Config,
    pub(crate) kernel: &'a Kernel,
    pub(crate) programs: &'a Programs,
    pub(crate) settings: &'a Settings,
}

impl Guest<'_> {
    fn name(&self) -> String {
        format!("VM {}", self.config.title())
    }

    /// Runs the tests that the settings ask for, and once more, alone, the few of them that fail.
    pub(crate) fn test(&self) -> Group {
        let (name, start) = (self.name(), Instant::now());
        let mut console = Console::default();
        let log = self.log("log");
        let ended = self.boot(&log, &mut console);
        let took = start.elapsed();
        let (trouble, of_record) = match ended {
            Ok(true) => (console.trouble(&log), console.what_went_wrong()),
            Ok(false) => {
                let what = format!("not done after {} s", self.settings.timeout);
                let told = format!("{what}; the console is in {}", log.display());
                (Some(told), Some(what))
            }
            // No result of the kernel's.
            Err(error) => {
                return Group::ran(&name, console.counts, took, Some(format!("{error:#}")));
            }
        };
        // What is known of a kernel is of the first try.
        let record = Record::new(self.config, &console, took.as_secs(), of_record);
        let left_out = std::mem::take(&mut console.left_out);
        if let Err(error) = record.write(self.ws, self.config, self.settings.is_whole()) {
            return Group::ran(&name, console.counts, took, Some(format!("{error:#}")));
        }
        let passed = match trouble {
            None => second_try(&console.verdicts, |tests| self.start_again(tests)),
            Some(_) => Vec::new(),
        };
        Group::ran(&name, console.counts, start.elapsed(), trouble)
            .with_left_out(left_out)
            .with_second_try(passed)
    }

    fn log(&self, extension: &str) -> PathBuf {
        let file = format!("vm/logs/{}.{extension}", self.config.slug());
        self.ws.target.join(file)
    }

    /// True if the VM ended by itself.
    fn boot(&self, log: &Path, console: &mut Console) -> Result<bool> {
        let name = self.name();
        eprintln!(
            "==> {name}: {} (up to {} s)",
            self.kernel.release, self.settings.timeout
        );
        for _ in 1..BOOTS {
            let ended = self.start(&self.settings.arguments, log, console)?;
            if !ended || console.release.is_some() {
                return Ok(ended);
            }
            eprintln!("==> {name}: the kernel ended before the tests; once more");
        }
        self.start(&self.settings.arguments, log, console)
    }

    /// What becomes of `tests` in a VM of their own.
    fn start_again(&self, tests: &[String]) -> Result<Verdicts> {
        let name = self.name();
        eprintln!("==> {name}: a second try of {}", tests.join(", "));
        let mut console = Console::default();
        let mut arguments = tests.to_owned();
        arguments.push("--exact".to_owned());
        self.start(&arguments, &self.log("again.log"), &mut console)?;
        Ok(console.verdicts)
    }

    /// Starts it with `arguments` for the test program; true if it ended by itself.
    fn start(&self, arguments: &[String], log: &Path, console: &mut Console) -> Result<bool> {
        let (ws, config) = (self.ws, self.config);
        if let Some(bad) = arguments.iter().find(|word| word.contains('\n')) {
            bail!("a test argument may not hold a line break: {bad:?}");
        }
        // One for each, so that several can be started at a time.
        let file = format!("vm/{}.{}.cpio", config.slug(), std::process::id());
        let initramfs = ws.target.join(file);
        let programs = self.programs;
        initramfs::write(
            ws,
            self.kernel,
            &programs.kctx,
            &programs.live,
            arguments,
            &initramfs,
        )?;
        if let Some(logs) = log.parent() {
            fs::create_dir_all(logs)
                .with_context(|| format!("cannot create {}", logs.display()))?;
        }
        let boot = Boot {
            image: &self.kernel.image,
            initramfs: &initramfs,
            cpus: config.cpus,
            count_instructions: self.settings.count_instructions,
            append: &append(config, self.settings),
            timeout: Duration::from_secs(self.settings.timeout),
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
    fn the_test_program_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"kctx\"},\"executable\":\"/a\"}\n\
            not json\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"live\"},\"executable\":\"/b\"}\n";
        assert_eq!(executable(messages, "live").ok().as_deref(), Some("/b"));
        assert!(executable(messages, "e2e").is_err());
    }
}
