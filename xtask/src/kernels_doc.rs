//! `cargo xtask kernels`: the table of what works where in docs/kernels.md, made from the VMs' records.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Result, bail};

use crate::made_part::MadePart;
use crate::matrix::{self, Config};
use crate::record::{self, Probe, Record};
use crate::workspace::Workspace;

const TABLE: MadePart = MadePart {
    file: "docs/kernels.md",
    begin: "<!-- The table: made by `cargo xtask kernels`, not by hand. -->",
    end: "<!-- The table ends. -->",
};

/// The families' order in the table; others come after them by name.
const FAMILIES: [&str; 7] = [
    "softirq",
    "hardirq",
    "workqueue",
    "tasklet",
    "napi",
    "kthread",
    "module",
];

/// Makes the table anew.
pub(crate) fn write(ws: &Workspace) -> Result<()> {
    let (records, missing) = record::all(ws, &matrix::full())?;
    if !missing.is_empty() {
        let titles: Vec<String> = missing.iter().map(Config::title).collect();
        bail!(
            "{} is left as it is, since there is no result yet of {}: run `cargo xtask vm --matrix`",
            TABLE.file,
            titles.join("; ")
        );
    }
    TABLE.write(ws, &table(records))?;
    eprintln!("kernels: {} is as the results are", TABLE.file);
    Ok(())
}

/// The table with its notes. Kernels that were named by path are left out: nobody else may have them.
fn table(mut records: Vec<Record>) -> String {
    records.retain(|record| record.debian);
    records.sort_by_cached_key(order);
    let families = families(&records);
    let mut notes = Notes::default();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "| kernel | release | CPUs | BTF | {} | live tests |",
        families.join(" | ")
    );
    let _ = writeln!(text, "|{}", "---|".repeat(5 + families.len()));
    for record in &records {
        let btf = if record.btf { "yes" } else { "hidden" };
        let release = record.release.as_deref().unwrap_or("?");
        let _ = write!(
            text,
            "| {} | {release} | {} | {btf} |",
            record.kernel, record.cpus
        );
        for family in &families {
            let _ = write!(text, " {} |", family_cell(record, family, &mut notes));
        }
        let _ = writeln!(text, " {} |", tests_cell(record, &mut notes));
    }
    if !notes.0.is_empty() {
        text.push('\n');
    }
    for (index, note) in notes.0.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", index + 1);
    }
    text
}

/// By version, then flavour; with BTF before without; by number of processors.
fn order(record: &Record) -> (Vec<u32>, String, bool, u32) {
    let version = record.kernel.split('-').next().unwrap_or_default();
    let version = version.split('.').map(|part| part.parse().unwrap_or(0));
    (
        version.collect(),
        record.flavour.clone(),
        !record.btf,
        record.cpus,
    )
}

fn families(records: &[Record]) -> Vec<String> {
    let probes = records.iter().flat_map(|record| &record.probes);
    let all: BTreeSet<&str> = probes.map(|probe| probe.family.as_str()).collect();
    let (mut known, mut others): (Vec<&str>, Vec<&str>) = all
        .into_iter()
        .partition(|family| FAMILIES.contains(family));
    known.sort_by_key(|family| FAMILIES.iter().position(|other| other == family));
    known.append(&mut others);
    known.into_iter().map(str::to_owned).collect()
}

/// How the family's probes are attached, and a note of those that are not, or not by the best way.
fn family_cell(record: &Record, family: &str, notes: &mut Notes) -> String {
    let probes = record.probes.iter().filter(|probe| probe.family == family);
    let probes: Vec<&Probe> = probes.collect();
    if probes.is_empty() {
        // The test that tells of them did not get to it; its verdict is in the last column.
        return "?".to_owned();
    }
    let mechanisms: BTreeSet<String> = probes
        .iter()
        .filter(|probe| probe.attached)
        .map(|probe| format!("`{}`", probe.mechanism.as_deref().unwrap_or("?")))
        .collect();
    let mut cell = if mechanisms.is_empty() {
        "-".to_owned()
    } else {
        mechanisms.into_iter().collect::<Vec<_>>().join(", ")
    };
    let reasons: BTreeSet<&str> = probes
        .iter()
        .filter_map(|probe| probe.reason.as_deref())
        .collect();
    for reason in reasons {
        let concerned: Vec<&str> = probes
            .iter()
            .filter(|probe| probe.reason.as_deref() == Some(reason))
            .map(|probe| probe.name.as_str())
            .collect();
        // All of the family: the cell's column says which.
        let note = if concerned.len() == probes.len() {
            reason.to_owned()
        } else {
            format!("{}: {reason}", concerned.join(", "))
        };
        cell.push_str(&notes.reference(note));
    }
    cell
}

