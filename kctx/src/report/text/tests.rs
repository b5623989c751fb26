use super::*;
use crate::{
    aggregate::window::{OriginKind, SoftirqOriginRow, Window},
    host::HostIdentity,
    report::fixture,
};
use proptest::prelude::*;

fn report() -> String {
    render(&Summary::from_window(
        &fixture::window(),
        fixture::host(),
        Some(4097),
    ))
}

/// The one line that has all of `parts`, with single blanks.
pub(super) fn line(text: &str, parts: &[&str]) -> String {
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| parts.iter().all(|part| line.contains(part)));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no {parts:?} in:\n{text}"));
    assert_eq!(lines.next(), None, "{parts:?} more than once in:\n{text}");
    line
}

#[test]
fn the_head_says_where_and_when() {
    let text = report();
    assert_eq!(
        line(&text, &["host "]),
        "host db-3, Debian GNU/Linux 12 (bookworm), Linux 6.1.0 x86_64"
    );
    assert_eq!(
        line(&text, &["window 2026"]),
        "window 2026-11-22 03:04:05 UTC, 1.00 s"
    );
    assert_eq!(
        line(&text, &["CPUs 3"]),
        "CPUs 3 online (0-2) of 4 possible, HZ 250"
    );
    assert_eq!(line(&text, &["taint 4097"]), "taint 4097: PO");
    assert!(line(&text, &["O A module"]).ends_with("outside of the kernel tree was loaded."));
}

#[test]
fn every_cpu_has_its_share() {
    let text = report();
    let (first, idle) = (
        line(&text, &["0.25 %", "4.75 %"]),
        line(&text, &["2 0.00 %"]),
    );
    assert_eq!(first, "0 0.25 % 5.00 % 0.00 % 4.75 % 90.00 %");
    assert_eq!(idle, "2 0.00 % 0.00 % - - -", "nobody said");
    // Of three CPUs.
    let all = line(&text, &["all 0.15 %"]);
    assert_eq!(all, "all 0.15 % 15.00 % 1.00 % 3.85 % 46.67 %");
}

#[test]
fn softirqs_have_a_row_for_all_cpus_and_for_each_hot_one() {
    let text = report();
    assert_eq!(
        line(&text, &["NET_RX 450"]),
        "NET_RX 450 450 ms 15.00 % 1.00 ms 1.00 ms 2.00 ms 2.00 ms irq tail 100"
    );
    assert!(line(&text, &["40.00 %", "400 ms"]).starts_with("CPU 1 400 400 ms 40.00 %"));
    // RCU took 10 µs of CPU 0: no row for that CPU.
    let rcu = text.lines().position(|line| line.contains("RCU")).unwrap();
    assert_eq!(text.lines().nth(rcu + 1), Some(""));
}

#[test]
fn a_vector_says_where_it_ran_on_all_of_its_rows() {
    let mut window = fixture::window();
    let mut late = fixture::softirq("NET_RX", 1, 100, 1_000);
    late.context = "ksoftirqd";
    window.softirq.push(late);
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert!(
        line(&text, &["NET_RX 550"]).ends_with("irq tail 82"),
        "no room for more"
    );
    assert!(line(&text, &["CPU 1 500"]).ends_with("irq tail 80"));
    window.softirq.retain(|row| row.cpu == 1);
    for row in &mut window.softirq {
        row.context = if row.context == "irq_tail" {
            "task"
        } else {
            "idle"
        };
    }
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert!(line(&text, &["NET_RX 500"]).ends_with("task 80, idle 20"));
}

#[test]
fn who_raised_is_a_sentence() {
    let text = report();
    let at = text.find("  NET_RX on CPU 1:").unwrap();
    let sentence: Vec<_> = text[at..].split_whitespace().take(27).collect();
    assert_eq!(
        sentence.join(" "),
        "NET_RX on CPU 1: irq 36 virtio1\\u{1b}[2J 70 % (280), IPI CAL 20 % (80), softirq NET_RX 8 % \
         (30), task iperf3 (pid 4711) 2 % (10)"
    );
}

