//! What a developer of kctx does: `cargo xtask setup|build|run|test|vm|kernels|bench|ci|dist`.
//!
//! Every command finds or installs what it needs, skips what is already done, and says in one line
//! what failed and what to do about it.

#![forbid(unsafe_code)]

mod apt;
mod bench;
mod build;
mod ci;
mod command;
mod console;
mod cpio;
mod dist;
mod elf;
mod guest;
mod initramfs;
mod kernels;
mod kernels_doc;
mod libtest;
mod licences;
mod made_part;
mod matrix;
mod modules;
mod qemu;
mod record;
mod results;
mod run;
mod servers;
mod setup;
mod suite;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install the BPF compiler and linker, and with --vm what the VM tests need
    Setup {
        /// Also QEMU, busybox and the kernels of the VM tests
        #[arg(long)]
        vm: bool,
    },
    /// Build target/release/kctx with its eBPF programs inside
    Build,
    /// Set up, build and start `kctx run`, as root through sudo where that is needed
    Run {
        /// Arguments for `kctx run`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Every test this machine permits: unit, property, replay, e2e, live, and VMs
    Test,
    /// The live tests in a VM, on other kernels
    Vm(vm::Options),
    /// Make the table in docs/kernels.md of the results of `cargo xtask vm --matrix`
    Kernels,
    /// Measure what kctx costs, beside the floor and its peers
    Bench(bench::Options),
    /// What CI checks besides the tests: format, lints, docs, licences
    Ci,
    /// Build a statically linked target/dist/kctx
    Dist,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let ws = Workspace::find()?;
    match command {
        Command::Setup { vm } => setup::all(&ws, vm)?,
        Command::Build => {
            build::release(&ws)?;
        }
        Command::Run { args } => run::run(&ws, &args)?,
        Command::Test => return test::run(&ws),
        Command::Vm(options) => return vm::run(&ws, &options),
        Command::Kernels => kernels_doc::write(&ws)?,
        Command::Bench(options) => bench::run(&ws, &options)?,
        Command::Ci => ci::run(&ws)?,
        Command::Dist => {
            dist::dist(&ws)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
