use super::{Outcome, Rule};
use crate::{
    capture::evidence::Phase,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::{percent, rate, time},
        finding::{Confidence, Severity},
        page::{Page, look_alike, owner, read, threshold},
    },
};

const FOLDER: &str = "sys/devices/system/cpu/";
/// A median wait on a CPU that is mostly idle.
const LATE_NS: u64 = 50_000;
/// A CPU that has so little to do.
const IDLE: f64 = 70.0;
/// Time in its deepest state.
const DEEP: f64 = 20.0;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "PWR",
        title: "Idle CPUs wake up slowly",
        means: "A CPU in a deep idle state takes 50 to 200 µs to be awake, and longer until its frequency is up. The first work after a rest is late, while a busy CPU is not: latency \
                falls under load.",
        signals: &[
            "the median wait of softirqs on CPUs that are mostly idle",
            "time in the deepest state of cpuidle",
        ],
        thresholds: &[
            threshold(
                "median of raise to entry, of at least 100",
                "50 µs",
                "kctx; at rest it is a few µs",
            ),
            threshold("idle, by /proc/stat", "70 %", "kctx"),
            threshold("time in the deepest state", "20 % of the window", "kctx"),
        ],
        confused_with: &[
            look_alike("VM-STEAL", "a virtual CPU that waits for its turn"),
            look_alike("RT-STARVE", "the CPU is busy with something else"),
        ],
        next: &[
            read(
                "See which states there are and how long they take to leave.",
                "grep -H . /sys/devices/system/cpu/cpu{cpu}/cpuidle/state*/{name,latency,usage}",
            ),
            read(
                "See the governor and the tuned profile.",
                "cat /sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor ; tuned-adm active",
            ),
            owner("A latency profile (tuned, PM QoS), which costs power and turbo of other CPUs."),
        ],
        do_not: &["Boot with idle=poll: it heats, and slows hyper-threads."],
    },
    explained_by: &["VM-STEAL", "RT-STARVE"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let Some(stats) = &facts.stat else {
        return Outcome::Silent;
    };
    let rows = facts.summary.softirq.iter();
    let idle = rows.filter(|row| {
        row.wait.count >= 100 && stats.get(&row.cpu).is_some_and(|stat| stat.idle >= IDLE)
    });
    let Some(worst) = idle.max_by_key(|row| row.wait.p50_ns) else {
        return Outcome::Silent;
    };
    let deep = deepest(facts, worst.cpu);
    let believed = deep.as_ref().is_some_and(|(_, share, _)| *share >= DEEP);
    if worst.wait.p50_ns < LATE_NS || !believed {
        let state = deep.map_or(String::new(), |(name, share, _)| {
            format!(
                "; its deepest state, {name}, has {} of its time",
                percent(share)
            )
        });
        return Outcome::RuledOut(format!(
            "{} on CPU {}, which is mostly idle, waits {} in the median (threshold {}){state}",
            worst.vector,
            worst.cpu,
            time(worst.wait.p50_ns as f64),
            time(LATE_NS as f64)
        ));
    }
    let (name, share, entries) = deep.unwrap_or_default();
    let cpu = worst.cpu;
    let finding = Draft::new(&RULE.page, Severity::Info, Confidence::Low)
        .title(format!("CPU {cpu} is idle, and slow to wake up"))
        .statement(format!(
            "CPU {cpu} is {} idle, but {} waits {} there in the median; it is in the idle state {name} for {} of the time, entered {}.",
            percent(stats.get(&cpu).map_or(0.0, |stat| stat.idle)),
            worst.vector,
            time(worst.wait.p50_ns as f64),
            percent(share),
            rate(entries)
        ))
        .cpu(cpu)
        .vector(&worst.vector)
        .step("idle state", format!("{name}: {} of the time", percent(share)))
        .evidence(format!("summary.softirq[vector={},cpu={cpu}].wait", worst.vector), format!("p50 {}", time(worst.wait.p50_ns as f64)))
        .missing("frequencies and SMIs: kctx does not read them")
        .done();
    Outcome::Found(vec![finding])
}

/// Name of the deepest state of a CPU, its share of the window in per cent, and entries a second.
fn deepest(facts: &Facts<'_>, cpu: u32) -> Option<(String, f64, f64)> {
    let start = format!("{FOLDER}cpu{cpu}/cpuidle/state");
    let files = facts.evidence.files(Phase::After);
    let numbers = files.filter_map(|(path, _)| {
        path.strip_prefix(&start)?
            .split_once('/')?
            .0
            .parse::<u32>()
            .ok()
    });
    let deepest = numbers.max()?;
    let number = |phase, file: &str| {
        let text = facts
            .evidence
            .text(phase, &format!("{start}{deepest}/{file}"))?;
        text.trim().parse::<u64>().ok()
    };
    let grown =
        |file| Some(number(Phase::After, file)?.saturating_sub(number(Phase::Before, file)?));
    let name = facts
        .evidence
        .text(Phase::After, &format!("{start}{deepest}/name"));
    let name = name.map_or_else(|| format!("state{deepest}"), |text| text.trim().to_owned());
    // Microseconds (`show_state_time`, drivers/cpuidle/sysfs.c).
    Some((
        name,
        facts.grown_percent(grown("time")?.saturating_mul(1000)),
        facts.grown_rate(grown("usage").unwrap_or(0)),
    ))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{durations, evidence, found, of, ruled_out, softirq, summary};

    #[test]
    fn late_wakes_of_an_idle_cpu_in_a_deep_state_are_found_and_those_of_a_busy_one_are_not() {
        let mut summary = summary();
        let mut row = softirq("NET_RX", 1, "irq_tail", 1000, 1_000_000);
        row.wait = durations(1000, 1000 * 130_000, 400_000);
        summary.softirq = vec![row];
        let files = |idle: u64| {
            let after = format!("cpu1 {} 0 0 {idle} 0 0 0 0\n", 1000 - idle);
            evidence(&[
                ("before/proc/stat", "cpu1 0 0 0 0 0 0 0 0\n"),
                ("after/proc/stat", &after),
                (
                    "after/sys/devices/system/cpu/cpu1/cpuidle/state4/name",
                    "C6\n",
                ),
                (
                    "before/sys/devices/system/cpu/cpu1/cpuidle/state4/time",
                    "0\n",
                ),
                (
                    "after/sys/devices/system/cpu/cpu1/cpuidle/state4/time",
                    "8000000\n",
                ),
            ])
        };
        let diagnosis = of(&summary, &files(950));
        assert!(
            found(&diagnosis, "PWR")
                .unwrap()
                .statement
                .contains("C6 for 80 % of the time")
        );
        assert!(found(&of(&summary, &files(200)), "PWR").is_none());
        summary.softirq[0].wait = durations(1000, 1000 * 3_000, 400_000);
        let diagnosis = of(&summary, &files(950));
        assert!(found(&diagnosis, "PWR").is_none() && ruled_out(&diagnosis, "PWR").is_some());
    }
}
