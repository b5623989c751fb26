use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, programs, receive::Receive, stacks::Through},
    figures::{list, percent, time},
    finding::{Confidence, Finding},
    harm::{BUSY, Harm, severity},
    page::{Page, look_alike, owner, read, threshold},
};
use crate::probe::PROBES;

/// Part of the samples of receiving, in per cent.
const PART: f64 = 25.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-BPF",
        title: "BPF programs cost the CPU that receives",
        means: "XDP, tc, cgroup and socket filter programs run for each packet, and tracing programs for each event on its way. \
                What they cost is part of receiving. kctx's own programs are among them: its share is told first (SELF).",
        signals: &[
            "`bpf_prog_*` in the stacks sampled while packets are received",
            "run time and runs of programs between the window's edges, where the kernel counts them (`bpf-programs.json`)",
            "packet sockets, which copy each packet (/proc/net/packet)",
        ],
        thresholds: &[
            threshold("such functions in the stacks of receiving", "25 %", "kctx"),
            threshold(
                "run time of a program of the network",
                "10 % of a CPU",
                "kctx",
            ),
        ],
        confused_with: &[
            look_alike("SELF", "kctx's own programs"),
            look_alike("NET-FW", "rules, and not programs, are in the stacks"),
        ],
        next: &[
            read(
                "List programs and where they are attached.",
                "bpftool net ; bpftool prog show",
            ),
            read(
                "Find who holds a program.",
                "bpftool prog show --json | jq '.[] | {id, name, pids}'",
            ),
            owner(
                "Ask the owner of the program what it does for each packet, and whether a newer version costs less.",
            ),
        ],
        do_not: &["Detach programs of others: connectivity or policy may hang on them."],
    },
    explained_by: &["NET-FW"],
    judge,
};

/// The kernel keeps so much of a program's name (`BPF_OBJ_NAME_LEN`); a symbol may have all of it.
const NAME: usize = 15;

/// Whether a function is a program of others, or what runs those of the network.
fn is_program(facts: &Facts<'_>, function: &str) -> bool {
    match program_name(function) {
        Some(name) => !is_own(facts, name),
        None => function.starts_with("cls_bpf_classify") || function.starts_with("bpf_prog_run_"),
    }
}

/// The name in a program's symbol, `bpf_prog_TAG_NAME` (`bpf_get_prog_name`, kernel/bpf/core.c).
fn program_name(function: &str) -> Option<&str> {
    let rest = function.strip_prefix("bpf_prog_")?;
    let tag = rest.get(..16)?;
    let is_tag = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_tag.then(|| rest[16..].trim_start_matches('_'))
}

/// Whether a program is one of kctx's, which run inside of receiving too: on tracepoints there.
fn is_own(facts: &Facts<'_>, name: &str) -> bool {
    let is = |own: &str| cut(own) == cut(name);
    let measured = facts.summary.own_cost.iter();
    let mut measured = measured.flat_map(|cost| &cost.bpf.programs);
    measured.any(|program| is(&program.program))
        || PROBES
            .iter()
            .any(|probe| is(probe.tracepoint) || is(&format!("{}_raw", probe.tracepoint)))
}

fn cut(name: &str) -> &[u8] {
    &name.as_bytes()[..name.len().min(NAME)]
}

fn judge(facts: &Facts<'_>) -> Outcome {
    let through = receiving::code(facts, |function| is_program(facts, function));
    let mut findings = Vec::new();
    if let Some(through) = through.as_ref().filter(|through| through.percent >= PART) {
        let costly =
            receiving::busy(facts).filter_map(|receive| in_stacks(facts, receive, through));
        findings.extend(costly.take(1));
    }
    let counted = heaviest(facts);
    if findings.is_empty()
        && let Some((name, kind, ns, run_ns)) = &counted
        && let Some(finding) = by_run_time(facts, name, kind, *ns, *run_ns)
    {
        // On which CPU that was is not known.
        return Outcome::FoundBeside(vec![finding]);
    }
    if findings.is_empty() && receiving::busy(facts).next().is_none() {
        return Outcome::Silent;
    }
    Outcome::or_ruled_out(findings, || {
        let code = receiving::not_in_code(through.as_ref(), "BPF programs", PART);
        match counted {
            Some((name, _, ns, _)) => format!(
                "{code}; the heaviest, {name}, took {}",
                percent(facts.grown_percent(ns))
            ),
            None => code,
        }
    })
}