/// Softirqs of a host: on each CPU vectors that run often and take nothing, NET_RX only on CPU 3, with few runs
/// that take 2 % of it.
fn busy_host(cpus: u32) -> Window {
    let mut window = fixture::window();
    window.softirq.clear();
    window.softirq_origin.clear();
    let mut add = |vector, cpu, count, each_ns, kind| {
        window
            .softirq
            .push(fixture::softirq(vector, cpu, count, each_ns));
        window.softirq_origin.push(SoftirqOriginRow {
            vector,
            cpu,
            origin: fixture::origin(kind, Some(99), "x"),
            count,
        });
    };
    for cpu in 0..cpus {
        for vector in ["TIMER", "SCHED", "RCU"] {
            add(vector, cpu, 500, 1_000, OriginKind::Vector);
        }
    }
    add("NET_RX", 3, 10, 2_000_000, OriginKind::Irq);
    window
}

/// Of how many vectors on CPUs it is said what raised them: lines with `NET_RX on CPU 3:`.
fn sentences(text: &str) -> usize {
    let heads = text.lines().filter_map(|line| line.split_once(':'));
    let places = heads.filter_map(|(head, _)| head.split_once(" on CPU "));
    places.filter(|(_, cpu)| cpu.parse::<u32>().is_ok()).count()
}

#[test]
fn who_raised_what_is_hot_is_said_however_often_other_vectors_run() {
    let mut window = busy_host(16);
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert_eq!(
        line(&text, &["NET_RX on CPU"]),
        "NET_RX on CPU 3: irq 99 x 100 % (10)"
    );
    assert_eq!(
        line(&text, &["more vectors"]),
        "and 33 more vectors on CPUs, each less than 1 % of its CPU"
    );
    // One per cent of each CPU: all of them, however many; less than that: not.
    let (hot, not) = (10_000_000 / 500, 9_900_000 / 500);
    for (each_ns, expected) in [(hot, 49), (not, 16)] {
        for row in &mut window.softirq {
            if row.vector != "NET_RX" {
                row.service_net = fixture::durations(500, each_ns);
            }
        }
        let text = render(&Summary::from_window(&window, fixture::host(), None));
        assert_eq!(sentences(&text), expected, "{text}");
    }
}

#[test]
fn what_is_hot_has_a_bound_and_it_is_said_what_is_left_out() {
    let mut window = busy_host(200);
    for row in &mut window.softirq {
        row.service_net = fixture::durations(10, 2_000_000);
    }
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert_eq!(sentences(&text), 512);
    assert_eq!(
        line(&text, &["more vectors"]),
        "and 89 more vectors on CPUs, 89 of them 1 % of their CPU or more"
    );
}

#[test]
fn the_worst_cpu_stands_for_all_in_the_quantile() {
    let mut summary = Summary::from_window(&fixture::window(), fixture::host(), None);
    // Rows of CPU 0 come first: the worst is neither taken by being first nor by being last.
    summary.softirq[0].service_net.p99_ns = 7_770_000;
    summary.softirq[0].wait.max_ns = 8_880_000;
    let row = line(&render(&summary), &["NET_RX 450"]);
    assert!(
        row.contains(" 7.77 ms ") && row.contains(" 8.88 ms "),
        "{row}"
    );
    (
        summary.softirq[0].service_net.p99_ns,
        summary.softirq[1].service_net.p99_ns,
    ) = (1, 6_660_000);
    assert!(line(&render(&summary), &["NET_RX 450"]).contains(" 6.66 ms "));
    // What one of 450 runs did is not what 1 % of them did.
    summary.softirq[0].service_net.p99_ns = 9_990_000;
    summary.softirq[0].service_net.count = 1;
    summary.softirq[1].service_net.count = 449;
    assert!(line(&render(&summary), &["NET_RX 450"]).contains(" 6.66 ms "));
}

