//! Attaches the empty programs of `floor`, an object that `cargo xtask bench` builds, until its standard input ends.
//!
//! `cargo run --release --example attach_floor -- OBJECT TRACEPOINT...`

use std::io::Read as _;

use anyhow::{Context as _, bail};
use aya::{Btf, Ebpf, programs::BtfTracePoint};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(object) = args.next() else {
        bail!("give the object, and the tracepoints to attach to");
    };
    let mut ebpf = Ebpf::load_file(&object).with_context(|| format!("cannot load {object}"))?;
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let mut attached = 0;
    for tracepoint in args {
        let program = (ebpf.program_mut(&tracepoint))
            .with_context(|| format!("{object} has no program for {tracepoint}"))?;
        let program: &mut BtfTracePoint = program.try_into()?;
        // Not each kernel has each: what is measured beside it is not attached there either.
        if let Err(error) = program.load(&tracepoint, &btf) {
            eprintln!("{tracepoint} is left out: {error}");
            continue;
        }
        program.attach()?;
        attached += 1;
    }
    println!("attached {attached}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
