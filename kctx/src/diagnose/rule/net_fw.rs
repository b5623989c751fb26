use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, netfilter, receive::Receive, stacks::Through},
    figures::{percent, time},
    finding::{Confidence, Finding},
    harm::{Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Part of the samples of receiving, in per cent.
const PART: f64 = 25.0;
/// So many rules explain it.
const MANY: u64 = 100;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-FW",
        title: "Packet filter rules cost the CPU that receives",
        means: "Each packet is held against a long list of nftables or iptables rules, one after the other. A linear rule \
                costs some 15 ns for every packet; thousands of them, which container networking and tools that ban addresses \
                pile up, cost more than all the rest of receiving.",
        signals: &[
            "`nft_do_chain`, `ipt_do_table` or their like in the stacks sampled while packets are received",
            "the time for a packet: NET_RX's net time by packets polled",
            "how many rules there are (`netfilter.json`)",
        ],
        thresholds: &[
            threshold("such functions in the stacks of receiving", "25 %", "kctx"),
            threshold(
                "rules that explain it",
                "100",
                "kctx; measured: 16.5 ns a linear nft rule and packet",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-SAT",
                "the same saturation, but its stacks are elsewhere",
            ),
            look_alike("NET-CT", "`nf_conntrack_in` and not the chains"),
            look_alike(
                "NET-BUDGET",
                "the time limit bites because packets are slow: raising it helps nothing",
            ),
        ],
        next: &[
            read(
                "Count the rules by chain, and find what makes them.",
                "nft -s list ruleset | grep -c . ; iptables-save | cut -d' ' -f1,2 | sort | uniq -c | sort -n | tail",
            ),
            read(
                "Look again after a minute: rules that grow are a leak of their owner (kube-proxy, CNI, docker, fail2ban).",
                "nft -s list ruleset | wc -l",
            ),
            owner("Have the owner of the table use sets or maps instead of one rule an address."),
        ],
        do_not: &[
            "Flush rules on a node: they are owned, and packets of others depend on them.",
            "Raise netdev_budget or netdev_max_backlog: each packet stays as slow, and waits longer.",
        ],
    },
    explained_by: &[],
    judge,
};

/// Where chains of rules are gone through.
fn is_chain(function: &str) -> bool {
    [
        "nft_do_chain",
        "ipt_do_table",
        "ip6t_do_table",
        "arpt_do_table",
        "ebt_do_table",
    ]
    .iter()
    .any(|name| function.starts_with(name))
}

fn judge(facts: &Facts<'_>) -> Outcome {
    if receiving::busy(facts).next().is_none() {
        return Outcome::Silent;
    }
    let through = receiving::code(facts, is_chain);
    let findings = match &through {
        Some(through) if through.percent >= PART => receiving::busy(facts)
            .filter_map(|receive| finding(facts, receive, through))
            .take(1)
            .collect(),
        _ => Vec::new(),
    };
    Outcome::or_ruled_out(findings, || {
        let rules = match &facts.netfilter {
            Some(known) if known.rules == 1 => "; one rule".to_owned(),
            Some(known) => format!("; {} rules", known.rules),
            None => String::new(),
        };
        receiving::not_in_code(through.as_ref(), "filter chains", PART) + &rules
    })
}

