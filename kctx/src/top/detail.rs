//! All that is known of one row, in lines.

use super::{
    happened::Happened,
    history::Frame,
    rows::{OTHERS, action, confidence, severity},
    table::Tab,
};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{Finding, Safety},
    report::{
        human::{count, duration, name, percent, share},
        summary::{DurationSummary, OriginSummary, Summary},
        text::raiser,
    },
};

/// Raisers, queuers and stacks that are named.
const NAMED: usize = 12;

/// Of a row of a table, by its place in the summary; nothing where there is none.
pub(super) fn detail(tab: Tab, frame: &Frame, index: usize) -> Vec<String> {
    let summary = &frame.summary;
    let lines = match tab {
        Tab::Softirqs => softirq(summary, index),
        Tab::Raisers => raised(summary, index),
        Tab::Interrupts => hardirq(summary, index),
        Tab::Works => work(summary, index),
        Tab::Napi => napi(summary, index),
        Tab::Kthreads => kthread(summary, index),
        Tab::Tasklets => tasklet(summary, index),
        Tab::Events => None,
        Tab::Probes => probe(summary, index),
        Tab::Findings => frame.diagnosis.findings.get(index).map(finding),
    };
    lines.unwrap_or_default()
}

/// Of something that happened.
pub(super) fn event(one: &Happened) -> Vec<String> {
    vec![name(&one.what), name(&one.text)]
}

fn softirq(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.softirq.get(index)?;
    let mut lines = vec![
        format!(
            "softirq {} on CPU {}, in {}",
            name(&row.vector),
            row.cpu,
            name(&row.context)
        ),
        format!(
            "runs {}, {} of them with an unknown wait",
            count(row.count),
            count(row.wait_unknown)
        ),
        on_cpu("time, net of interrupts", &row.service_net, summary),
        on_cpu("time, gross", &row.service, summary),
        spread("wait from raise to start", &row.wait),
    ];
    lines.extend(raisers(summary, &row.vector, row.cpu));
    lines.extend(stacks(summary, &format!("softirq:{}", row.vector)));
    Some(lines)
}

fn raised(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.softirq_origin.get(index)?;
    let mut lines = raisers(summary, &row.vector, row.cpu);
    lines.extend(stacks(summary, &format!("softirq:{}", row.vector)));
    Some(lines)
}

/// What raised a vector on a CPU, the most frequent first.
fn raisers(summary: &Summary, vector: &str, cpu: u32) -> Vec<String> {
    let rows = summary.softirq_origin.iter();
    let rows = rows.filter(|row| row.vector == vector && row.cpu == cpu);
    let by = by_whom(rows.map(|row| (&row.origin, row.count)));
    titled(&format!("{} on CPU {cpu} was raised by", name(vector)), by)
}

fn by_whom<'a>(origins: impl Iterator<Item = (&'a OriginSummary, u64)>) -> Vec<String> {
    let origins: Vec<_> = origins.collect();
    let all = origins
        .iter()
        .fold(0, |sum: u64, (_, n)| sum.saturating_add(*n));
    let line = |(origin, n): &(&OriginSummary, u64)| {
        format!("  {} {} ({})", percent(*n, all), raiser(origin), count(*n))
    };
    let mut lines: Vec<String> = origins.iter().take(NAMED).map(line).collect();
    if origins.len() > NAMED {
        lines.push(format!("  and {} more", origins.len() - NAMED));
    }
    lines
}

fn hardirq(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.hardirq.get(index)?;
    let number = row.irq.map_or_else(String::new, |irq| format!(" {irq}"));
    let mut lines = vec![
        format!("interrupt{number} {} on CPU {}", name(action(row)), row.cpu),
        format!(
            "calls {}, not its own {}, woke its thread {}",
            count(row.count),
            count(row.unhandled),
            count(row.woke_thread)
        ),
        on_cpu("time", &row.service, summary),
    ];
    // A vector without a number is an origin by its name.
    let is_it = |origin: &OriginSummary| match (row.overflow, row.irq) {
        (true, _) => false,
        (false, Some(irq)) => origin.kind == OriginKind::Irq && origin.number == Some(irq),
        (false, None) => origin.kind == OriginKind::Vector && origin.name == row.name,
    };
    let raised = summary.softirq_origin.iter();
    let raised = raised.filter(|of| of.cpu == row.cpu && is_it(&of.origin));
    let raised = raised.map(|of| format!("  {} {}", name(&of.vector), count(of.count)));
    lines.extend(titled("on this CPU it raised", raised.collect()));
    Some(lines)
}

