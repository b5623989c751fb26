//! The programs' sizes, against the table of them: what grows is seen.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use kctx_tests::{kernel, program::Running};
use rustix::process::Signal;

use crate::alone;

/// Instructions that the verifier looked at, by program: the most of all kernels in docs/kernels.md.
const TABLE: &str = include_str!("../data/verified_instructions.tsv");

/// The table is of some kernels and some compilers: others may do with a few more.
fn is_grown(seen: u32, table: u32) -> bool {
    seen > table + table / 10 + 20
}

fn table() -> Result<BTreeMap<&'static str, u32>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, count) = line.split_once('\t').context("a name, a tab, a number")?;
            Ok((name, count.parse()?))
        })
        .collect()
}

#[test]
fn no_program_has_grown() -> Result<()> {
    let _alone = alone();
    let mut daemon = Running::kctx(["run", "--interval", "200ms", "--duration", "60s"])?;
    daemon.wait_until_open()?;
    let ids = kernel::programs_of(daemon.pid())?;
    // The kernel keeps 15 characters of a name: some programs share theirs, and the larger counts.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for info in loaded_programs()
        .flatten()
        .filter(|info| ids.contains(&info.id()))
    {
        let name = info.name_as_str().unwrap_or_default().to_owned();
        // Since 5.16; 0 before.
        let count = info.verified_instruction_count().unwrap_or(0);
        let most = seen.entry(name).or_default();
        *most = (*most).max(count);
    }
    daemon.signal(Signal::TERM)?;
    let _ = daemon.wait(std::time::Duration::from_secs(20))?;
    assert!(seen.len() >= 9, "{seen:?}");
    let table = table()?;
    let mut grown = Vec::new();
    for (name, count) in &seen {
        println!("verified\t{name}\t{count}");
        match table.get(name.as_str()) {
            Some(&known) if is_grown(*count, known) => {
                grown.push(format!("{name}: {count}, in the table {known}"));
            }
            Some(_) => {}
            None => grown.push(format!("{name}: {count}, not in the table")),
        }
    }
    assert!(
        grown.is_empty(),
        "more for the verifier to look at, and to run; if it is worth it, change tests/data/verified_instructions.tsv: {grown:?}"
    );
    Ok(())
}