#[test]
fn interrupts_and_works_stand_by_their_time() {
    let text = report();
    assert_eq!(
        line(&text, &["virtio1", "2.50 ms"]),
        "36 virtio1\\u{1b}[2J 0 10 2 2.50 ms 0.08 % 250 µs 250 µs"
    );
    assert!(line(&text, &["local timer"]).starts_with("LOC local timer 1 100 0 2.00 ms"));
    assert!(line(&text, &["rest"]).ends_with("0.00 % - -"));
    assert!(
        text.find("local timer") < text.find("ttyS0") && text.find("ttyS0") < text.find("rest")
    );
    assert_eq!(
        line(&text, &["flush_to_ldisc"]),
        "events flush_to_ldisc 3 90.0 ms 900 ms 300 ms 5.00 µs iperf3"
    );
    assert!(text.find("flush_to_ldisc") < text.find("wb_workfn"));
}

#[test]
fn the_other_families_have_their_tables() {
    let text = report();
    assert_eq!(
        line(&text, &["tasklet_fn"]),
        "tasklet_fn 5 9.50 µs <0.01 % 1.90 µs 1.90 µs 1.90 µs"
    );
    assert_eq!(
        line(&text, &["eth0"]),
        "eth0 8193 1 400 12,000 30.0 25 % 8.00 ms 20.0 µs 20.0 µs"
    );
    assert_eq!(
        line(&text, &["kworker/1:2"]),
        "kworker/1:2 31 events 4 60.0 ms 6.00 % 48.0 ms 30.0 µs 30.0 µs"
    );
    assert!(
        text.find("ksoftirqd/1") < text.find("kworker/1:2"),
        "by CPU time"
    );
}

#[test]
fn what_happened_has_its_time() {
    let text = report();
    assert_eq!(
        line(&text, &["load evil"]),
        "500 ms load evil\\n OE insmod[77] iperf3[4711]? (net-p~"
    );
    assert_eq!(
        line(&text, &["init evil"]),
        "503 ms init evil\\n - insmod[77] 3.00 ms"
    );
    assert_eq!(line(&text, &["(+O)"]), "after 500 ms: 1 to 4097 (+O)");
    assert_eq!(
        line(&text, &["Kernel log"]),
        "Kernel log (warning 1, info 3, fragments 1)"
    );
    assert_eq!(line(&text, &["PID: 1"]), "502 ms - PID: 1");
    assert_eq!(
        line(&text, &["lines are missing"]),
        "lines are missing: 1 times more came than could be read (2 known to be overwritten)"
    );
    assert_eq!(
        line(&text, &["the log could"]),
        "the log could not be read 6 times"
    );
    assert!(line(&text, &["out-of-tree module"]).starts_with("501 ms warning evil:"));
    assert_eq!(line(&text, &["more lines"]), "and 3 more lines");
    assert_eq!(
        line(&text, &["governor"]),
        "governor softirq only as histograms from 100 ms to the end (6 records): kctx took 3 % of CPU 1"
    );
    assert!(
        text.find("governor") < text.find("Where each CPU's time"),
        "near the top"
    );
}

#[test]
fn what_went_wrong_is_said() {
    let text = report();
    assert_eq!(
        line(&text, &["observed 467"]),
        "observed 467 = streamed 454 + spilled 10 + lost 3 (no_spill_row 3)"
    );
    assert!(line(&text, &["workqueue: observed 7"]).contains("lost 3"));
    assert!(line(&text, &["not whole"]).ends_with("cancelled 5"));
    assert!(line(&text, &["key limit"]).starts_with("workqueue: 2 records"));
    assert_eq!(
        line(&text, &["module:module_load"]),
        "module:module_load CONFIG_MODULES is off"
    );
    assert_eq!(
        line(&text, &["log:/dev/kmsg"]),
        "log:/dev/kmsg /dev/kmsg: Operation not permitted (os error 1)"
    );
    assert!(!text.contains("irq:softirq_entry"), "it is attached");
    assert!(!text.contains("DOES NOT ADD UP"));
    let mut window = fixture::window();
    window.accounting.by_family[0].observed += 1;
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert!(line(&text, &["softirq: observed"]).contains("DOES NOT ADD UP"));
}