fn work(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.workqueue.get(index)?;
    let what = match row.overflow {
        true => OTHERS.to_owned(),
        false => format!("{} on {}", name(&row.function), name(&row.workqueue)),
    };
    let mut lines = vec![
        format!("work {what}"),
        format!(
            "runs {}, queued from another CPU {}, in softirqs {}, with an unknown wait {}",
            count(row.count),
            count(row.remote),
            count(row.bh),
            count(row.wait_unknown)
        ),
        on_cpu("time on the CPU", &row.service_net, summary),
        spread("time in all (it may sleep)", &row.service),
        spread("wait from queueing to start", &row.wait),
        spread("of that until activated", &row.activate),
    ];
    let by = by_whom(row.queued_by.iter().map(|by| (&by.origin, by.count)));
    lines.extend(titled("queued by", by));
    Some(lines)
}

fn napi(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.napi.get(index)?;
    let device = if row.overflow { OTHERS } else { &row.device };
    let mut lines = vec![
        format!(
            "NAPI {} of {} on CPU {}, in {}",
            row.napi_id,
            name(device),
            row.cpu,
            name(&row.context)
        ),
        format!(
            "polls {}, packets {}, at most {} a poll; budget used up in {} ({})",
            count(row.count),
            count(row.packets),
            count(row.packets_max),
            count(row.exhausted),
            percent(row.exhausted, row.count)
        ),
        on_cpu("time of a poll", &row.service, summary),
    ];
    lines.extend(raisers(summary, "NET_RX", row.cpu));
    Some(lines)
}

fn kthread(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.kthread.get(index)?;
    let comm = if row.overflow { OTHERS } else { &row.comm };
    let queue = match row.workqueue.as_str() {
        "" => String::new(),
        queue => format!(", working for {}", name(queue)),
    };
    let window = summary.window.duration_ns;
    let mut lines = vec![
        format!(
            "{} {} (pid {}){queue}",
            name(&row.role),
            name(comm),
            row.pid
        ),
        format!(
            "on a CPU {} of the window, {} without interrupts and softirqs",
            share(row.cpu_ns, window),
            share(row.cpu_net_ns, window)
        ),
        format!(
            "left its CPU {} times, preempted {}",
            count(row.count),
            count(row.preempted)
        ),
        on_cpu("stretch on the CPU, net", &row.service_net, summary),
        on_cpu("stretch on the CPU, gross", &row.service, summary),
        spread("wait from runnable to running", &row.wait),
    ];
    lines.extend(stacks(summary, &format!("kthread:{}", row.role)));
    Some(lines)
}

fn tasklet(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.tasklet.get(index)?;
    let function = if row.overflow { OTHERS } else { &row.function };
    Some(vec![
        format!("tasklet {}", name(function)),
        format!("runs {}", count(row.count)),
        on_cpu("time, net of interrupts", &row.service_net, summary),
        on_cpu("time, gross", &row.service, summary),
    ])
}

fn probe(summary: &Summary, index: usize) -> Option<Vec<String>> {
    let row = summary.probes.get(index)?;
    let how = match (row.attached, &row.mechanism) {
        (true, Some(how)) => format!("attached as {}", name(how)),
        (true, None) => "attached".to_owned(),
        (false, _) => "not attached".to_owned(),
    };
    let mut lines = vec![
        format!("{}, for {}", name(&row.name), row.family.as_str()),
        how,
    ];
    lines.extend(row.reason.as_deref().map(name));
    Some(lines)
}

fn finding(one: &Finding) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} {}, confidence {}: {}",
            severity(one.severity),
            name(&one.id),
            confidence(one.confidence),
            name(&one.title)
        ),
        name(&one.statement),
    ];
    let steps = one
        .chain
        .iter()
        .map(|step| format!("  {}: {}", name(&step.step), name(&step.value)));
    lines.extend(titled("how it comes about", steps.collect()));
    let evidence = one.evidence.iter();
    let evidence = evidence.map(|of| format!("  {}: {}", name(&of.reference), name(&of.value)));
    lines.extend(titled("evidence", evidence.collect()));
    let texts = |texts: &[String]| {
        texts
            .iter()
            .map(|text| format!("  {}", name(text)))
            .collect()
    };
    lines.extend(titled("missing", texts(&one.missing)));
    let next = one.next.iter().map(|next| {
        let safety = match next.safety {
            Safety::ReadOnly => "only reads",
            Safety::Reversible => "can be changed back",
            Safety::OwnerDecision => "its owner decides",
        };
        let command = next
            .command
            .as_deref()
            .map(|command| format!(": {}", name(command)));
        format!(
            "  {} ({safety}){}",
            name(&next.what),
            command.unwrap_or_default()
        )
    });
    lines.extend(titled("what to do next", next.collect()));
    lines.extend(titled("what not to do", texts(&one.do_not)));
    lines.push(format!("see {}", name(&one.doc)));
    lines
}

