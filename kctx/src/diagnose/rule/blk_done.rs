use super::{Outcome, Rule, vectors::Busy};
use crate::{
    aggregate::window::OriginKind,
    diagnose::{
        facts::Facts,
        figures::rate,
        page::{Page, look_alike, owner, read, threshold},
    },
};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "BLK-DONE",
        title: "Completions of block requests take a CPU",
        means: "Where a device has one hardware queue, or completes a request on another CPU than it came from, the BLOCK softirq does the rest. \
                It runs as often as the device interrupts, and all of it on the CPU of that interrupt, which then wakes the submitter.",
        signals: &[
            "BLOCK's share of a CPU",
            "as many raises as interrupts of a disk's line",
            "hardware queues of the disk and `rq_affinity`",
        ],
        thresholds: &[threshold(
            "of a CPU in BLOCK",
            "10 %",
            "kctx; measured: 13,800 reads/s on virtio are 18 %",
        )],
        confused_with: &[
            look_alike("IRQ-STORM", "the interrupt handler itself takes the time"),
            look_alike("WQ-WB", "writing back in kworkers"),
        ],
        next: &[
            read(
                "See the disk's queues and where completions go.",
                "grep -H . /sys/block/*/queue/rq_affinity ; ls -d /sys/block/*/mq/*",
            ),
            read(
                "See where its interrupts go.",
                "grep -H . /proc/irq/{irq}/effective_affinity_list",
            ),
            owner("More hardware queues, or submitters on the CPU that completes."),
        ],
        do_not: &[
            "Set rq_affinity=2 blindly: each request may then be an interrupt from CPU to CPU.",
        ],
    },
    explained_by: &[],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let busy = Busy {
        page: &RULE.page,
        vector: "BLOCK",
        what: "completions of block requests",
        code: facts
            .stacks
            .in_softirq("BLOCK", |function| function.starts_with("blk_"))
            .filter(|through| through.samples > 0),
        defect: false,
    };
    let Some((most, mut draft)) = busy.draft(facts) else {
        return busy.not(facts).map_or(Outcome::Silent, Outcome::RuledOut);
    };
    let mut raisers = facts
        .summary
        .softirq_origin
        .iter()
        .filter(|row| row.vector == "BLOCK" && row.cpu == most.cpu);
    if let Some(row) = raisers.find(|row| row.origin.kind == OriginKind::Irq)
        && let Some(irq) = row.origin.number
    {
        draft = draft
            .irq(&irq.to_string())
            .device(&row.origin.name)
            .evidence(
                format!("summary.softirq_origin[vector=BLOCK,cpu={}]", most.cpu),
                format!(
                    "interrupt {irq} ({}): {}",
                    row.origin.name,
                    rate(facts.rate(row.count))
                ),
            );
    }
    Outcome::Found(vec![draft.done()])
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::OriginKind,
        diagnose::{
            finding::Severity,
            fixture::{
                evidence, found, of, origin, percent, raised_by, ruled_out, softirq, summary,
            },
        },
    };

    #[test]
    fn completions_are_told_with_their_line_and_writing_back_is_not_it() {
        let mut summary = summary();
        summary.softirq = vec![softirq("BLOCK", 1, "irq_tail", 138_000, percent(18))];
        raised_by(
            &mut summary,
            "BLOCK",
            1,
            origin(OriginKind::Irq, Some(36), "virtio1-req.0"),
            138_000,
        );
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, &first.scope.cpus[..]),
            ("BLK-DONE", Severity::Info, &[1][..])
        );
        assert_eq!(
            (&first.scope.irqs[..], &first.scope.devices[..]),
            (&["36".to_owned()][..], &["virtio1-req.0".to_owned()][..])
        );
        summary.softirq = vec![softirq("BLOCK", 1, "irq_tail", 13_800, percent(2))];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "BLK-DONE").is_none() && ruled_out(&diagnosis, "BLK-DONE").is_some()
        );
    }
}