#[test]
fn nothing_from_the_kernel_controls_the_terminal_and_lines_stay_narrow() {
    let text = report();
    assert!(
        text.chars()
            .all(|c| c == '\n' || c == 'µ' || c == ' ' || c.is_ascii_graphic())
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn long_tables_end_with_how_many_are_left() {
    let mut window = fixture::window();
    let name = "a_function_with_a_very_long_name_indeed";
    window.workqueue = (1..=25)
        .map(|each| fixture::work("events_highpri_and_more", name, 1, each * 1_234_567))
        .collect();
    window.hardirq = (1..=22)
        .flat_map(|irq| [0, 2, 4, 6].map(|cpu| fixture::hardirq(Some(irq), name, cpu, 25_000)))
        .collect();
    // The widest of each column.
    for row in &mut window.workqueue {
        row.count = 9_876_543;
        row.queued_by[0].0.name = name.into();
    }
    window.napi = (0..3)
        .map(|_| fixture::napi(name, 6, 2_000, 1 << 40))
        .collect();
    window.kthread = vec![fixture::kthread("kworker", name, u32::MAX, 6_660_000_000)];
    window.tasklet[0].function = format!("{name}{name}").into();
    for row in &mut window.module {
        (row.pid, row.comm, row.name) = (u32::MAX, name.to_owned(), name.to_owned());
        row.init_ns = Some(12_300_000);
        row.requested_by = fixture::window().module[1].requested_by.clone();
    }
    for row in &mut window.softirq_origin {
        row.origin.name = name.into();
    }
    window.log.lines[0].text = name.repeat(10);
    for row in &mut window.softirq {
        (row.cpu, row.count) = (1023, u64::MAX / 8);
    }
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert!(text.contains("  and 2 more interrupt lines"));
    assert!(text.contains("  and 5 more work functions"));
    assert!(text.contains("30.9 ms") && !text.contains(" 6.17 ms"));
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn a_family_without_probes_is_not_called_idle() {
    let mut window = Window::default();
    let mut probe = fixture::window().probes[1].clone();
    probe.family = crate::aggregate::window::Family::Hardirq.into();
    window.probes.push(probe);
    let text = render(&Summary::from_window(&window, fixture::host(), None));
    assert_eq!(text.matches("none seen").count(), 2);
    assert_eq!(text.matches("not measured").count(), 1);
}

#[test]
fn an_empty_window_is_rendered() {
    let text = render(&Summary::from_window(
        &Window::default(),
        HostIdentity::default(),
        None,
    ));
    assert_eq!(text.matches("none seen").count(), 3);
    assert!(text.contains("taint    could not be read"));
}

proptest! {
    #[test]
    fn any_numbers_are_rendered(count in any::<u64>(), sum in any::<u64>(), duration in any::<u64>()) {
        let mut summary = Summary::from_window(&fixture::window(), fixture::host(), Some(count));
        summary.window.duration_ns = duration;
        for row in &mut summary.softirq {
            (row.count, row.service_net.count, row.service_net.sum_ns) = (count, count, sum);
        }
        for cpu in &mut summary.cpu {
            (cpu.hardirq_ns, cpu.softirq_ns) = (sum, sum);
        }
        summary.accounting.total.streamed = count;
        summary.accounting.total.lost.insert("x".to_owned(), sum);
        prop_assert!(!render(&summary).is_empty());
    }
}
