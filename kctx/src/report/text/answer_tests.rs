use crate::{
    diagnose::{Confidence, Diagnosis, Finding, Scope, Severity, Verdict},
    report::{
        fixture,
        summary::{ContextsFrom, Narrowed, SpanSummary, Summary},
        text::{render, render_whole, tests::line},
    },
};

fn finding(severity: Severity) -> Finding {
    Finding {
        id: "NET-FW".to_owned(),
        severity,
        confidence: Confidence::High,
        title: "CPU 1 forwards packets of eth0".to_owned(),
        statement: "NET_RX took 40 % of CPU 1, 12 µs each\x1b[2J.".to_owned(),
        share: None,
        scope: Scope::default(),
        chain: Vec::new(),
        evidence: Vec::new(),
        missing: Vec::new(),
        next: Vec::new(),
        do_not: Vec::new(),
        doc: String::new(),
    }
}

fn diagnosis(first_line: &str, findings: Vec<Finding>) -> Diagnosis {
    Diagnosis {
        schema: String::new(),
        verdict: Verdict::Hot,
        first_line: first_line.to_owned(),
        findings,
        ruled_out: Vec::new(),
        caveats: Vec::new(),
        also_seen: Vec::new(),
    }
}

fn summary() -> Summary {
    Summary::from_window(&fixture::window(), fixture::host(), Some(4097))
}

#[test]
fn the_answer_comes_first() {
    let found = diagnosis("CPU 1 is busy forwarding.", vec![finding(Severity::Crit)]);
    let text = render_whole(&summary(), &found, &[], 100);
    let lines: Vec<_> = text.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "CPU 1 is busy forwarding.",
            "  crit NET-FW: CPU 1 forwards packets of eth0",
            "       NET_RX took 40 % of CPU 1, 12 µs each\\u{1b}[2J.",
            "",
        ]
    );
    let text = render_whole(&summary(), &diagnosis("", Vec::new()), &[], 100);
    assert!(text.starts_with("Busiest kernel context: softirq NET_RX on CPU 1, 40.00 %"));
}

#[test]
fn a_part_does_not_speak_for_the_machine() {
    let nothing = |summary: &Summary| {
        let mut diagnosis = diagnosis("Nothing is hot.", Vec::new());
        diagnosis.verdict = Verdict::NothingHot;
        render_whole(summary, &diagnosis, &[], 100)
    };
    assert!(nothing(&summary()).starts_with("Nothing is hot.\n"));
    let mut part = summary();
    part.narrowed = Some(Narrowed {
        cpus: None,
        vectors: Some(vec!["BLOCK".to_owned()]),
        span: None,
        contexts: ContextsFrom::Accounts,
        spilled_left_out: 0,
        stacks_left_out: 0,
        log_lines_left_out: 0,
    });
    assert!(nothing(&part).starts_with("Of this part of the bundle: Busiest kernel context"));
}

#[test]
fn what_is_amiss_with_the_bundle_follows_the_answer() {
    let notes = ["damaged: events/000001".to_owned()];
    let text = render_whole(&summary(), &diagnosis("A.", Vec::new()), &notes, 100);
    assert!(
        text.starts_with("A.\n\ndamaged: events/000001\n\nhost"),
        "{text}"
    );
}

#[test]
fn it_fits_the_terminal() {
    let found = diagnosis("CPU 1 is busy forwarding.", vec![finding(Severity::Warn)]);
    for width in [40, 60, 80, 100, 200] {
        let text = render_whole(&summary(), &found, &[], width);
        let wide: Vec<_> = (text.lines())
            .filter(|line| line.chars().count() > width)
            // A single word may be wider than the narrowest terminal.
            .filter(|line| line.trim().contains(' '))
            .collect();
        assert!(wide.is_empty(), "{width}: {wide:#?}");
        assert_eq!(text.contains("no room here for"), width < 100, "{width}");
    }
}

#[test]
fn a_part_says_what_it_is_of_and_what_it_lacks() {
    let mut part = summary();
    part.narrowed = Some(Narrowed {
        cpus: Some(vec![0, 1]),
        vectors: Some(vec!["NET_RX".to_owned()]),
        span: Some(SpanSummary {
            from_ns: 2_500_000_000,
            to_ns: 3_000_000_000,
        }),
        contexts: ContextsFrom::Records,
        spilled_left_out: 1_234,
        stacks_left_out: 0,
        log_lines_left_out: 0,
    });
    part.workqueue.clear();
    let text = render(&part);
    line(&text, &["Only what ran on CPU 0-1;"]);
    line(&text, &["Only softirqs NET_RX"]);
    line(&text, &["from 2.50 s to 3.00 s after"]);
    line(&text, &["Rates out of evidence", "are of the whole window"]);
    line(&text, &["1,234 spilled executions have no time"]);
    assert!(!text.contains("samples of stacks have"));
    line(&text, &["left out: only some softirq vectors"]);
}
