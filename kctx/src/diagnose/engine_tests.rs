use super::*;
use crate::{
    aggregate::window::{Family, ProbeStatus},
    diagnose::{
        finding::Confidence,
        fixture::{self, evidence, of, percent, softirq, softnet},
    },
};

#[test]
fn an_idle_host_has_nothing_hot_and_the_figures_that_say_so() {
    let mut summary = fixture::summary();
    summary.softirq = vec![
        softirq("NET_RX", 1, "irq_tail", 300, percent(1)),
        softirq("TIMER", 0, "irq_tail", 300, 1),
    ];
    let diagnosis = of(&summary, &softnet(0, 0, 0, 0));
    assert_eq!(diagnosis.verdict, Verdict::NothingHot);
    assert_eq!(diagnosis.findings, []);
    assert_eq!(
        diagnosis.first_line,
        "Nothing is hot: the busiest softirq is NET_RX on CPU 1 with 1.0 %, the longest wait for one 10.0 µs, 0 packets/s \
         dropped at a backlog, in 10.0 s."
    );
    assert!(
        diagnosis
            .ruled_out
            .iter()
            .any(|row| row.id == "NET-BACKLOG")
    );
}

#[test]
fn where_nothing_is_hot_what_takes_a_tenth_is_named_whatever_it_is() {
    let mut summary = fixture::summary();
    summary.kthread = vec![fixture::kthread("kswapd", "kswapd0", percent(12))];
    let diagnosis = of(&summary, &evidence(&[]));
    assert_eq!(diagnosis.verdict, Verdict::NothingHot);
    assert!(
        diagnosis
            .first_line
            .starts_with("Nothing is hot: kswapd0 takes 12 % of a CPU, no softirq ran"),
        "{}",
        diagnosis.first_line
    );
    summary.kthread = vec![fixture::kthread("kswapd", "kswapd0", percent(8))];
    let diagnosis = of(&summary, &evidence(&[]));
    assert!(
        diagnosis
            .first_line
            .starts_with("Nothing is hot: no softirq ran"),
        "{}",
        diagnosis.first_line
    );
}

#[test]
fn what_could_not_be_measured_is_not_ruled_out() {
    let mut summary = fixture::summary();
    summary.probes = vec![ProbeStatus {
        name: "irq:softirq_entry".to_owned(),
        family: Family::Softirq.into(),
        attached: false,
        mechanism: None,
        reason: Some("missing CAP_PERFMON".to_owned()),
    }];
    let files = evidence(&[
        (
            "before/proc/softirqs",
            "      CPU0 CPU1\nTIMER: 5 5\nNET_RX: 0 5\n",
        ),
        (
            "after/proc/softirqs",
            "      CPU0 CPU1\nTIMER: 9 5\nNET_RX: 0 4120005\n",
        ),
    ]);
    let diagnosis = of(&summary, &files);
    assert_eq!(diagnosis.verdict, Verdict::Inconclusive);
    assert_eq!(
        diagnosis.first_line,
        "Inconclusive, because softirq could not be measured (missing CAP_PERFMON); /proc/softirqs points to NET_RX on CPU 1 \
         (412,000/s)."
    );
}

#[test]
fn a_short_window_and_lost_records_lower_the_confidence() {
    let mut summary = fixture::saturated(0);
    summary.stack = vec![fixture::stack("softirq:NET_RX", &["nft_do_chain"], 50)];
    let rules = r#"[{"table": "t", "chain": "c", "rules": 2000}]"#;
    let files = evidence(&[("after/netfilter.json", rules)]);
    assert_eq!(
        of(&summary, &files).findings[0].confidence,
        Confidence::High
    );
    summary.accounting.total.observed = 100;
    summary
        .accounting
        .total
        .lost
        .insert("no_room".to_owned(), 2);
    let diagnosis = of(&summary, &files);
    assert_eq!(diagnosis.findings[0].confidence, Confidence::Medium);
    assert!(
        diagnosis
            .caveats
            .iter()
            .any(|caveat| caveat.contains("2.0 % of the records were lost"))
    );
}

#[test]
fn an_effect_is_told_with_its_cause_and_makes_it_as_bad() {
    let mut summary = fixture::saturated(0);
    summary.stack = vec![fixture::stack("softirq:NET_RX", &["nft_do_chain"], 50)];
    let diagnosis = of(&summary, &softnet(0, 600_000, 0, 0));
    let ids: Vec<_> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.id.as_str())
        .collect();
    assert_eq!(ids, ["NET-FW"]);
    let effects: Vec<_> = diagnosis.findings[0]
        .chain
        .iter()
        .filter(|step| step.step == "effect")
        .collect();
    assert!(
        effects.iter().any(|step| step
            .value
            .starts_with("NET-BACKLOG: CPU 0 drops 600,000 packets/s")),
        "{effects:?}"
    );
    assert!(
        diagnosis
            .ruled_out
            .iter()
            .any(|row| row.because.starts_with("seen, but an effect of NET-FW"))
    );
}