/// Sampled stacks of a context, the most frequent first; the innermost function first.
fn stacks(summary: &Summary, context: &str) -> Vec<String> {
    let rows = summary.stack.iter().filter(|row| row.context == context);
    let line = rows.take(NAMED).map(|row| {
        let frames: Vec<String> = row.frames.iter().rev().map(|frame| name(frame)).collect();
        format!("  {} times {}", count(row.count), frames.join(" < "))
    });
    titled("sampled stacks, of all CPUs that were busy", line.collect())
}

/// Lines under a heading; neither where there is no line.
fn titled(title: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return lines;
    }
    let mut all = vec![String::new(), format!("{title}:")];
    all.extend(lines);
    all
}

/// Quantiles of a time on a CPU, and how much of one it was.
fn on_cpu(what: &str, durations: &DurationSummary, summary: &Summary) -> String {
    let spread = spread(what, durations);
    if durations.count == 0 {
        return spread;
    }
    let share = share(durations.sum_ns, summary.window.duration_ns);
    format!(
        "{spread}, sum {} ({share} of a CPU)",
        duration(durations.sum_ns)
    )
}

/// Quantiles of any duration.
fn spread(what: &str, durations: &DurationSummary) -> String {
    if durations.count == 0 {
        return format!("{what}: not measured");
    }
    let of = |label: &str, ns: u64| format!("{label} {}", duration(ns));
    let parts = [
        of("p50", durations.p50_ns),
        of("p90", durations.p90_ns),
        of("p99", durations.p99_ns),
        of("p99.9", durations.p999_ns),
        of("max", durations.max_ns),
        of("mean", durations.mean_ns),
    ];
    format!("{what}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn frame() -> Frame {
        Frame::new(0, &fixture::window(), fixture::host())
    }

    fn of(tab: Tab, index: usize) -> String {
        detail(tab, &frame(), index).join("\n")
    }

    #[test]
    fn a_softirq_has_its_quantiles_raisers_and_stacks() {
        let text = of(Tab::Softirqs, 1);
        for wanted in [
            "softirq NET_RX on CPU 1, in irq_tail",
            "time, net of interrupts: p50 1.00 ms",
            "(40.00 % of a CPU)",
            "wait from raise to start: p50 2.0",
            "  70 % irq 36 virtio1\\u{1b}[2J (280)",
            "  12 times net_rx_action < handle_softirqs",
        ] {
            assert!(text.contains(wanted), "{wanted}:\n{text}");
        }
        // On the other CPU nobody saw a raise.
        assert!(!of(Tab::Softirqs, 0).contains("raised by"));
    }

    #[test]
    fn a_work_has_who_queued_it_and_an_interrupt_what_it_raised() {
        let text = of(Tab::Works, 0);
        assert!(text.contains("work flush_to_ldisc on events"), "{text}");
        assert!(text.contains("  67 % task iperf3 (pid 4711) (2)"), "{text}");
        let mut frame = frame();
        frame.summary.softirq_origin[0].cpu = 0;
        let interrupt = detail(Tab::Interrupts, &frame, 1).join("\n");
        assert!(
            interrupt.contains("on this CPU it raised:\n  NET_RX 280"),
            "{interrupt}"
        );
    }

    #[test]
    fn every_row_has_lines_that_are_safe_and_a_row_that_is_not_there_has_none() {
        let frame = frame();
        for tab in Tab::ALL {
            let rows = super::super::rows::rows(tab, &frame, &[]);
            for row in &rows {
                let lines = detail(tab, &frame, row.index);
                assert!(!lines.is_empty(), "{tab:?}");
                assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:?}");
            }
            assert!(detail(tab, &frame, rows.len()).is_empty());
        }
        assert!(of(Tab::Probes, 1).contains("CONFIG_MODULES is off"));
        assert!(of(Tab::Napi, 1).contains("budget used up in 100 (25 %)"));
        assert!(of(Tab::Kthreads, 0).contains("9.00 % of the window, 7.20 % without"));
        assert!(of(Tab::Tasklets, 0).contains("p50 1.9"));
    }
}
