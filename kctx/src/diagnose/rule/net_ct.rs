use super::{Outcome, Rule, receiving};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::{number, rate},
        finding::{Confidence, Finding, Severity},
        harm::DROPS,
        page::{Page, look_alike, owner, read, threshold},
    },
};

/// Part of the samples of receiving, in per cent.
const PART: f64 = 25.0;
const FILE: &str = "proc/net/stat/nf_conntrack";

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-CT",
        title: "Connection tracking costs or drops",
        means: "Each packet is looked up in the table of connections. A table that is full drops packets of new connections; one \
                with too few buckets, or more than fit the cache, makes each look-up slow.",
        signals: &[
            "`nf_conntrack_in` or a look-up of it in the stacks sampled while packets are received",
            "drop, early_drop and insert_failed in /proc/net/stat/nf_conntrack, between the window's edges",
            "\"nf_conntrack: table full, dropping packet\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "such functions in the stacks of receiving",
                "25 %",
                "kctx; a packet costs some 0.5 µs more with it",
            ),
            threshold("drops and failed inserts", "10/s", "kctx"),
            threshold(
                "connections that make room for new ones (early_drop)",
                "10/s: a warning, for no packet is lost",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-FW",
                "the chains of rules are in the stacks, not the table",
            ),
            look_alike("NET-BACKLOG", "there packets are lost before they get here"),
        ],
        next: &[
            read(
                "Compare entries and their limit.",
                "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_buckets",
            ),
            read(
                "Look which counter grows.",
                "cat /proc/net/stat/nf_conntrack",
            ),
            owner(
                "If it is full: raise nf_conntrack_max and the buckets together, or leave the flow untracked (NOTRACK).",
            ),
        ],
        do_not: &["Disable connection tracking where addresses are translated: connections break."],
    },
    explained_by: &["NET-FW"],
    judge,
};

fn is_tracking(function: &str) -> bool {
    function.starts_with("nf_conntrack")
        || function.starts_with("__nf_conntrack")
        || function.starts_with("nf_ct_")
}

fn judge(facts: &Facts<'_>) -> Outcome {
    let counts = Counts::of(facts);
    let full = facts.logged(&["nf_conntrack", "table full"]);
    let mut findings: Vec<_> = (lossy(facts, counts, full).or_else(|| crowded(facts, counts)))
        .into_iter()
        .collect();
    let through = receiving::code(facts, is_tracking);
    if let (true, Some(through)) = (findings.is_empty(), &through)
        && through.percent >= PART
    {
        let costly = receiving::busy(facts).filter_map(|receive| {
            let page = (&RULE.page, Confidence::Medium);
            receiving::in_code(facts, page, receive, through, "connection tracking")
        });
        findings.extend(costly.take(1).map(Draft::done));
    }
    if findings.is_empty() && receiving::busy(facts).next().is_none() {
        return Outcome::Silent;
    }
    Outcome::or_ruled_out(findings, || {
        let code = receiving::not_in_code(through.as_ref(), "connection tracking", PART);
        match counts {
            Some(counts) => format!(
                "{code}; {} drops and failed inserts (less than 10/s)",
                rate(counts.lost)
            ),
            None => code,
        }
    })
}

/// Packets are lost.
fn lossy(facts: &Facts<'_>, counts: Option<Counts>, full: Option<&str>) -> Option<Finding> {
    let lost = counts
        .map(|counts| counts.lost)
        .filter(|lost| *lost >= DROPS);
    let what = match (full, lost) {
        (Some(_), _) => {
            "the table of connections is full, and packets of new ones are dropped".to_owned()
        }
        (None, Some(lost)) => format!(
            "connection tracking drops packets or cannot insert connections, {}",
            rate(lost)
        ),
        (None, None) => return None,
    };
    let used = used(facts);
    let clause = used
        .as_ref()
        .map_or(String::new(), |used| format!(" ({used})"));
    let mut draft = draft(facts, Severity::Crit, used, counts)
        .title("Connection tracking drops packets")
        .statement(format!("Packets are lost: {what}{clause}."));
    if let Some(line) = full {
        draft = draft.evidence("summary.log", line);
    }
    Some(draft.done())
}

/// The table is full, and older connections make room. No packet is lost by that.
fn crowded(facts: &Facts<'_>, counts: Option<Counts>) -> Option<Finding> {
    let evicted = counts?.evicted;
    if evicted < DROPS {
        return None;
    }
    let used = used(facts);
    let clause = used
        .as_ref()
        .map_or(String::new(), |used| format!(", {used}"));
    let draft = draft(facts, Severity::Warn, used, counts)
        .title("The table of connections is full")
        .statement(format!(
            "The table of connections is full: {} that had no answer yet are forgotten to make room for new ones{clause}.",
            rate(evicted)
        ));
    Some(draft.done())
}

/// Entries and their limit, in words.
fn used(facts: &Facts<'_>) -> Option<String> {
    let most = facts.sysctls.number("net.netfilter.nf_conntrack_max")?;
    let now = facts.sysctls.number("net.netfilter.nf_conntrack_count")?;
    let (now, most) = (number(now as f64), number(most as f64));
    Some(format!("{now} of {most} entries when the window began"))
}

