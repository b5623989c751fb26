use super::*;
use crate::{
    aggregate::window::{GovernorHelpless, GovernorRow},
    meter::{CpuTime, OwnCost, ProgramCost, ThreadTime},
};

const SECOND: u64 = 1_000_000_000;

fn program(program: &str, family: Family, runs: u64, run_ns: u64) -> ProgramCost {
    ProgramCost {
        program: program.to_owned(),
        family,
        runs,
        run_ns,
    }
}

fn window(second: u64, basis: Basis) -> Window {
    let mut window = Window {
        start_unix_ns: second * SECOND,
        duration_ns: SECOND,
        own_cost: Some(OwnCost {
            threads: vec![
                ThreadTime {
                    thread: "kctx-drain".to_owned(),
                    cpu_ns: 10_000_000,
                },
                ThreadTime {
                    thread: "kctx-pipeline".to_owned(),
                    cpu_ns: 20_000_000,
                },
            ],
            memory_bytes: Some(1000 * second),
            ring_bytes: 64_000,
            fullest_ring_ppm: 100_000 * second as u32,
            rings: Vec::new(),
            bpf: BpfCost {
                basis,
                reason: (basis == Basis::Unknown).then(|| "no CAP_SYS_ADMIN".to_owned()),
                programs: vec![
                    program("softirq_entry", Family::Softirq, 1000, 100_000),
                    program("softirq_exit", Family::Softirq, 1000, 300_000),
                    program("napi_poll", Family::Napi, 100, 50_000),
                ],
                cpus: vec![
                    CpuTime {
                        cpu: 0,
                        run_ns: 150_000,
                    },
                    CpuTime {
                        cpu: 1,
                        run_ns: 300_000,
                    },
                ],
                unsampled: Vec::new(),
            },
        }),
        ..Window::default()
    };
    let softirq = &mut window.accounting.by_family[Family::Softirq as usize];
    (softirq.observed, softirq.streamed) = (1000, 900);
    softirq.spilled = 100;
    window
}

#[test]
fn windows_are_summed_up() {
    let mut tally = Tally::default();
    let mut first = window(1, Basis::Counted);
    // Once, and no part of the shares.
    first.own_cost.as_mut().unwrap().threads[0].cpu_ns = 70_000_000;
    tally.add(&first);
    tally.add(&window(2, Basis::Counted));
    let estimate = tally.finish(CpuShare::from_ppm(20_000), false);
    assert_eq!(estimate.duration_ns, 2 * SECOND);
    let bpf = &estimate.bpf;
    assert!(bpf.known && bpf.reason.is_none());
    assert_eq!(
        bpf.total,
        ProgramEstimate {
            runs: 4200,
            run_ns: 900_000,
            runs_per_second: 2100.0,
            mean_ns: 214,
            cpu_share: 0.000_45,
        }
    );
    let families: Vec<_> = (bpf.families.iter())
        .map(|one| (one.family, one.observed, one.programs.mean_ns))
        .collect();
    assert_eq!(
        families,
        [(Family::Softirq, 2000, 200), (Family::Napi, 0, 500)]
    );
    let programs: Vec<_> = (bpf.programs.iter())
        .map(|one| one.program.as_str())
        .collect();
    assert_eq!(programs, ["softirq_exit", "softirq_entry", "napi_poll"]);
    let busiest = bpf.busiest_cpu.unwrap();
    assert_eq!((busiest.cpu, busiest.cpu_share), (1, 0.000_3));
    let userspace = &estimate.userspace;
    assert!((userspace.cpu_share - 0.03).abs() < 1e-9);
    assert_eq!(userspace.threads[0].thread, "kctx-pipeline");
    assert_eq!(userspace.first_window_cpu_ns, 90_000_000);
    assert_eq!(userspace.memory_bytes, Some(2000));
    let rings = &estimate.rings;
    assert_eq!(
        (rings.bytes_per_second, rings.records_per_second),
        (64_000.0, 900.0)
    );
    assert_eq!((rings.fullest, rings.spilled, rings.lost), (0.2, 200, 0));
    assert!(!estimate.governor.acted);
}

#[test]
fn what_the_kernel_did_not_count_is_not_known() {
    for basis in [Basis::Unknown, Basis::Scaled] {
        let mut tally = Tally::default();
        tally.add(&window(1, Basis::Counted));
        tally.add(&window(2, basis));
        let estimate = tally.finish(CpuShare::default(), false);
        assert!(!estimate.bpf.known, "{basis:?}");
        assert!(estimate.bpf.reason.is_some(), "{basis:?}");
    }
    let mut tally = Tally::default();
    tally.add(&window(1, Basis::Unknown));
    let reason = tally.finish(CpuShare::default(), false).bpf.reason;
    assert_eq!(reason.as_deref(), Some("no CAP_SYS_ADMIN"));
}

#[test]
fn a_family_that_is_limited_for_long_was_limited_once() {
    let row = |since, family| GovernorRow {
        family,
        since_unix_ns: since,
        until_unix_ns: None,
        reason: "kctx used 3 %".to_owned(),
    };
    let mut tally = Tally::default();
    tally.add(&window(1, Basis::Counted));
    for second in 2..5 {
        let mut window = window(second, Basis::Counted);
        window.governor = vec![row(2 * SECOND, Family::Softirq)];
        window.governor_helpless = (second == 4).then(|| GovernorHelpless {
            since_unix_ns: 4 * SECOND,
            reason: "nothing is left".to_owned(),
        });
        tally.add(&window);
    }
    let governor = tally.finish(CpuShare::from_ppm(20_000), false).governor;
    assert!(governor.acted);
    let limited: Vec<_> = (governor.limited.iter())
        .map(|one| (one.family, one.after_ns))
        .collect();
    assert_eq!(limited, [(Family::Softirq, SECOND)]);
    assert_eq!(governor.helpless.as_deref(), Some("nothing is left"));
    assert_eq!(governor.limit, 0.02);
}

#[test]
fn of_nothing_there_is_nothing() {
    let estimate = Tally::default().finish(CpuShare::default(), true);
    assert!(!estimate.bpf.known && estimate.interrupted);
    assert_eq!(estimate.userspace.cpu_share, 0.0);
    let json = serde_json::to_string(&estimate).unwrap();
    assert!(!json.contains("null,\"run"), "{json}");
}