#[test]
fn of_many_findings_the_worst_are_told() {
    let finding = |id: &str, severity, percent| {
        let mut finding =
            crate::diagnose::draft::Draft::new(&rule::RULES[0].page, severity, Confidence::High)
                .share(0, "x", percent)
                .done();
        id.clone_into(&mut finding.id);
        finding
    };
    let (mut summary, evidence) = (fixture::summary(), evidence(&[]));
    summary.kthread = vec![fixture::kthread("kworker", "kworker/0:1", percent(30))];
    let facts = Facts::of(&Case {
        summary: &summary,
        evidence: &evidence,
    });
    // On no CPU in particular.
    let mut busy = finding("e", Severity::Info, 0.0);
    (busy.share, busy.scope.comms) = (None, vec!["kworker/0:1".to_owned()]);
    let mut findings = vec![
        finding("f", Severity::Info, 3.0),
        busy,
        finding("a", Severity::Info, 90.0),
        finding("b", Severity::Warn, 30.0),
        finding("c", Severity::Crit, 10.0),
        finding("d", Severity::Warn, 40.0),
    ];
    rank(&Takers::of(&facts), &mut findings);
    let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids, ["c", "d", "b", "a", "e", "f"]);
}

#[test]
fn no_name_of_others_reaches_a_terminal_as_it_is() {
    const BAD: &str = "x\x1b[2J\u{202e}y";
    let mut summary = fixture::busy();
    summary.probes = vec![ProbeStatus {
        name: "irq:softirq_entry".to_owned(),
        family: Family::Softirq.into(),
        attached: false,
        mechanism: None,
        reason: Some(BAD.to_owned()),
    }];
    for row in &mut summary.softirq {
        row.vector.push_str(BAD);
    }
    for row in &mut summary.hardirq {
        row.name.push_str(BAD);
    }
    for row in &mut summary.napi {
        row.device = BAD.to_owned();
    }
    for row in &mut summary.kthread {
        row.comm.push_str(BAD);
    }
    for row in &mut summary.workqueue {
        row.function.push_str(BAD);
        row.workqueue.push_str(BAD);
    }
    summary.taint.flags = vec![crate::report::summary::TaintFlagSummary {
        bit: 9,
        letter: 'W',
        name: BAD.to_owned(),
        meaning: String::new(),
    }];
    let diagnosis = of(&summary, &softnet(0, 600_000, 10, 9_000));
    assert!(!diagnosis.findings.is_empty() && !diagnosis.ruled_out.is_empty());
    let mut texts = Vec::new();
    texts_of(&serde_json::to_value(&diagnosis).unwrap(), &mut texts);
    assert!(texts.iter().any(|text| text.contains("u{1b}")));
    for text in texts {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
    }
}

fn texts_of(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts_of(item, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| texts_of(item, texts)),
        _ => {}
    }
}

#[test]
fn a_cause_explains_nothing_where_it_is_not() {
    let of_id = |id: &str, cpus: &[u32], functions: &[&str]| {
        let page = &rule::of(id).unwrap().page;
        let draft = crate::diagnose::draft::Draft::new(page, Severity::Warn, Confidence::High)
            .cpus(cpus.iter().copied());
        let named = functions
            .iter()
            .fold(draft, |draft, function| draft.function(function));
        named.done()
    };
    let left = |cause: Finding, effect: Finding, beside: &[&str]| {
        let mut findings = vec![cause, effect];
        let explained = explain(&mut findings, beside);
        assert_eq!(findings.len() + explained.len(), 2);
        findings.len()
    };
    let dropped = |cpus: &[u32]| of_id("NET-BACKLOG", cpus, &[]);
    assert_eq!(left(of_id("NET-FW", &[0, 3], &[]), dropped(&[3]), &[]), 1);
    assert_eq!(left(of_id("NET-FW", &[0], &[]), dropped(&[3]), &[]), 2);
    // It may be anywhere.
    assert_eq!(left(of_id("NET-FW", &[], &[]), dropped(&[3]), &[]), 2);
    assert_eq!(
        left(of_id("NET-FW", &[3], &[]), dropped(&[3]), &["NET-FW"]),
        2
    );
    let waits = |function: &str| of_id("WQ-STALL", &[], &[function]);
    let churn = || of_id("WQ-CG", &[], &["cleanup_net"]);
    assert_eq!(left(churn(), waits("cleanup_net"), &[]), 1);
    assert_eq!(left(churn(), waits("dio_work"), &[]), 2);
    assert_eq!(
        left(of_id("RT-STARVE", &[1], &[]), waits("dio_work"), &[]),
        1
    );
}

#[test]
fn what_takes_little_is_no_busy_machine() {
    let mut summary = fixture::summary();
    summary.softirq = vec![softirq("TIMER", 0, "irq_tail", 300, percent(1))];
    summary.hardirq = vec![fixture::hardirq(None, "LOC", 0, 60_000, percent(2))];
    let diagnosis = of(&summary, &evidence(&[]));
    assert_eq!(diagnosis.findings[0].id, "TMR-HARD");
    assert!(
        diagnosis.first_line.starts_with("Nothing is hot: ")
            && diagnosis
                .first_line
                .ends_with(" Also seen: CPU 0 takes 6,000 timer interrupts/s."),
        "{}",
        diagnosis.first_line
    );
    // What says that it is busy is what takes a part of a CPU, in whatever order they are told.
    summary.workqueue = vec![fixture::work("kcryptd", "kcryptd_crypt", 900, percent(60))];
    let diagnosis = of(&summary, &evidence(&[]));
    assert!(
        diagnosis
            .first_line
            .starts_with("Busy, without harm: Works of file systems"),
        "{}",
        diagnosis.first_line
    );
}