fn draft(
    facts: &Facts<'_>,
    severity: Severity,
    used: Option<String>,
    counts: Option<Counts>,
) -> Draft {
    let confidence = match used {
        Some(_) => Confidence::High,
        None => Confidence::Medium,
    };
    let draft = Draft::new(&RULE.page, severity, confidence)
        .missing_if(used.is_none(), "nf_conntrack_count and nf_conntrack_max")
        .step("configuration", used.unwrap_or_default());
    match counts {
        Some(counts) => draft.evidence(
            facts.reference(FILE),
            format!(
                "drop and insert_failed {}, early_drop {}",
                rate(counts.lost),
                rate(counts.evicted)
            ),
        ),
        None => draft,
    }
}

/// What connection tracking could not do, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    /// Packets that were dropped, for want of an entry or since their connection could not be inserted (`drop`,
    /// `insert_failed`).
    lost: f64,
    /// Connections without an answer that made room for new ones (`early_drop`, net/netfilter/nf_conntrack_core.c).
    evicted: f64,
}

impl Counts {
    fn of(facts: &Facts<'_>) -> Option<Self> {
        let grown = |names: &[&str]| {
            let (before, after) = (
                sum(facts, Phase::Before, names)?,
                sum(facts, Phase::After, names)?,
            );
            Some(facts.grown_rate(after.saturating_sub(before)))
        };
        Some(Self {
            lost: grown(&["drop", "insert_failed"])?,
            evicted: grown(&["early_drop"])?,
        })
    }
}

/// Sum of columns over CPUs. Which column is which differs by kernel: the header says.
fn sum(facts: &Facts<'_>, phase: Phase, wanted: &[&str]) -> Option<u64> {
    let text = facts.evidence.text(phase, FILE)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    let columns: Vec<usize> = (header.iter().enumerate())
        .filter(|(_, name)| wanted.contains(name))
        .map(|(at, _)| at)
        .collect();
    let of_line = |line: &str| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let values = columns
            .iter()
            .filter_map(|at| u64::from_str_radix(cells.get(*at)?, 16).ok());
        values.fold(0, u64::saturating_add)
    };
    Some(lines.map(of_line).fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, of, saturated, stack, summary},
    };

    const HEADER: &str = "entries  clashres found new invalid ignore delete delete_list insert insert_failed drop early_drop\n";

    #[test]
    fn drops_and_failed_inserts_are_found_by_the_header() {
        let line = |failed: u32| {
            format!("{HEADER}00000010 0 0 0 0 0 0 0 0 {failed:08x} 00000000 00000000\n")
        };
        let files = evidence(&[
            ("before/proc/net/stat/nf_conntrack", &line(5)),
            ("after/proc/net/stat/nf_conntrack", &line(5 + 200)),
            (
                "before/sysctl.txt",
                "net.netfilter.nf_conntrack_max = 100\nnet.netfilter.nf_conntrack_count = 100\n",
            ),
        ]);
        let diagnosis = of(&summary(), &files);
        assert_eq!(diagnosis.findings[0].id, "NET-CT");
        assert_eq!(
            diagnosis.first_line,
            "Packets are lost: connection tracking drops packets or cannot insert connections, 20/s (100 of 100 entries when the window began)."
        );
        // One that makes room is no packet.
        let evicted = |count: u32| line(5).replace("00000000\n", &format!("{count:08x}\n"));
        let crowded = evidence(&[
            ("before/proc/net/stat/nf_conntrack", &evicted(1)),
            ("after/proc/net/stat/nf_conntrack", &evicted(501)),
        ]);
        let diagnosis = of(&summary(), &crowded);
        assert_eq!(
            (
                diagnosis.findings[0].id.as_str(),
                diagnosis.findings[0].severity
            ),
            ("NET-CT", Severity::Warn)
        );
        assert!(
            diagnosis
                .first_line
                .contains("is full: 50/s that had no answer"),
            "{}",
            diagnosis.first_line
        );
        // Invalid packets and the like are no loss.
        let quiet = evidence(&[
            ("before/proc/net/stat/nf_conntrack", &line(5)),
            (
                "after/proc/net/stat/nf_conntrack",
                &line(5).replace("00000010 0 0 0 0", "00000010 0 0 0 ffff"),
            ),
        ]);
        assert!(of(&summary(), &quiet).findings.is_empty());
    }

    #[test]
    fn its_functions_in_the_stacks_are_a_cost_and_rules_are_not() {
        let mut summary = saturated(2);
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &[
                "net_rx_action",
                "nf_conntrack_in",
                "__nf_conntrack_find_get",
            ],
            30,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-CT").unwrap();
        assert_eq!(
            (finding.severity, &finding.scope.cpus[..]),
            (Severity::Warn, &[2][..])
        );
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &["net_rx_action", "nft_do_chain"],
            30,
        )];
        assert!(found(&of(&summary, &evidence(&[])), "NET-CT").is_none());
    }
}
