use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::Facts,
    figures::{list, number, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::{BUSY, FULL},
    page::{Page, look_alike, owner, read, threshold},
};
use crate::report::summary::{KthreadSummary, NapiSummary};

pub(super) static RULE: Rule = Rule {
    page: Page {
        id: "NET-NAPI-THREAD",
        title: "A thread polls the network device",
        means: "With threaded NAPI or threaded backlogs packets are received by `napi/DEVICE-N` or `backlog_napi/N`, which are \
                ordinary threads of nice 0. Their time is system time: %soft is near 0 however much is received.",
        signals: &[
            "CPU time of threads of the role napi",
            "polls in the context napi_thread",
            "`threaded` of the device",
        ],
        thresholds: &[
            threshold(
                "such a thread",
                "80 % of a CPU",
                "kctx: it has no room left",
            ),
            threshold("worth a word", "10 % of a CPU", "kctx"),
        ],
        confused_with: &[
            look_alike("NET-SAT", "the same work in softirqs"),
            look_alike(
                "",
                "a fixed softirq problem: %soft fell, the work is the same",
            ),
        ],
        next: &[
            read(
                "See whether the device is polled in threads.",
                "cat /sys/class/net/{device}/threaded",
            ),
            read(
                "See on which CPUs the thread may run, and with which priority.",
                "taskset -pc {pid} ; chrt -p {pid}",
            ),
            owner("Bind each queue's thread to a CPU of its own, or go back to softirqs."),
        ],
        do_not: &["Take a falling %soft for a cure."],
    },
    explained_by: &["NET-FW", "NET-BPF"],
    judge,
};

fn judge(facts: &Facts<'_>) -> Outcome {
    let threads = facts
        .summary
        .kthread
        .iter()
        .filter(|row| row.role == "napi" && !row.overflow);
    let Some(most) = threads.clone().max_by_key(|row| row.cpu_ns) else {
        return Outcome::Silent;
    };
    let share = facts.percent(most.cpu_ns);
    if share < BUSY {
        return Outcome::RuledOut(format!(
            "{} took {} of a CPU (less than {BUSY:.0} %)",
            most.comm,
            percent(share)
        ));
    }
    Outcome::Found(vec![finding(facts, most, share)])
}

fn finding(facts: &Facts<'_>, thread: &KthreadSummary, share: f64) -> Finding {
    // `napi/DEVICE-ID`, of which a comm keeps 15 bytes.
    let of_device = |row: &&NapiSummary| {
        row.context == "napi_thread" && thread.comm.contains(&row.device)
            || thread.comm.starts_with("backlog_napi") && row.device == "backlog"
    };
    let in_thread = |row: &&NapiSummary| row.context == "napi_thread";
    let all: Vec<_> = facts.summary.napi.iter().filter(in_thread).collect();
    let own: Vec<_> = facts.summary.napi.iter().filter(of_device).collect();
    let rows = if own.is_empty() { all } else { own };
    let packets: u64 = rows.iter().map(|row| row.packets).sum();
    let polls: u64 = rows.iter().map(|row| row.count).sum();
    let mut devices: Vec<&str> = rows.iter().map(|row| row.device.as_str()).collect();
    devices.dedup();
    let mut cpus: Vec<u32> = rows.iter().map(|row| row.cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    let busiest = rows
        .iter()
        .max_by_key(|row| row.packets)
        .map_or(0, |row| row.cpu);
    let threaded = devices.iter().any(|device| {
        facts
            .devices
            .get(*device)
            .is_some_and(|known| known.threaded)
    });
    let severity = if share >= FULL {
        Severity::Warn
    } else {
        Severity::Info
    };
    let confidence = match (rows.is_empty(), threaded) {
        (true, _) => Confidence::Low,
        (false, true) => Confidence::High,
        (false, false) => Confidence::Medium,
    };
    let device = list(&devices);
    let each = packets as f64 / polls.max(1) as f64;
    let cost = thread.cpu_ns as f64 / packets.max(1) as f64;
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("{} takes {} of CPU {busiest}", thread.comm, percent(share)))
        .statement(format!(
            "{} takes {} of CPU {busiest}: it receives {} packets/s of {device}, {each:.1} a poll, at {} each; that is system \
             time, and no softirq.",
            thread.comm,
            percent(share),
            number(facts.rate(packets)),
            time(cost)
        ))
        .share(busiest, "kthread napi", share)
        .cpu(busiest)
        .cpus(cpus)
        .process(&thread.comm, thread.pid)
        .step("CPU", format!("{busiest}: {} in {}", percent(share), thread.comm))
        .step("place", format!("the thread {} (pid {})", thread.comm, thread.pid))
        .step("NAPI", format!("{} polls of {device}, {each:.1} packets each", rate(facts.rate(polls))))
        .evidence(format!("summary.kthread[comm={}]", thread.comm), format!("{} of a CPU", percent(share)))
        .missing_if(!threaded, "sys/class/net/DEVICE/threaded: that the device is set to it was not seen");
    for device in devices {
        draft = draft.device(device);
    }
    draft.done()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{
        finding::{Confidence, Severity},
        fixture::{evidence, found, kthread, napi, of, percent, ruled_out, summary},
    };

    #[test]
    fn a_full_thread_is_found_with_its_device_and_an_idle_one_is_not() {
        let mut summary = summary();
        let mut polls = napi("kyv0", 258, 0, 1_700_000, 0, 3_390_000);
        polls.context = "napi_thread".to_owned();
        summary.napi = vec![polls];
        summary.kthread = vec![kthread("napi", "napi/kyv0-258", percent(97))];
        let files = evidence(&[("before/sys/class/net/kyv0/threaded", "1\n")]);
        let diagnosis = of(&summary, &files);
        let first = &diagnosis.findings[0];
        assert_eq!(
            (first.id.as_str(), first.severity, first.confidence),
            ("NET-NAPI-THREAD", Severity::Warn, Confidence::High)
        );
        assert_eq!(
            (&first.scope.cpus[..], &first.scope.devices[..]),
            (&[0][..], &["kyv0".to_owned()][..])
        );
        assert!(diagnosis.first_line.starts_with("napi/kyv0-258 takes 97 % of CPU 0: it receives 339,000 packets/s of kyv0, 2.0 a poll"), "{}", diagnosis.first_line);
        summary.kthread = vec![kthread("napi", "napi/kyv0-258", percent(2))];
        let idle = of(&summary, &files);
        assert!(found(&idle, "NET-NAPI-THREAD").is_none());
        assert!(ruled_out(&idle, "NET-NAPI-THREAD").is_some());
    }
}