fn finding(facts: &Facts<'_>, receive: &Receive, through: &Through) -> Option<Finding> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent * through.percent / 100.0, &harm, true)?;
    let known = facts.netfilter.as_ref();
    let many = known.filter(|known| known.rules >= MANY);
    let confidence = match many {
        Some(_) => Confidence::High,
        None => Confidence::Medium,
    };
    let rules = match (known, many) {
        (_, Some(known)) => {
            let longest = known.longest.as_ref();
            let longest = longest.map(|(chain, rules)| format!(", {rules} of them in {chain}"));
            format!(" ({} rules{})", known.rules, longest.unwrap_or_default())
        }
        (Some(_), None) => " (of another network namespace than kctx's: a container's)".to_owned(),
        (None, _) => String::new(),
    };
    let cost = receive
        .cost_ns()
        .map_or(String::new(), |ns| format!("each costs {}, and ", time(ns)));
    let draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!(
            "CPU {}: {} in NET_RX, {} of it in packet filter rules",
            receive.cpu,
            percent(receive.percent),
            percent(through.percent)
        ))
        .statement(format!(
            "{}: {cost}{} is in {} of the sampled stacks{rules}{}.",
            receiving::subject(receive),
            through.function,
            percent(through.percent),
            harm.clause()
        ));
    let draft = receiving::to_napi(facts, draft, receive)
        .function(&through.function)
        .step("code", through.words())
        .step(
            "configuration",
            known.map_or(String::new(), |known| {
                format!("{} rules in kctx's network namespace", known.rules)
            }),
        )
        .evidence("summary.stack[context=softirq:NET_RX]", through.words())
        .missing_if(
            known.is_none(),
            "netfilter.json: how many rules there are is not known",
        );
    let draft = match known {
        Some(known) => draft.evidence(
            facts.reference(netfilter::FILE),
            format!(
                "{} rules{}",
                known.rules,
                known
                    .grown
                    .map_or(String::new(), |grown| format!(", {grown:+} in the window"))
            ),
        ),
        None => draft,
    };
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        Diagnosis,
        finding::{Confidence, Severity, Verdict},
        fixture::{evidence, found, of, ruled_out, saturated, softnet, stack},
    };

    const RULES: &str = r#"{"tables": [{"family": "inet", "name": "slow", "chains": [{"name": "in", "rules": 2000}]}]}"#;

    #[test]
    fn chains_in_the_stacks_of_a_cpu_that_drops_are_the_cause() {
        let mut summary = saturated(0);
        summary.stack = vec![
            stack(
                "softirq:NET_RX",
                &["net_rx_action", "nft_do_chain", "nft_cmp_eval"],
                47,
            ),
            stack("softirq:NET_RX", &["net_rx_action"], 3),
        ];
        let mut files = softnet(0, 630_000, 0, 0);
        files
            .take("evidence/after/netfilter.json", RULES.as_bytes().to_vec())
            .unwrap();
        let diagnosis = of(&summary, &files);
        assert_eq!(diagnosis.verdict, Verdict::Hot);
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-FW", Severity::Crit, Confidence::High)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.devices[..]),
            (&[0][..], &[] as &[String])
        );
        assert_eq!(
            diagnosis.first_line,
            "CPU 0 spends 90 % of its time receiving packets, most of it in ksoftirqd/0: each costs 32.1 µs, and nft_do_chain is \
             in 94 % of the sampled stacks (2000 rules, 2000 of them in inet slow in); 630,000 packets/s are dropped at CPU 0's \
             backlog."
        );
        // Rules are counted once, before the window: whether they grow is not known.
        let says = |diagnosis: &Diagnosis| {
            let mut rows = diagnosis.findings[0].evidence.iter();
            let row = rows.find(|row| row.reference.ends_with("netfilter.json"));
            row.map(|row| (row.reference.clone(), row.value.clone()))
                .unwrap()
        };
        let reference = "evidence/after/netfilter.json".to_owned();
        assert_eq!(says(&diagnosis), (reference, "2000 rules".to_owned()));
        let before = RULES.replace("2000", "1990").into_bytes();
        files
            .take("evidence/before/netfilter.json", before)
            .unwrap();
        assert_eq!(
            says(&of(&summary, &files)).1,
            "2000 rules, +10 in the window"
        );
        // What it causes is told with it, not beside it.
        assert_eq!(diagnosis.findings.len(), 1, "{:?}", diagnosis.findings);
    }

    #[test]
    fn the_same_load_in_other_code_is_not_it() {
        let mut summary = saturated(0);
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &["net_rx_action", "udp_queue_rcv_skb"],
            50,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "NET-FW").is_none());
        assert_eq!(
            ruled_out(&diagnosis, "NET-FW"),
            Some("filter chains in 0 of 50 stacks of receiving (0 %, less than 25 %)")
        );
    }
}
