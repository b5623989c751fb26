use super::{Outcome, Rule, receiving};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, receive::Receive},
    figures::{percent, rate, time},
    finding::{Confidence, Finding},
    harm::{FULL, Harm, severity},
    page::{Page, look_alike, owner, read, reversible, threshold},
};

/// Part of NET_RX runs that ended squeezed.
const SQUEEZED: f64 = 10.0;
/// `netdev_budget` is 300 and a poll takes 64: fewer full NAPIs cannot use it up.
const NAPIS: usize = 5;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-BUDGET",
        title: "Runs of NET_RX end on their budget",
        means: "A run polls until all is done, 300 packets are taken (netdev_budget) or 2 jiffies are over (netdev_budget_usecs), and goes \
                on later. With one busy NAPI the packet budget cannot bite: it leaves the run after its 64. With five or more \
                it does, and is counted as time_squeeze. Whether that matters depends on the CPU: a full one has nothing to give.",
        signals: &[
            "time_squeeze of softnet_stat (column 3) by runs of NET_RX",
            "how many NAPIs had full polls on that CPU",
            "how long the longest run was: far below the limit, it was the packets",
        ],
        thresholds: &[
            threshold(
                "squeezed runs",
                "10 % of NET_RX runs",
                "kctx; netdata has 10/s, and ships it silent since it means no loss",
            ),
            threshold(
                "NAPIs with full polls on the CPU",
                "5",
                "net/core/dev.c: 300 / 64",
            ),
        ],
        confused_with: &[
            look_alike(
                "NET-SAT",
                "one NAPI is busy: the budget cannot bite, and time_squeeze stays at 0",
            ),
            look_alike(
                "NET-FW",
                "each packet is slow, so that the time limit bites: packets are the cause",
            ),
        ],
        next: &[
            read(
                "Watch time_squeeze and dropped of the CPU.",
                "watch -d cat /proc/net/softnet_stat",
            ),
            read(
                "See which devices' NAPIs share the CPU.",
                "grep -H . /proc/irq/*/effective_affinity_list",
            ),
            reversible("Spread the NAPIs over CPUs.", ""),
            owner(
                "Only if the CPU has time left, runs are short and the ring drops: a step of netdev_budget from 300 to 600, measured \
                   before and after.",
            ),
        ],
        do_not: &[
            "Raise netdev_budget_usecs: it is latency for all other softirqs and tasks of the CPU.",
            "Double the budget until the column stops growing: it counts no loss.",
        ],
    },
    explained_by: &["NET-FW", "NET-BPF", "NET-CT"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    if facts.softnet.is_none() {
        return Outcome::Silent;
    }
    let squeezed = |receive: &Receive| {
        let rate = receive.softnet.map_or(0.0, |counts| counts.squeezed);
        rate * 100.0 / receive.runs.max(1.0)
    };
    let found = (facts.receive.iter())
        .filter(|receive| squeezed(receive) >= SQUEEZED && receive.full_napis >= NAPIS)
        .find_map(|receive| finding(facts, receive, squeezed(receive)));
    let Some(most) = facts
        .receive
        .iter()
        .max_by(|a, b| squeezed(a).total_cmp(&squeezed(b)))
    else {
        return Outcome::Silent;
    };
    Outcome::or_ruled_out(found.into_iter().collect(), || {
        let counts = most.softnet.unwrap_or_default();
        let which = match squeezed(most) >= SQUEEZED {
            true => format!(
                "; it was the time that ran out, for {} NAPI had full polls (less than {NAPIS}): packets are slow",
                most.full_napis
            ),
            false => String::new(),
        };
        format!(
            "{} of {} NET_RX runs on CPU {} were squeezed (threshold {SQUEEZED:.0} %){which}",
            rate(counts.squeezed),
            rate(most.runs),
            most.cpu
        )
    })
}

fn finding(facts: &Facts<'_>, receive: &Receive, squeezed: f64) -> Option<Finding> {
    let harm = Harm::of_receive(facts, receive);
    let severity = severity(receive.percent, &harm, false)?;
    let budget = facts.sysctls.number("net.core.netdev_budget");
    let limit_ns = 2.0 * facts.jiffy_ns();
    let by_time = receive.longest_ns as f64 > limit_ns;
    let limit = match budget {
        Some(budget) => format!("netdev_budget ({budget})"),
        None => "netdev_budget".to_owned(),
    };
    let full = match receive.percent >= FULL {
        true => "; the CPU is full, so that a larger budget gains nothing",
        false => "",
    };
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("CPU {}: {} of NET_RX runs end on their budget", receive.cpu, percent(squeezed)))
        .statement(format!(
            "CPU {}: {} of {} NET_RX runs end on {limit} with {} busy NAPIs, after {} each, {} of the CPU in all{}{full}.",
            receive.cpu,
            rate(receive.softnet.map_or(0.0, |counts| counts.squeezed)),
            rate(receive.runs),
            receive.full_napis,
            time(receive.percent * 1e7 / receive.runs.max(1.0)),
            percent(receive.percent),
            harm.clause()
        ));
    let mut draft = receiving::chain(facts, draft, receive)
        .step(
            "budget",
            format!(
                "{} of runs squeezed; the longest run {}, {} the time limit of {}",
                percent(squeezed),
                time(receive.longest_ns as f64),
                if by_time { "over" } else { "below" },
                time(limit_ns)
            ),
        )
        .missing_if(budget.is_none(), "net.core.netdev_budget");
    for (device, _) in &receive.devices {
        draft = draft.device(device);
    }
    Some(draft.done())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{
        found, napi, of, percent, ruled_out, saturated, softirq, softnet, summary,
    };

    #[test]
    fn nine_full_napis_use_the_budget_up_and_one_cannot() {
        let mut summary = summary();
        summary.softirq = vec![softirq("NET_RX", 3, "ksoftirqd", 35_970, percent(75))];
        summary.napi = (0..9)
            .map(|id| {
                napi(
                    &format!("veth{id}"),
                    8200 + id,
                    3,
                    20_000,
                    19_000,
                    1_200_000,
                )
            })
            .collect();
        let diagnosis = of(&summary, &softnet(3, 348_000, 3591, 0));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), &first.scope.cpus[..]),
            ("NET-BUDGET", &[3][..])
        );
        assert!(
            diagnosis.first_line.starts_with(
                "CPU 3: 3,591/s of 3,597/s NET_RX runs end on netdev_budget with 9 busy NAPIs"
            ),
            "{}",
            diagnosis.first_line
        );
        let one = of(&saturated(0), &softnet(0, 630_000, 400, 0));
        assert!(found(&one, "NET-BUDGET").is_none());
        assert!(
            ruled_out(&one, "NET-BUDGET")
                .unwrap()
                .contains("1 NAPI had full polls")
        );
    }
}
