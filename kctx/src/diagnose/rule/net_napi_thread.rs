use super::{Outcome, Rule};
use crate::diagnose::{
    draft::Draft,
    facts::{Facts, receive::BACKLOG},
    figures::{list, number, percent, rate, time},
    finding::{Confidence, Finding, Severity},
    harm::{BUSY, FULL},
    page::{Page, look_alike, owner, read, threshold},
};
use crate::report::summary::{KthreadSummary, NapiSummary};

/// The longest comm (`TASK_COMM_LEN`, without its end).
const COMM: usize = 15;

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

/// Polls that a thread did.
struct Polled<'a> {
    rows: Vec<&'a NapiSummary>,
    /// They are this thread's alone; else they are of all threads of its device.
    is_own: bool,
}

/// A thread is called `napi/DEVICE-ID`, of which its comm may have lost the end, or `backlog_napi/CPU`.
fn polled<'a>(facts: &'a Facts<'_>, comm: &str) -> Polled<'a> {
    let in_threads = || (facts.summary.napi.iter()).filter(|row| row.context == "napi_thread");
    let own = |rows: Vec<&'a NapiSummary>| Polled { rows, is_own: true };
    if let Some(cpu) = comm.strip_prefix("backlog_napi/") {
        let of_cpu = |row: &&NapiSummary| {
            row.device == BACKLOG && cpu.parse().is_ok_and(|cpu: u32| row.cpu == cpu)
        };
        return own(facts.summary.napi.iter().filter(of_cpu).collect());
    }
    let called = comm.strip_prefix("napi/").unwrap_or(comm);
    let (device, id) = called.rsplit_once('-').unwrap_or((called, ""));
    let id: Option<u32> = id.parse().ok();
    let rows: Vec<_> = in_threads()
        .filter(|row| Some(row.napi_id) == id && row.device == device)
        .collect();
    if !rows.is_empty() {
        return own(rows);
    }
    // A comm of 15 bytes may have been cut anywhere: then it begins as the whole name does.
    let whole = |row: &&NapiSummary| {
        comm.len() >= COMM && format!("{}-{}", row.device, row.napi_id).starts_with(called)
    };
    let same_device = |row: &&NapiSummary| row.device == device || whole(row);
    let mut rows: Vec<_> = in_threads().filter(same_device).collect();
    if rows.is_empty() {
        rows = in_threads().collect();
    }
    let mut napis: Vec<_> = rows.iter().map(|row| (&row.device, row.napi_id)).collect();
    napis.dedup();
    let is_own = napis.len() == 1;
    Polled { rows, is_own }
}

fn finding(facts: &Facts<'_>, thread: &KthreadSummary, share: f64) -> Finding {
    let Polled { rows, is_own } = polled(facts, &thread.comm);
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
    // What all threads of a device poll says nothing of what it costs this one.
    let cost = match is_own {
        true => format!(
            ", at {} each",
            time(thread.cpu_ns as f64 / packets.max(1) as f64)
        ),
        false => String::new(),
    };
    let who = if is_own {
        "it receives"
    } else {
        "it and other threads receive"
    };
    let mut draft = Draft::new(&RULE.page, severity, confidence)
        .title(format!("{} takes {} of CPU {busiest}", thread.comm, percent(share)))
        .statement(format!(
            "{} takes {} of CPU {busiest}: {who} {} packets/s of {device}, {each:.1} a poll{cost}; that is system \
             time, and no softirq.",
            thread.comm,
            percent(share),
            number(facts.rate(packets))
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
    use super::*;
    use crate::diagnose::fixture::{
        evidence, found, kthread, napi, of, percent, ruled_out, summary,
    };

    fn in_thread(device: &str, id: u32, cpu: u32, packets: u64) -> NapiSummary {
        let mut row = napi(device, id, cpu, 100_000, 0, packets);
        row.context = "napi_thread".to_owned();
        row
    }

    #[test]
    fn the_cpu_is_the_one_of_its_own_queue() {
        let mut summary = summary();
        // Another queue has more packets, and so has a device whose name only begins alike.
        summary.napi = vec![
            in_thread("eth1", 8193, 0, 9_000_000),
            in_thread("eth1", 8194, 3, 1_000_000),
            in_thread("eth10", 8194, 2, 20_000_000),
        ];
        summary.kthread = vec![kthread("napi", "napi/eth1-8194", percent(90))];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-NAPI-THREAD").unwrap();
        assert_eq!(
            (&finding.scope.cpus[..], &finding.scope.devices[..]),
            (&[3][..], &["eth1".to_owned()][..])
        );
        assert!(
            finding
                .statement
                .contains("100,000 packets/s of eth1, 10.0 a poll, at 9.00 µs each"),
            "{}",
            finding.statement
        );
        // The id was cut off: what the device's threads do together costs this one an unknown part.
        summary.kthread = vec![kthread("napi", "napi/eth1-7", percent(90))];
        let diagnosis = of(&summary, &evidence(&[]));
        let finding = found(&diagnosis, "NET-NAPI-THREAD").unwrap();
        assert!(
            !finding.statement.contains(" each"),
            "{}",
            finding.statement
        );
        assert_eq!(finding.scope.devices, ["eth1"]);
    }

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
