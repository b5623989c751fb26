//! Attaches programs of `floor`, an object that `cargo xtask bench` builds, until its standard input ends: a tracepoint's
//! empty one by the tracepoint's name, the one that reads the clock by that name and `_clock`, the one that adds up by `_sum`.
//!
//! `cargo run --release --example attach_floor -- OBJECT PROGRAM...`

use std::io::Read as _;

use anyhow::{Context as _, bail};
use aya::{Btf, Ebpf, programs::BtfTracePoint};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(object) = args.next() else {
        bail!("give the object, and the programs to attach");
    };
    let mut ebpf = Ebpf::load_file(&object).with_context(|| format!("cannot load {object}"))?;
    let btf = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let mut attached = 0;
    for name in args {
        let tracepoint = ["_clock", "_sum"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(&name);
        let program =
            (ebpf.program_mut(&name)).with_context(|| format!("{object} has no program {name}"))?;
        let program: &mut BtfTracePoint = program.try_into()?;
        // Not each kernel has each: what is measured beside it is not attached there either.
        if let Err(error) = program.load(tracepoint, &btf) {
            eprintln!("{tracepoint} is left out: {error}");
            continue;
        }
        program.attach()?;
        attached += 1;
    }
    if attached == 0 {
        bail!("none of them can be attached");
    }
    println!("attached {attached}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
