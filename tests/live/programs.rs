//! The programs' sizes, against the table of them: what grows is seen.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use kctx_tests::{kernel, left_out::left_out, program::Running};
use rustix::process::Signal;

use crate::{alone, without_btf};

/// Instructions that the verifier looks at, by program. It became better at seeing that two ways are one: a column for
/// 6.12 and later kernels, and one for those before.
const TABLE: &str = include_str!("../data/verified_instructions.tsv");

/// The table is of some kernels and some compilers: others may do with a few more.
fn is_grown(seen: u32, table: u32) -> bool {
    seen > table + table / 10 + 20
}

/// The table's column for this kernel.
fn table() -> Result<BTreeMap<&'static str, u32>> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let (major, minor) = (
        numbers.next().context("no release")??,
        numbers.next().context("no release")??,
    );
    let column = if (major, minor) >= (6, 12) { 1 } else { 2 };
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let count = cells.get(column).context("a name and two numbers")?;
            Ok((cells[0], count.parse()?))
        })
        .collect()
}

#[test]
fn no_program_has_grown() -> Result<()> {
    let _alone = alone();
    if without_btf() {
        left_out("the table is of the programs that BTF allows");
        return Ok(());
    }
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
