use std::collections::BTreeMap;

use super::{Outcome, Rule};
use crate::{
    aggregate::window::ModuleEvent,
    diagnose::{
        draft::Draft,
        facts::Facts,
        figures::time,
        finding::{Confidence, Finding, Severity},
        page::{Page, look_alike, owner, read, threshold},
    },
};

/// Loads of one module in a window.
const LOADS: u64 = 3;

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "MOD-LOOP",
        title: "A module is loaded again and again",
        means: "A module's init fails, or somebody takes it out, and something asks for it anew. Each time the kernel's code is patched on all CPUs (interrupts), grace periods are waited \
                for, and devices are probed.",
        signals: &[
            "loads and frees of one module in the window",
            "what its init returned",
            "who asked for it",
        ],
        thresholds: &[
            threshold(
                "loads of one module",
                "3 in the window",
                "kctx: twice may be a person",
            ),
            threshold("failed inits of one module", "2 in the window", "kctx"),
        ],
        confused_with: &[look_alike("IRQ-IPI", "the function calls that it causes")],
        next: &[
            read(
                "See what the kernel says of it.",
                "dmesg | grep -iE 'module|probe|firmware|failed with error' | tail -40",
            ),
            read(
                "See what waits for others before it can be probed.",
                "cat /sys/kernel/debug/devices_deferred",
            ),
            owner(
                "Its requester's configuration, missing firmware, or a blacklist entry in the host's image.",
            ),
        ],
        do_not: &["Unload modules by hand on a live node."],
    },
    explained_by: &[],
    judge,
};

/// What happened to one module.
#[derive(Default)]
struct Story<'a> {
    loads: u64,
    frees: u64,
    failed: u64,
    ret: i64,
    init_ns: u64,
    who: Option<(&'a str, u32)>,
    taints: &'a str,
}

fn judge(facts: &Facts<'_>) -> Outcome {
    let mut stories: BTreeMap<&str, Story<'_>> = BTreeMap::new();
    for row in &facts.summary.module {
        let story = stories.entry(&row.name).or_default();
        match row.event {
            ModuleEvent::Load => {
                story.loads += 1;
                story.taints = &row.taints;
                let asked = row
                    .requested_by
                    .as_ref()
                    .map(|by| (by.comm.as_str(), by.pid));
                story.who = asked.or(Some((&row.comm, row.pid)));
            }
            ModuleEvent::Free => story.frees += 1,
            ModuleEvent::Init => {
                let ret = row.ret.map_or(0, i64::from);
                if ret < 0 {
                    story.failed += 1;
                    story.ret = ret;
                }
                story.init_ns = story.init_ns.max(row.init_ns.unwrap_or(0));
            }
            ModuleEvent::Request => {}
        }
    }
    let loops = stories
        .iter()
        .filter(|(_, story)| story.loads >= LOADS || story.failed >= 2);
    if let Some((name, story)) = loops.max_by_key(|(_, story)| story.loads) {
        return Outcome::Found(vec![finding(facts, name, story)]);
    }
    match stories.values().map(|story| story.loads).max() {
        None | Some(0) => Outcome::Silent,
        Some(most) => Outcome::RuledOut(format!(
            "no module was loaded more than {most} times (threshold {LOADS})"
        )),
    }
}

fn finding(facts: &Facts<'_>, name: &str, story: &Story<'_>) -> Finding {
    let failed = match story.failed {
        0 => String::new(),
        failed => format!(
            "; its init failed {failed} times with {} after up to {}",
            story.ret,
            time(story.init_ns as f64)
        ),
    };
    let who = story.who.map_or(String::new(), |(comm, pid)| {
        format!("; {comm} (pid {pid}) asks for it")
    });
    let taints = match story.taints {
        "" => String::new(),
        letters => format!("; it taints the kernel ({letters})"),
    };
    let confidence = if story.failed > 0 {
        Confidence::High
    } else {
        Confidence::Medium
    };
    let mut draft = Draft::new(&RULE.page, Severity::Warn, confidence)
        .title(format!("The module {name} is loaded again and again"))
        .statement(format!(
            "The module {name} was loaded {} times and freed {} times in {:.0} s{failed}{who}{taints}.",
            story.loads, story.frees, facts.seconds
        ))
        .step("module", format!("{name}: {} loads, {} frees", story.loads, story.frees))
        .step("requested by", who.trim_start_matches("; "))
        .evidence(format!("summary.module[name={name}]"), format!("{} loads, {} failed inits", story.loads, story.failed));
    if let Some((comm, pid)) = story.who {
        draft = draft.process(comm, pid);
    }
    if let Some(line) = facts.logged(&["failed with error"]) {
        draft = draft.evidence("summary.log", line);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::{
        aggregate::window::{ModuleEvent, ModuleRow},
        diagnose::{
            finding::Severity,
            fixture::{evidence, found, of, ruled_out, summary},
        },
    };

    fn event(event: ModuleEvent, ret: Option<i32>) -> ModuleRow {
        ModuleRow {
            event,
            name: "foo".to_owned(),
            time_unix_ns: 0,
            taints: String::new(),
            pid: 77,
            comm: "udev-worker".to_owned(),
            cpu: 1,
            init_ns: ret.map(|_| 12_000_000),
            ret,
            requested_by: None,
        }
    }

    #[test]
    fn a_module_that_fails_and_comes_back_is_found_and_one_load_is_not() {
        let mut summary = summary();
        for _ in 0..4 {
            summary.module.extend([
                event(ModuleEvent::Load, None),
                event(ModuleEvent::Init, Some(-19)),
                event(ModuleEvent::Free, None),
            ]);
        }
        let diagnosis = of(&summary, &evidence(&[]));
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity),
            ("MOD-LOOP", Severity::Warn)
        );
        assert_eq!(
            diagnosis.first_line,
            "The module foo was loaded 4 times and freed 4 times in 10 s; its init failed 4 times with -19 after up to 12.0 ms; \
             udev-worker (pid 77) asks for it."
        );
        summary.module = vec![
            event(ModuleEvent::Load, None),
            event(ModuleEvent::Init, Some(0)),
        ];
        let diagnosis = of(&summary, &evidence(&[]));
        assert!(
            found(&diagnosis, "MOD-LOOP").is_none() && ruled_out(&diagnosis, "MOD-LOOP").is_some()
        );
    }
}
