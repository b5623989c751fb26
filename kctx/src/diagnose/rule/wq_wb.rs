use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::{percent, time},
    finding::{Confidence, Severity},
    harm::{BUSY, FULL},
    page::{Page, look_alike, owner, read, threshold},
};

/// How the functions of file systems, loop devices and encryption begin.
const WORKS: [&str; 13] = [
    "wb_workfn",
    "wb_update",
    "xfs_",
    "xlog_",
    "ext4_",
    "btrfs_",
    "iomap_",
    "loop_",
    "kcryptd",
    "dm_",
    "nfs",
    "rpc_async",
    "blk_mq_run_work",
];

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "WQ-WB",
        title: "File systems and block devices work in kworkers",
        means: "Writing back, journals, loop devices and encryption run as works. They mostly wait for a disk: their wall time is no CPU time. Encryption and \
                checksums are CPU time, and what was asked for.",
        signals: &[
            "time on CPUs of such works",
            "their wall time beside it",
            "dirty pages and pressure of I/O",
        ],
        thresholds: &[threshold(
            "time on CPUs of such works",
            "10 % of a CPU; 80 % is a warning",
            "kctx",
        )],
        confused_with: &[
            look_alike("WQ-HOG", "a work of another kind that does not sleep"),
            look_alike("BLK-DONE", "completions of requests, in softirqs"),
        ],
        next: &[
            read("See which device it is.", "iostat -x 1 5"),
            read("See which file a loop device is.", "losetup --list"),
            read(
                "See how much waits to be written.",
                "grep -E 'Dirty|Writeback:' /proc/meminfo ; cat /proc/pressure/io",
            ),
            owner("Ask the owner of what writes; or a faster device."),
        ],
        do_not: &["Take wall time of such a work for CPU burn."],
    },
    explained_by: &["WQ-CG"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let works = facts.works();
    let of_disk: Vec<_> = works
        .iter()
        .filter(|work| WORKS.iter().any(|start| work.function.starts_with(start)))
        .collect();
    let Some(most) = of_disk.iter().max_by_key(|work| work.cpu_ns) else {
        return Outcome::Silent;
    };
    let share = facts.percent(of_disk.iter().map(|work| work.cpu_ns).sum());
    let wall = facts.percent(of_disk.iter().map(|work| work.service_ns).sum());
    if share < BUSY {
        return Outcome::RuledOut(format!(
            "works of file systems and block devices take {} of a CPU (less than {BUSY:.0} %), {} in wall time",
            percent(share),
            percent(wall)
        ));
    }
    let severity = if share >= FULL {
        Severity::Warn
    } else {
        Severity::Info
    };
    let most_by = most.most_queued_by();
    let draft = Draft::new(&RULE.page, severity, Confidence::Medium)
        .title(format!("{} and its like take {} of a CPU", most.function, percent(share)))
        .statement(format!(
            "Works of file systems and block devices take {} of a CPU and {} in wall time, most of it {} of {} (at most {} at a time){most_by}.",
            percent(share),
            percent(wall),
            most.function,
            most.workqueue,
            time(most.row.service.max_ns as f64)
        ))
        .function(most.function)
        .step("work", format!("{} of {}", most.function, most.workqueue))
        .queued_by(most)
        .evidence(format!("summary.workqueue[function={}]", most.function), format!("{} on CPUs", percent(facts.percent(most.cpu_ns))));
    Outcome::Found(vec![draft.done()])
}

#[cfg(test)]
mod tests {
    use crate::diagnose::fixture::{
        durations, evidence, found, of, percent, ruled_out, summary, work,
    };

    #[test]
    fn encryption_that_burns_is_found_and_writing_back_that_waits_is_not() {
        let mut summary = summary();
        summary.workqueue = vec![work("kcryptd/252:0", "kcryptd_crypt", 900, percent(60))];
        assert!(found(&of(&summary, &evidence(&[])), "WQ-WB").is_some());
        let mut waits = work("writeback", "wb_workfn", 90, percent(2));
        waits.service = durations(90, percent(80), 0);
        summary.workqueue = vec![waits];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(found(&diagnosis, "WQ-WB").is_none());
        assert!(
            ruled_out(&diagnosis, "WQ-WB")
                .unwrap()
                .contains("2.0 % of a CPU (less than 10 %), 80 % in wall time")
        );
    }

    /// That it runs often and for long is what copying is.
    #[test]
    fn a_loop_device_is_told_with_who_writes_to_it_and_as_nothing_else() {
        let mut summary = summary();
        let mut copies = work("loop0", "loop_workfn", 80_000, percent(45));
        copies.service_net.max_ns = 18_500_000;
        summary.workqueue = vec![copies];
        let diagnosis = of(&summary, &evidence(&[]));
        assert_eq!(diagnosis.findings.len(), 1, "{diagnosis:?}");
        let finding = found(&diagnosis, "WQ-WB").unwrap();
        assert!(
            finding
                .statement
                .ends_with("; most are queued by ptywriter (pid 4711)."),
            "{}",
            finding.statement
        );
        let effects = finding.chain.iter().filter(|step| step.step == "effect");
        assert_eq!(effects.count(), 2, "{finding:?}");
    }
}
