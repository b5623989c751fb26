use super::{Outcome, Rule, vectors::Busy};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::{percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::BUSY,
    page::{Page, look_alike, owner, read, threshold},
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "RCU-FLOOD",
        title: "RCU takes a CPU",
        means: "What is freed under RCU (files, sockets, dentries, namespaces, BPF map entries) is freed after a grace period, many at once, by \
                the RCU softirq or by rcuo and rcuc threads. Something that makes and drops such things all the time pays there, and memory \
                grows while it waits. Grace periods cost too where somebody waits for one after another: what mounts, network namespaces and devices \
                that come and go wait for is as a rule an expedited one, which interrupts each CPU that is not idle.",
        signals: &[
            "RCU's share of a CPU, and its longest run",
            "time of rcuo and rcuc threads (callbacks), of rcu_preempt and rcu_exp threads (grace periods)",
            "\"rcu: INFO: ... detected stalls\" in the kernel's log",
        ],
        thresholds: &[
            threshold(
                "of a CPU in RCU",
                "10 %",
                "kctx; measured: 150,000 sockets/s are 6 %",
            ),
            threshold("its threads", "10 % of a CPU", "kctx"),
            threshold(
                "a stall",
                "one line",
                "the kernel: 21 s without a grace period",
            ),
        ],
        confused_with: &[
            look_alike(
                "WQ-CG",
                "namespaces and control groups that are taken down by works",
            ),
            look_alike("RT-STARVE", "RCU's threads wait for a CPU"),
        ],
        next: &[
            read(
                "See whether what waits to be freed grows.",
                "grep -E 'Slab|SUnreclaim' /proc/meminfo",
            ),
            read(
                "See who makes them: processes that come and go, files and sockets a second.",
                "vmstat 1 5 ; cat /proc/sys/fs/file-nr /proc/net/sockstat",
            ),
            read(
                "See who waits for grace periods: tasks in it, some times over.",
                "for i in 1 2 3 4 5; do grep -ls synchronize_rcu /proc/[0-9]*/stack | cut -d/ -f3 | xargs -r ps -o pid,comm -p ; done",
            ),
            owner("rcu_nocbs moves callbacks to threads: a choice of the boot, for its owner."),
        ],
        do_not: &["Set rcu_expedited as a cure: it pays with interrupts of all CPUs."],
    },
    explained_by: &["RT-STARVE"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    if let Some(line) = facts.logged(&["rcu", "stall"]) {
        return Outcome::Found(vec![stalled(line)]);
    }
    let busy = Busy {
        page: &RULE.page,
        vector: "RCU",
        what: "RCU callbacks",
        code: facts.stacks.called_by("RCU", &["rcu_do_batch"]),
        defect: false,
    };
    if let Some(finding) = busy.finding(facts) {
        return Outcome::Found(vec![finding]);
    }
    let threads = facts
        .summary
        .kthread
        .iter()
        .filter(|row| row.role == "rcu" && !row.overflow);
    let most = threads.max_by_key(|row| row.cpu_ns);
    if let Some(thread) = most
        && facts.percent(thread.cpu_ns) >= BUSY
    {
        let share = percent(facts.percent(thread.cpu_ns));
        let finding = Draft::new(&RULE.page, Severity::Info, Confidence::Medium)
            .title(format!("{} takes {share} of a CPU", thread.comm))
            .statement(format!(
                "{} (pid {}) takes {share} of a CPU for {}, {}, at most {} at a time.",
                thread.comm,
                thread.pid,
                occupation(&thread.comm),
                rate(facts.rate(thread.count)),
                time(thread.service.max_ns as f64)
            ))
            .process(&thread.comm, thread.pid)
            .evidence(format!("summary.kthread[comm={}]", thread.comm), share)
            .done();
        return Outcome::Found(vec![finding]);
    }
    match busy.not(facts) {
        None => Outcome::Silent,
        Some(because) => Outcome::RuledOut(because),
    }
}

/// What a thread of RCU does (kernel/rcu/tree.c, tree_exp.h, tasks.h).
fn occupation(comm: &str) -> &'static str {
    if comm.starts_with("rcuo") || comm.starts_with("rcuc") {
        "RCU callbacks"
    } else if comm.starts_with("rcu_exp") {
        "RCU's expedited grace periods, which interrupt each CPU that is not idle: somebody waits for one after another"
    } else {
        "RCU's grace periods"
    }
}

fn stalled(line: &str) -> Finding {
    Draft::new(&RULE.page, Severity::Crit, Confidence::Medium)
        .title("RCU is stalled")
        .statement(format!(
            "The kernel reports an RCU stall, so that nothing is freed meanwhile: \"{line}\"."
        ))
        .evidence("summary.log", line)
        .done()
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::LogRow,
        diagnose::{
            finding::Severity,
            fixture::{evidence, found, kthread, of, percent, ruled_out, softirq, stack, summary},
        },
    };

    #[test]
    fn threads_are_told_by_what_they_do() {
        for (comm, what) in [
            ("rcuop/3", "of a CPU for RCU callbacks, "),
            ("rcu_exp_gp_kthr", "RCU's expedited grace periods"),
            ("rcu_preempt", "of a CPU for RCU's grace periods, "),
        ] {
            let mut summary = summary();
            summary.kthread = vec![kthread("rcu", comm, percent(14))];
            let diagnosis = of(&summary, &evidence(&[]));
            let statement = &found(&diagnosis, "RCU-FLOOD").unwrap().statement;
            assert!(statement.contains(what), "{statement}");
        }
    }

    #[test]
    fn callbacks_that_take_much_and_stalls_are_found_and_ordinary_runs_are_not() {
        let mut summary = summary();
        summary.softirq = vec![softirq("RCU", 0, "ksoftirqd", 34_000, percent(26))];
        summary.stack = vec![stack(
            "softirq:RCU",
            &["rcu_core", "rcu_do_batch", "file_free_rcu"],
            20,
        )];
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (
                first.id.as_str(),
                first.severity,
                &first.scope.functions[..]
            ),
            (
                "RCU-FLOOD",
                Severity::Info,
                &["file_free_rcu".to_owned()][..]
            )
        );
        summary.softirq = vec![softirq("RCU", 0, "irq_tail", 900, percent(1))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "RCU-FLOOD").is_none()
                && ruled_out(&diagnosis, "RCU-FLOOD").is_some()
        );
        summary.log.lines = vec![LogRow {
            text: "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:".to_owned(),
            ..LogRow::default()
        }];
        assert_eq!(
            of(&summary, &evidence(&[])).findings[0].severity,
            Severity::Crit
        );
    }
}
