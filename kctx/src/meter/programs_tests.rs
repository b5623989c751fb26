use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Softirqs' entry and exit and the stacks' clock, on two CPUs.
#[derive(Clone, Copy, Default)]
struct State {
    seconds: u64,
    /// Runs and their time, of each of the two softirq programs.
    softirq: (u64, u64),
    clock: (u64, u64),
    /// Softirqs on each CPU.
    softirqs: [u64; 2],
}

fn reading(state: State) -> Reading {
    let program = |name: &str, family, (runs, run_ns)| Counted {
        program: Arc::from(name),
        family,
        runs,
        run_ns,
    };
    let cpus = [0, 1].map(|cpu| {
        let mut counts = [0; FAMILIES];
        counts[Family::Softirq as usize] = state.softirqs[cpu as usize];
        counts[Family::Stack as usize] = state.seconds * SECOND;
        Drivers { cpu, counts }
    });
    Reading {
        monotonic_ns: state.seconds * SECOND,
        programs: vec![
            program("softirq_exit", Family::Softirq, state.softirq),
            program("softirq_entry", Family::Softirq, state.softirq),
            program("cpu_clock", Family::Stack, state.clock),
        ],
        cpus: cpus.to_vec(),
    }
}

/// A second in which 1000 softirqs were counted, at 100 ns each program, and 100 ticks of the clock.
fn sampled() -> Programs {
    let mut programs = Programs::default();
    programs.look(reading(State::default()), false);
    programs.look(reading(AFTER_SAMPLE), true);
    programs
}

const AFTER_SAMPLE: State = State {
    seconds: 1,
    softirq: (1000, 100_000),
    clock: (100, 50_000),
    softirqs: [250, 750],
};

#[test]
fn while_the_kernel_counts_its_counts_are_given() {
    let cost = sampled().take(None);
    assert_eq!(cost.basis, Basis::Counted);
    let softirq = Runs {
        runs: 2000,
        run_ns: 200_000,
    };
    assert_eq!(cost.of(Family::Softirq), softirq);
    assert_eq!(
        cost.total(),
        Some(Runs {
            runs: 2100,
            run_ns: 250_000
        })
    );
    let names: Vec<_> = (cost.programs.iter())
        .map(|one| one.program.as_str())
        .collect();
    assert_eq!(names, ["softirq_exit", "softirq_entry", "cpu_clock"]);
    // Softirqs by where they ran, the clock on each CPU alike.
    let cpus: Vec<_> = cost.cpus.iter().map(|one| (one.cpu, one.run_ns)).collect();
    assert_eq!(cpus, [(0, 75_000), (1, 175_000)]);
    assert_eq!(cost.busiest().map(|one| one.cpu), Some(1));
}

#[test]
fn after_the_sample_the_time_follows_the_counts() {
    let mut programs = sampled();
    let _ = programs.take(None);
    programs.look(
        reading(State {
            seconds: 3,
            softirqs: [250, 3750],
            ..AFTER_SAMPLE
        }),
        false,
    );
    let cost = programs.take(None);
    assert_eq!(cost.basis, Basis::Scaled);
    // Three times as many softirqs, twice the time of the clock.
    assert_eq!(
        (cost.of(Family::Softirq), cost.of(Family::Stack)),
        (
            Runs {
                runs: 6000,
                run_ns: 600_000
            },
            Runs {
                runs: 200,
                run_ns: 100_000
            }
        )
    );
    let cpus: Vec<_> = cost.cpus.iter().map(|one| (one.cpu, one.run_ns)).collect();
    assert_eq!(cpus, [(0, 50_000), (1, 650_000)]);
    assert!(cost.unsampled.is_empty());
}

#[test]
fn a_window_in_which_the_sample_ends_has_both() {
    let mut programs = sampled();
    programs.look(
        reading(State {
            seconds: 2,
            softirqs: [250, 1750],
            ..AFTER_SAMPLE
        }),
        false,
    );
    let cost = programs.take(None);
    assert_eq!(cost.basis, Basis::Scaled);
    assert_eq!(cost.of(Family::Softirq).runs, 4000);
}