fn tests_cell(record: &Record, notes: &mut Notes) -> String {
    let mut cell = format!("{} passed", record.passed.len());
    if !record.failed.is_empty() {
        let _ = write!(cell, ", {} failed", record.failed.len());
        cell.push_str(&notes.reference(format!("failed: {}", record.failed.join(", "))));
    }
    if !record.ignored.is_empty() {
        let _ = write!(cell, ", {} ignored", record.ignored.len());
    }
    if let Some(trouble) = &record.trouble {
        cell.push_str(&notes.reference(trouble.clone()));
    }
    cell
}

/// The numbered notes below the table, each text once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn reference(&mut self, note: String) -> String {
        let known = self.0.iter().position(|other| *other == note);
        let index = known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!(" ({})", index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(name: &str, family: &str, mechanism: Result<&str, &str>) -> Probe {
        Probe {
            name: name.to_owned(),
            family: family.to_owned(),
            attached: mechanism.is_ok(),
            mechanism: mechanism.ok().map(str::to_owned),
            reason: mechanism.err().map(str::to_owned),
        }
    }

    fn record(kernel: &str, cpus: u32, probes: Vec<Probe>) -> Record {
        Record {
            kernel: kernel.to_owned(),
            flavour: kernel.split_once('-').unwrap_or_default().1.to_owned(),
            debian: true,
            release: Some(format!("{kernel}.9-amd64")),
            cpus,
            btf: true,
            passed: vec!["a".to_owned(), "b".to_owned()],
            probes,
            ..Record::default()
        }
    }

    #[test]
    fn rows_are_sorted_and_columns_are_families() {
        let module = || probe("module:module_load", "module", Ok("tracepoint"));
        let softirq = || probe("irq:softirq_entry", "softirq", Ok("tp_btf"));
        let records = vec![
            record("6.12-rt", 2, vec![module(), softirq()]),
            record("6.12", 16, vec![module(), softirq()]),
            record("6.12", 2, vec![module(), softirq()]),
            record(
                "6.1",
                2,
                vec![module(), softirq(), probe("x:y", "future", Ok("raw_tp"))],
            ),
            Record {
                debian: false,
                ..record("vmlinuz", 2, Vec::new())
            },
        ];
        assert_eq!(
            table(records),
            "\
| kernel | release | CPUs | BTF | softirq | module | future | live tests |
|---|---|---|---|---|---|---|---|
| 6.1 | 6.1.9-amd64 | 2 | yes | `tp_btf` | `tracepoint` | `raw_tp` | 2 passed |
| 6.12 | 6.12.9-amd64 | 2 | yes | `tp_btf` | `tracepoint` | ? | 2 passed |
| 6.12 | 6.12.9-amd64 | 16 | yes | `tp_btf` | `tracepoint` | ? | 2 passed |
| 6.12-rt | 6.12-rt.9-amd64 | 2 | yes | `tp_btf` | `tracepoint` | ? | 2 passed |
"
        );
    }

    #[test]
    fn what_is_missing_and_what_failed_has_a_note() {
        let none = "this kernel has no tracepoint";
        let mut twins = probe("irq:softirq_entry", "softirq", Ok("raw_tp"));
        twins.reason = Some("not tp_btf: no BTF".to_owned());
        let records = vec![
            record(
                "5.10",
                2,
                vec![
                    probe("irq:softirq_entry", "softirq", Ok("tp_btf")),
                    probe("irq:tasklet_entry", "tasklet", Err(none)),
                    probe("napi:napi_poll", "napi", Ok("tp_btf")),
                    probe("napi:napi_new", "napi", Err(none)),
                ],
            ),
            Record {
                btf: false,
                failed: vec!["c".to_owned()],
                trouble: Some("the VM ended during d".to_owned()),
                ..record(
                    "5.10",
                    2,
                    vec![twins, probe("irq:tasklet_entry", "tasklet", Err(none))],
                )
            },
        ];
        assert_eq!(
            table(records),
            "\
| kernel | release | CPUs | BTF | softirq | tasklet | napi | live tests |
|---|---|---|---|---|---|---|---|
| 5.10 | 5.10.9-amd64 | 2 | yes | `tp_btf` | - (1) | `tp_btf` (2) | 2 passed |
| 5.10 | 5.10.9-amd64 | 2 | hidden | `raw_tp` (3) | - (1) | ? | 2 passed, 1 failed (4) (5) |

1. this kernel has no tracepoint
2. napi:napi_new: this kernel has no tracepoint
3. not tp_btf: no BTF
4. failed: c
5. the VM ended during d
"
        );
    }
}
