use super::{Outcome, Rule, receiving};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::rate,
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
    let failed = failures(facts);
    let full = facts.logged(&["nf_conntrack", "table full"]);
    let mut findings: Vec<_> = lossy(facts, failed, full).into_iter().collect();
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
        match failed {
            Some(failed) => format!(
                "{code}; {} drops and failed inserts (less than 10/s)",
                rate(failed)
            ),
            None => code,
        }
    })
}

fn lossy(facts: &Facts<'_>, failed: Option<f64>, full: Option<&str>) -> Option<Finding> {
    let failed = failed.filter(|failed| *failed >= DROPS);
    let what = match (full, failed) {
        (Some(_), _) => {
            "the table of connections is full, and packets of new ones are dropped".to_owned()
        }
        (None, Some(failed)) => format!(
            "connection tracking drops packets or cannot insert connections, {}",
            rate(failed)
        ),
        (None, None) => return None,
    };
    let most = facts.sysctls.number("net.netfilter.nf_conntrack_max");
    let now = facts.sysctls.number("net.netfilter.nf_conntrack_count");
    let used = match (now, most) {
        (Some(now), Some(most)) => format!(" ({now} of {most} entries)"),
        _ => String::new(),
    };
    let confidence = if used.is_empty() {
        Confidence::Medium
    } else {
        Confidence::High
    };
    let mut draft = Draft::new(&RULE.page, Severity::Crit, confidence)
        .title("Connection tracking drops packets")
        .statement(format!("Packets are lost: {what}{used}."))
        .step("configuration", used.trim())
        .missing_if(used.is_empty(), "nf_conntrack_count and nf_conntrack_max");
    if let Some(line) = full {
        draft = draft.evidence("summary.log", line);
    }
    if let Some(failed) = failed {
        draft = draft.evidence(
            facts.reference(FILE),
            format!("drop, early_drop, insert_failed: {}", rate(failed)),
        );
    }
    Some(draft.done())
}

/// Sum of drop, early_drop and insert_failed over CPUs, a second. Which column is which differs by kernel: the header says.
fn failures(facts: &Facts<'_>) -> Option<f64> {
    let sample = |phase| {
        let text = facts.evidence.text(phase, FILE)?;
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next()?.split_whitespace().collect();
        let wanted = ["drop", "early_drop", "insert_failed"];
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
    };
    let (before, after) = (sample(Phase::Before)?, sample(Phase::After)?);
    Some(facts.grown_rate(after.saturating_sub(before)))
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
            "Packets are lost: connection tracking drops packets or cannot insert connections, 20/s (100 of 100 entries)."
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
