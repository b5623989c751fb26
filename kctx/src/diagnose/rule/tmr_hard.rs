use std::collections::BTreeMap;

use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, shares::Taken, stat},
    figures::{number, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    page::{Page, look_alike, owner, read, threshold},
};

/// Timer interrupts of a CPU, a second, beyond what ticks are.
const SOME: f64 = 5_000.0;
const MANY: f64 = 10_000.0;
/// Part of the CPU in their handlers, for many of them to be a warning.
const COSTS: f64 = 5.0;
/// The same of its system time: whoever is woken.
const SYSTEM: f64 = 40.0;
/// Switches for each interrupt, at least, where tasks are woken: it is two, to the task and away from it.
const WAKES: f64 = 0.5;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "TMR-HARD",
        title: "High-resolution timers interrupt a CPU",
        means: "The local timer interrupts for each high-resolution timer that is due: sleeps and time-outs of microseconds, timerfd, POSIX timers, sampling. That is \
                no softirq. Each interrupt as a rule wakes a task, which costs more than the interrupt; where few tasks are switched to, profilers sample by them \
                (perf record -F by cpu-clock, on virtual machines above all), or they signal a task that runs.",
        signals: &[
            "interrupts of the local timer (LOC) beyond HZ, a second",
            "system time of that CPU",
            "switches between tasks, a second: few, and nobody is woken by them",
            "softirqs that stay idle",
        ],
        thresholds: &[threshold(
            "LOC of a CPU",
            "5,000/s; a warning from 10,000/s on where they take 5 % of it, or 40 % of it is system time",
            "kctx; at rest 16 to 300/s, ticks are HZ at most",
        )],
        confused_with: &[
            look_alike(
                "NET-TX",
                "a queueing discipline sets a timer for each packet: NET_TX is busy too",
            ),
            look_alike("TMR-SOFT", "timers of the wheel, in the TIMER softirq"),
        ],
        next: &[
            read(
                "See which tasks sleep so shortly: those with most switches of their own will.",
                "pidstat -w 1 5 | sort -k4 -n | tail",
            ),
            read(
                "See which timers are set.",
                "grep -oE 'hrtimer_wakeup|posix_timer_fn|timerfd_tmrproc|perf_swevent_hrtimer' /proc/timer_list | sort | uniq -c",
            ),
            read(
                "See who samples by a clock: processes with perf events.",
                "find /proc/[0-9]*/fd -lname '*perf_event*' 2>/dev/null | cut -d/ -f3 | sort | uniq -c | sort -n",
            ),
            owner(
                "Ask the owner of the task for longer periods, or timer slack (prctl PR_SET_TIMERSLACK).",
            ),
        ],
        do_not: &["Disable high-resolution timers (highres=off): everything else gets coarser."],
    },
    explained_by: &["NET-TX"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let mut timers = facts.interrupt_vector("LOC");
    let for_softirqs = take_out_softirqs(facts, &mut timers);
    timers.sort_by(|a, b| b.rate.total_cmp(&a.rate));
    let Some(most) = timers.first() else {
        return Outcome::Silent;
    };
    let besides = |runs: Option<&f64>| match runs {
        Some(runs) if *runs >= SOME => {
            format!(" besides those for the HRTIMER softirq, {}", rate(*runs))
        }
        _ => String::new(),
    };
    if most.rate < SOME {
        let hz = facts
            .summary
            .host
            .hz
            .map_or("?".to_owned(), |hz| hz.to_string());
        let most_runs = for_softirqs.values().max_by(|a, b| a.total_cmp(b));
        return Outcome::RuledOut(format!(
            "CPU {} takes {} timer interrupts/s (HZ is {hz}; less than {}){}",
            most.cpu,
            number(most.rate),
            rate(SOME),
            besides(most_runs)
        ));
    }
    Outcome::Found(vec![finding(
        facts,
        most,
        &timers,
        &besides(for_softirqs.get(&most.cpu)),
    )])
}

/// Takes out the interrupts whose timers run in the HRTIMER softirq: no task sleeps by those (TMR-HRSOFT). Gives how many there
/// are, a second, by CPU.
fn take_out_softirqs(facts: &Facts<'_>, timers: &mut [Taken]) -> BTreeMap<u32, f64> {
    let runs = facts.vector("HRTIMER").into_iter();
    let runs: BTreeMap<u32, f64> = runs.map(|runs| (runs.cpu, runs.rate)).collect();
    for timer in timers {
        if let Some(runs) = runs.get(&timer.cpu)
            && timer.rate > 0.0
        {
            // Some are raised by the softirq itself.
            let left = 1.0 - (runs / timer.rate).min(1.0);
            timer.rate *= left;
            timer.percent *= left;
        }
    }
    runs
}

