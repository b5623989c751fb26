//! Makes a situation, and runs a command in the middle of it, in the same network namespace.
//!
//! `cargo run -p kctx-tests --example situation -- NAME CPU OTHER kctx diagnose --window 5s`

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use kctx_tests::situation;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, cpu, other, program, rest @ ..] = &arguments[..] else {
        bail!(
            "NAME CPU OTHER COMMAND...; names are {}",
            situation::NAMES.join(", ")
        );
    };
    let (name, program, rest) = (name.clone(), program.clone(), rest.to_vec());
    let (cpu, other) = (cpu.parse()?, other.parse()?);
    situation::in_network(move || {
        let situation = situation::make(&name, cpu, other)?;
        std::thread::sleep(situation::SETTLE);
        let ended = Command::new(&program)
            .args(rest)
            .status()
            .with_context(|| format!("cannot start {program}"))?;
        drop(situation);
        anyhow::ensure!(ended.success(), "{program}: {ended}");
        Ok(())
    })
}