#[test]
fn what_is_seldom_is_not_rounded_away() {
    let mut programs = Programs::default();
    programs.look(reading(State::default()), false);
    // Three runs for each hundred softirqs.
    programs.look(
        reading(State {
            seconds: 1,
            softirq: (3, 300),
            softirqs: [100, 0],
            ..State::default()
        }),
        true,
    );
    let _ = programs.take(None);
    let mut runs = 0;
    for n in 1..=100 {
        programs.look(
            reading(State {
                seconds: 1 + n,
                softirqs: [100 + n, 0],
                ..State::default()
            }),
            false,
        );
        runs += programs.take(None).of(Family::Softirq).runs;
    }
    assert_eq!(runs, 6, "two programs, three runs each");
}

#[test]
fn a_family_that_was_not_sampled_is_named() {
    let mut programs = Programs::default();
    programs.look(reading(State::default()), false);
    programs.look(
        reading(State {
            seconds: 1,
            clock: (100, 50_000),
            ..State::default()
        }),
        true,
    );
    let _ = programs.take(None);
    programs.look(
        reading(State {
            seconds: 2,
            softirqs: [5, 0],
            clock: (100, 50_000),
            ..State::default()
        }),
        false,
    );
    let cost = programs.take(None);
    assert_eq!(cost.unsampled, [Family::Softirq]);
    assert_eq!(cost.of(Family::Softirq), Runs::default());
    assert!(programs.take(None).unsampled.is_empty());
}

#[test]
fn without_a_sample_there_is_a_reason_and_no_number() {
    let mut programs = Programs::default();
    for seconds in 0..3 {
        programs.look(
            reading(State {
                seconds,
                softirqs: [seconds * 100, 0],
                ..State::default()
            }),
            false,
        );
    }
    let cost = programs.take(Some("missing CAP_SYS_ADMIN"));
    assert_eq!((cost.basis, cost.total()), (Basis::Unknown, None));
    assert_eq!(cost.reason.as_deref(), Some("missing CAP_SYS_ADMIN"));
    assert!(cost.programs.is_empty() && cost.cpus.is_empty() && cost.unsampled.is_empty());
}

#[test]
fn a_cpu_that_is_not_sampled_has_no_part_in_the_clock() {
    let mut programs = sampled();
    let _ = programs.take(None);
    let mut away = reading(State {
        seconds: 2,
        ..AFTER_SAMPLE
    });
    away.cpus[0].counts[Family::Stack as usize] = SECOND;
    programs.look(away, false);
    let cost = programs.take(None);
    assert_eq!(cost.of(Family::Stack).run_ns, 25_000);
    assert_eq!(cost.busiest().map(|one| one.cpu), Some(1));
    assert_eq!(cost.cpus.len(), 1);
}

proptest! {
    /// Whatever comes: it does not panic, and the parts of the CPUs are no more than the whole.
    #[test]
    fn nothing_panics_and_parts_add_up(steps in prop::collection::vec(any::<(bool, [u64; 5], [u64; 2])>(), 0..20)) {
        let mut programs = Programs::default();
        for (counting, [seconds, a, b, c, d], softirqs) in steps {
            // Of both CPUs together no more than there is room for.
            let seconds = seconds % (u64::MAX / SECOND / 2);
            let softirqs = softirqs.map(|count| count / 2);
            programs.look(
                reading(State { seconds, softirq: (a, b), clock: (c, d), softirqs }),
                counting,
            );
            let cost = programs.take(None);
            let parts: u128 = cost.cpus.iter().map(|one| u128::from(one.run_ns)).sum();
            let whole: u128 = cost.programs.iter().map(|one| u128::from(one.run_ns)).sum();
            prop_assert!(parts <= whole);
        }
    }
}