fn finding(facts: &Facts<'_>, most: &Taken, timers: &[Taken], besides: &str) -> Finding {
    let hz = facts
        .summary
        .host
        .hz
        .map_or(String::new(), |hz| format!(" (HZ is {hz})"));
    let system = facts
        .stat
        .as_ref()
        .and_then(|stats| stats.get(&most.cpu))
        .map(|stat| stat.system);
    let costs = most.percent >= COSTS || system.is_some_and(|system| system >= SYSTEM);
    let system = system.map_or(String::new(), |system| {
        format!("; {} of that CPU is system time", percent(system))
    });
    let task = facts.busiest_task(most.cpu);
    let by = task.map_or(String::new(), |task| {
        format!("; the busiest task there is {}", task.words())
    });
    let switches = few_switches(facts, timers);
    let few = switches.as_ref().map_or(String::new(), |switches| {
        format!(
            "; {switches}, so hardly any of these timers wakes a task: a profiler samples by the clock, or they signal the task that runs"
        )
    });
    let severity = if most.rate >= MANY && costs {
        Severity::Warn
    } else {
        Severity::Info
    };
    let mut draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("CPU {} takes {} timer interrupts/s", most.cpu, number(most.rate)))
        .statement(format!(
            "CPU {} takes {} timer interrupts/s{besides}{hz}, {} of its time in their handlers at {} each{system}{by}{few}.",
            most.cpu,
            number(most.rate),
            percent(most.percent),
            time(most.ns as f64 / most.count.max(1) as f64)
        ))
        .share(most.cpu, "hardirq LOC", most.percent)
        .cpu(most.cpu)
        .cpus(timers.iter().filter(|taken| taken.rate >= SOME).map(|taken| taken.cpu))
        .irq("LOC")
        .step("CPU", format!("{}: {} in handlers of LOC", most.cpu, percent(most.percent)))
        .step("interrupt", format!("LOC, {}", rate(most.rate)))
        .step("task", by.trim_start_matches("; "))
        .evidence(format!("summary.hardirq[name=LOC,cpu={}]", most.cpu), format!("{}, {}", rate(most.rate), percent(most.percent)))
        .missing("the functions of the timers: kctx does not trace them");
    if let Some(switches) = switches {
        draft = draft
            .step("switches", few.trim_start_matches("; "))
            .evidence(facts.reference(stat::FILE), switches);
    }
    if !system.is_empty() {
        draft = draft.evidence(facts.reference(stat::FILE), system.trim_start_matches("; "));
    }
    if let Some(task) = task {
        draft = draft.process(&task.comm, task.pid);
    }
    draft.done()
}

/// How many switches there were, where they are few for so many timers.
fn few_switches(facts: &Facts<'_>, timers: &[Taken]) -> Option<String> {
    let switches = facts.grown_rate(facts.switches?);
    let all: f64 = timers.iter().map(|taken| taken.rate).sum();
    let few = switches < all * WAKES;
    few.then(|| format!("{} switches between tasks/s on all CPUs", number(switches)))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::Severity,
        fixture::{evidence, found, hardirq, of, percent, ruled_out, softirq, summary},
    };

    #[test]
    fn timers_far_beyond_hz_are_found_and_ticks_or_a_shaper_are_not() {
        let mut summary = summary();
        summary.hardirq = vec![
            hardirq(None, "LOC", 0, 217_000, percent(6)),
            hardirq(None, "LOC", 1, 2_500, 1),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("TMR-HARD", Severity::Warn, &[0][..])
        );
        assert!(
            diagnosis
                .first_line
                .starts_with("CPU 0 takes 21,700 timer interrupts/s (HZ is 250)"),
            "{}",
            diagnosis.first_line
        );
        summary.hardirq[0] = hardirq(None, "LOC", 0, 217_000, percent(3));
        let stat = |system: u32| {
            let after = format!("cpu0 10 0 {system} {}\n", 90 - system);
            evidence(&[
                ("before/proc/stat", "cpu0 0 0 0 0\n"),
                ("after/proc/stat", &after),
            ])
        };
        for (system, severity) in [(20, Severity::Info), (45, Severity::Warn)] {
            let diagnosis = of(&summary, &stat(system));
            assert_eq!(found(&diagnosis, "TMR-HARD").unwrap().severity, severity);
        }
        // Nobody is woken by those that a profiler samples by.
        for (switches, sampled) in [(500, true), (400_000, false)] {
            let after = format!("cpu0 10 0 1 89\nctxt {switches}\n");
            let found_it = of(
                &summary,
                &evidence(&[
                    ("before/proc/stat", "cpu0 0 0 0 0\nctxt 0\n"),
                    ("after/proc/stat", &after),
                ]),
            );
            let statement = &found(&found_it, "TMR-HARD").unwrap().statement;
            assert_eq!(statement.contains("a profiler"), sampled, "{statement}");
        }
        // Those that TCP paces by are no task's.
        summary.softirq = vec![softirq("HRTIMER", 0, "irq_tail", 215_000, percent(24))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(diagnosis.findings[0].id, "TMR-HRSOFT");
        assert!(
            ruled_out(&diagnosis, "TMR-HARD")
                .unwrap()
                .contains("besides those for the HRTIMER softirq, 21,500/s"),
            "{diagnosis:?}"
        );
        // Both kinds on one CPU.
        summary.softirq = vec![softirq("HRTIMER", 0, "irq_tail", 100_000, percent(9))];
        let diagnosis = of(&summary, &evidence(&[]));
        let both = found(&diagnosis, "TMR-HARD").unwrap();
        assert!(
            both.statement.starts_with(
                "CPU 0 takes 11,700 timer interrupts/s besides those for the HRTIMER softirq, 10,000/s"
            ),
            "{}",
            both.statement
        );
        summary.softirq = vec![softirq("NET_TX", 0, "ksoftirqd", 200_000, percent(20))];
        assert!(found(&of(&summary, &evidence(&[])), "TMR-HARD").is_none());
        summary.softirq.clear();
        summary.hardirq = vec![hardirq(None, "LOC", 0, 10_000, percent(1))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "TMR-HARD").is_none() && ruled_out(&diagnosis, "TMR-HARD").is_some()
        );
    }
}