fn in_stacks(facts: &Facts<'_>, receive: &Receive, through: &Through) -> Option<Finding> {
    let loaded = facts.programs.as_ref();
    let confidence = if loaded.is_some() {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let kinds = loaded.map_or(String::new(), |programs| {
        let of_network: Vec<_> = (programs.iter().filter(|program| is_network(&program.kind)))
            .map(|program| match &program.name[..] {
                "" => format!("program {} ({})", program.id, program.kind),
                name => format!("{name} ({})", program.kind),
            })
            .take(5)
            .collect();
        list(&of_network)
    });
    let page = (&RULE.page, confidence);
    let draft = receiving::in_code(facts, page, receive, through, "BPF programs")?
        .step("configuration", kinds)
        .missing_if(
            loaded.is_none(),
            "bpf-programs.json: which programs are loaded is not known",
        );
    Some(draft.done())
}

fn is_network(kind: &str) -> bool {
    [
        "xdp",
        "sched",
        "cgroups",
        "cgroup_s",
        "socket",
        "sk_",
        "lwt",
        "flow",
        "netfilter",
    ]
    .iter()
    .any(|start| {
        kind.trim_start_matches("BPF_PROG_TYPE_")
            .to_lowercase()
            .starts_with(start)
    })
}

/// Name, kind, time and time of a run of the program that ran longest.
fn heaviest(facts: &Facts<'_>) -> Option<(String, String, u64, f64)> {
    let programs = facts.programs.iter().flatten();
    let most = programs
        .filter(|program| is_network(&program.kind) && !is_own(facts, &program.name))
        .max_by_key(|program| program.run_ns)?;
    (most.runs > 0).then(|| {
        let each = most.run_ns as f64 / most.runs as f64;
        (most.name.clone(), most.kind.clone(), most.run_ns, each)
    })
}

fn by_run_time(facts: &Facts<'_>, name: &str, kind: &str, ns: u64, each: f64) -> Option<Finding> {
    let share = facts.grown_percent(ns);
    if share < BUSY {
        return None;
    }
    let severity = severity(share, &Harm::default(), false)?;
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!(
            "The BPF program {name} takes {} of a CPU",
            percent(share)
        ))
        .statement(format!(
            "The BPF program {name} ({kind}) ran for {} of a CPU, {} a run.",
            percent(share),
            time(each)
        ))
        .function(name)
        .evidence(
            facts.reference(programs::FILE),
            format!("{name}: {} in all", time(ns as f64)),
        );
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::Family,
        diagnose::fixture::{evidence, found, of, saturated, stack, summary},
        meter::{BpfCost, OwnCost, ProgramCost},
    };

    #[test]
    fn programs_in_the_stacks_are_found_and_other_code_is_not() {
        let mut summary = saturated(1);
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &[
                "net_rx_action",
                "cls_bpf_classify",
                "bpf_prog_6deef7357e7b4530_from_netdev",
            ],
            30,
        )];
        let files = evidence(&[(
            "after/bpf-programs.json",
            r#"[{"id": 7, "type": "sched_cls", "name": "from_netdev"}]"#,
        )]);
        let diagnosis = of(&summary, &files);
        let finding = &diagnosis.findings[0];
        assert_eq!(
            (finding.id.as_str(), &finding.scope.cpus[..]),
            ("NET-BPF", &[1][..])
        );
        assert!(
            finding
                .statement
                .contains("bpf_prog_6deef7357e7b4530_from_netdev is in 100 %"),
            "{}",
            finding.statement
        );
        summary.stack = vec![stack(
            "softirq:NET_RX",
            &["net_rx_action", "tcp_v4_rcv"],
            30,
        )];
        assert!(found(&of(&summary, &files), "NET-BPF").is_none());
    }

    /// They run on tracepoints inside of receiving, so that they are in its stacks.
    #[test]
    fn kctx_s_own_programs_are_none_of_others() {
        let mut summary = saturated(1);
        let stacks = |innermost: &str| {
            vec![stack(
                "softirq:NET_RX",
                &["net_rx_action", "bpf_trace_run3", innermost],
                30,
            )]
        };
        for own in [
            "napi_poll",
            "softirq_raise_r",
            "workqueue_execute_start_raw",
            "mine",
        ] {
            summary.own_cost = Some(OwnCost {
                bpf: BpfCost {
                    programs: vec![ProgramCost {
                        program: "mine".to_owned(),
                        family: Family::Napi,
                        runs: 1,
                        run_ns: 1,
                    }],
                    ..BpfCost::default()
                },
                ..OwnCost::default()
            });
            summary.stack = stacks(&format!("bpf_prog_6deef7357e7b4530_{own}"));
            assert!(
                found(&of(&summary, &evidence(&[])), "NET-BPF").is_none(),
                "{own}"
            );
        }
        for other in [
            "bpf_prog_6deef7357e7b4530_watcher",
            "bpf_prog_6deef7357e7b4530",
            "bpf_prog_run_xdp",
        ] {
            summary.stack = stacks(other);
            assert!(
                found(&of(&summary, &evidence(&[])), "NET-BPF").is_some(),
                "{other}"
            );
        }
    }

    #[test]
    fn run_time_is_what_grew_in_the_window() {
        let sample = |ns: u64| {
            format!(
                r#"[{{"id": 7, "type": "xdp", "name": "filter", "run_time_ns": {ns}, "run_cnt": {}}}]"#,
                ns / 100
            )
        };
        let of_growth = |grown: u64| {
            let (before, after) = (sample(9_000_000_000), sample(9_000_000_000 + grown));
            of(
                &summary(),
                &evidence(&[
                    ("before/bpf-programs.json", &before),
                    ("after/bpf-programs.json", &after),
                ]),
            )
        };
        assert!(found(&of_growth(3_000_000_000), "NET-BPF").is_some());
        assert!(found(&of_growth(30_000_000), "NET-BPF").is_none());
    }
}
