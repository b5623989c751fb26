//! What the rules about receiving packets say alike.

use crate::diagnose::{
    draft::Draft,
    facts::{Facts, origins, receive::Receive, shares::place, softnet, stacks::Through},
    figures::{number, percent, rate, time},
    finding::Confidence,
    harm::{BUSY, DROPS, Harm, severity},
    page::Page,
};

/// CPUs that receive much, or drop; the busiest first.
pub(super) fn busy<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = &'a Receive> {
    let much = |receive: &&Receive| receive.percent >= BUSY || receive.dropped() >= DROPS;
    facts.receive.iter().filter(much)
}

/// `CPU 0 spends 97 % of its time receiving packets, most of it in ksoftirqd/0`
pub(super) fn subject(receive: &Receive) -> String {
    format!(
        "CPU {} spends {} of its time receiving packets, most of it in {}",
        receive.cpu,
        percent(receive.percent),
        place(receive.place(), receive.cpu)
    )
}

/// `each costs 32.0 µs`, with how many there are; empty of none.
pub(super) fn cost(receive: &Receive) -> String {
    let Some(ns) = receive.cost_ns() else {
        return String::new();
    };
    format!("{} packets/s at {} each", number(receive.packets), time(ns))
}

/// Functions that are in each stack of receiving (net/core/dev.c).
const DISPATCHERS: [&str; 6] = [
    "__do_softirq",
    "handle_softirqs",
    "net_rx_action",
    "__napi_poll",
    "napi_threaded_poll",
    "process_backlog",
];

/// The chain from CPU to code, and the numbers it rests on.
pub(super) fn chain(facts: &Facts<'_>, draft: Draft, receive: &Receive) -> Draft {
    let code = facts.stacks.shared(in_receiving);
    // All receiving goes through these.
    let code = code.filter(|code| !DISPATCHERS.contains(&code.function.as_str()));
    to_napi(facts, draft, receive).step("code", code.as_ref().map_or(String::new(), Through::words))
}

/// The same as far as the NAPI: the code is the rule's to say.
pub(super) fn to_napi(facts: &Facts<'_>, draft: Draft, receive: &Receive) -> Draft {
    let cpu = receive.cpu;
    let places: Vec<_> = (receive.places.iter().filter(|(_, share)| *share >= 0.5))
        .map(|(known, share)| format!("{} in {}", percent(*share), place(known, cpu)))
        .collect();
    let raisers: Vec<_> = (receive
        .raisers
        .iter()
        .take(3)
        .filter(|(_, part)| *part >= 1.0))
    .map(|(origin, part)| format!("{} by {}", percent(*part), origins::words(origin)))
    .collect();
    let devices: Vec<_> = (receive.devices.iter().take(3))
        .map(|(device, packets)| format!("{device} {}", rate(*packets)))
        .collect();
    let polls = format!(
        "{} polls of {}; {} of them full",
        rate(receive.polls),
        devices.join(", "),
        percent(receive.full_percent)
    );
    let draft = draft
        .cpu(cpu)
        .vector("NET_RX")
        .share(cpu, "softirq NET_RX", receive.percent)
        .step(
            "CPU",
            format!("{cpu}: {} in NET_RX", percent(receive.percent)),
        )
        .step("place", places.join(", "))
        .step(
            "vector",
            format!(
                "NET_RX, {} runs, the longest {}",
                rate(receive.runs),
                time(receive.longest_ns as f64)
            ),
        )
        .step("raised by", raisers.join(", "))
        .step(
            "NAPI",
            if receive.polls > 0.0 {
                polls
            } else {
                String::new()
            },
        )
        .evidence(
            format!("summary.softirq[vector=NET_RX,cpu={cpu}]"),
            format!("{} of the CPU, {}", percent(receive.percent), cost(receive)),
        );
    match receive.softnet {
        None => draft.missing("proc/net/softnet_stat of both edges: drops are not known"),
        Some(counts) => draft.evidence(
            format!("{}:{}", facts.reference(softnet::FILE), counts.line),
            format!(
                "dropped {}, squeezed {}, RPS {}, backlog {}",
                rate(counts.dropped),
                rate(counts.squeezed),
                rate(counts.rps),
                counts
                    .backlog
                    .map_or_else(|| "?".to_owned(), |length| number(f64::from(length)))
            ),
        ),
    }
}

/// Of the samples taken while packets were received, wherever that was: those in some functions.
pub(super) fn code(facts: &Facts<'_>, is: impl Fn(&str) -> bool) -> Option<Through> {
    facts.stacks.through(in_receiving, is)
}

fn in_receiving(context: &str) -> bool {
    matches!(context, "softirq:NET_RX" | "kthread:napi")
}

/// What there is to say of code that takes a part of a CPU's receiving; `None` where that is not worth a finding.
pub(super) fn in_code(
    facts: &Facts<'_>,
    (page, confidence): (&Page, Confidence),
    receive: &Receive,
    through: &Through,
    what: &str,
) -> Option<Draft> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent * through.percent / 100.0, &harm, false)?;
    let draft = Draft::new(page, severity, confidence)
        .title(format!(
            "CPU {}: {} in NET_RX, {} of it in {what}",
            receive.cpu,
            percent(receive.percent),
            percent(through.percent)
        ))
        .statement(format!(
            "{}: {}; {} is in {} of the sampled stacks{}.",
            subject(receive),
            cost(receive),
            through.function,
            percent(through.percent),
            harm.clause()
        ));
    let draft = to_napi(facts, draft, receive)
        .function(&through.function)
        .step("code", through.words())
        .evidence("summary.stack[context=softirq:NET_RX]", through.words());
    Some(draft)
}

/// Why code was ruled out.
pub(super) fn not_in_code(through: Option<&Through>, what: &str, least: f64) -> String {
    match through {
        Some(through) => format!(
            "{what} in {} of {} stacks of receiving ({:.0} %, less than {least:.0} %)",
            through.samples, through.of, through.percent
        ),
        None => format!("too few stacks of receiving were sampled (less than 10) to see {what}"),
    }
}
