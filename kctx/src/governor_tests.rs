use super::*;
use proptest::prelude::*;

const LIMIT: CpuShare = CpuShare::from_ppm(20_000);
/// The limit in CPU time of one second.
const LIMIT_NS: u64 = 20_000_000;
const N: usize = 4;

/// A host whose records cost what they cost, and nothing else.
struct Host {
    governor: Governor<N>,
    now_s: u64,
    base_ns: u64,
    record_ns: [u64; N],
    changes: Vec<GovernorChange>,
    /// CPU time in the last tick.
    cpu_ns: u64,
}

impl Host {
    fn new(base_ns: u64, record_ns: [u64; N]) -> Self {
        Self {
            governor: Governor::new(LIMIT),
            now_s: 1000,
            base_ns,
            record_ns,
            changes: Vec::new(),
            cpu_ns: 0,
        }
    }

    /// One second with these records; how many ticks were over the limit.
    fn run(&mut self, seconds: u64, observed: [u64; N]) -> u64 {
        let mut over = 0;
        for _ in 0..seconds {
            self.now_s += 1;
            let mask = self.governor.mask();
            self.cpu_ns = self.base_ns
                + (0..N)
                    .filter(|family| mask >> family & 1 == 0)
                    .map(|family| observed[family] * self.record_ns[family])
                    .sum::<u64>();
            // As exact as the limit is: in millionths.
            over += u64::from(self.cpu_ns / 1000 > u64::from(LIMIT.ppm()));
            let now_ns = self.now_s * SECOND_NS;
            let change = self
                .governor
                .tick(now_ns, SECOND_NS, self.cpu_ns, &observed);
            self.changes.extend(change);
        }
        over
    }

    /// (family, limited) of each change, and forgets them.
    fn taken(&mut self) -> Vec<(usize, bool)> {
        let changes = std::mem::take(&mut self.changes);
        changes.iter().map(|c| (c.family, c.limited)).collect()
    }
}

#[test]
fn the_busiest_family_is_limited_after_two_ticks_and_the_others_go_on() {
    let mut host = Host::new(1_000_000, [1_000; N]);
    let storm = [100, 30_000, 5_000, 0];
    host.run(1, storm);
    assert!(host.changes.is_empty());
    host.run(1, storm);
    let change = &host.changes[0];
    assert_eq!((change.family, change.limited), (1, true));
    assert_eq!(
        (change.at_ns, change.cpu_share_milli),
        (1002 * SECOND_NS, 36)
    );
    assert_eq!(
        change.reason,
        "kctx used 3.6 % of a CPU, its limit is 2.0 %; 30000 records of this family in the last tick, \
         the most; limited for 10 s at least"
    );
    assert_eq!(host.governor.mask(), 0b10);
    // It stays so for as long as the storm does.
    assert_eq!(host.run(3600, storm), 0);
    assert_eq!(host.changes.len(), 1);
}

#[test]
fn one_more_is_limited_with_each_tick_over_but_none_without_records() {
    let mut host = Host::new(0, [1_000; N]);
    host.run(10, [40_000, 50_000, 25_000, 0]);
    assert_eq!(host.taken(), [(1, true), (0, true), (2, true)]);
    // Over by itself: there is nothing left that would help.
    let mut host = Host::new(2 * LIMIT_NS, [1_000; N]);
    host.run(10, [0; N]);
    assert!(host.changes.is_empty());
}

#[test]
fn over_the_limit_with_nothing_left_to_limit_is_said_once_until_it_was_within_it_for_a_while() {
    let mut host = Host::new(2 * LIMIT_NS, [1_000; N]);
    host.run(1, [10, 0, 0, 0]);
    assert_eq!(host.governor.helpless(), None, "one tick is a peak");
    host.run(1, [10, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, true)]);
    assert_eq!(host.governor.helpless(), None, "that may have helped");
    host.run(1, [10, 0, 0, 0]);
    let first = Helpless {
        since_ns: 1003 * SECOND_NS,
        reason: "kctx used 4.0 % of a CPU, its limit is 2.0 %, and no family with records is left to limit"
            .to_owned(),
    };
    assert_eq!(host.governor.helpless(), Some(&first));
    // The figures of the first tick stay: it is the same trouble.
    host.base_ns *= 2;
    host.run(100, [10, 0, 0, 0]);
    for _ in 0..10 {
        host.base_ns = 0;
        host.run(u64::from(CALM_TICKS) - 1, [10, 0, 0, 0]);
        host.base_ns = 2 * LIMIT_NS;
        host.run(1, [10, 0, 0, 0]);
    }
    assert_eq!(host.governor.helpless(), Some(&first));
    host.base_ns = 0;
    host.run(CALM_TICKS.into(), [0; N]);
    assert_eq!(host.governor.helpless(), None);
}

#[test]
fn a_peak_of_one_tick_limits_nothing() {
    let mut host = Host::new(0, [1_000; N]);
    for _ in 0..100 {
        host.run(1, [90_000; N]);
        host.run(1, [100; N]);
    }
    assert!(host.changes.is_empty());
}

#[test]
fn after_the_storm_it_is_released_and_the_least_recently_limited_first() {
    let mut host = Host::new(100_000, [1_000; N]);
    host.run(60, [40_000, 50_000, 0, 0]);
    assert_eq!(host.taken(), [(1, true), (0, true)]);
    host.run(CALM_TICKS.into(), [100; N]);
    assert_eq!(host.taken(), [(1, false)]);
    assert_eq!(host.governor.mask(), 0b01);
    // What the release costs has to show before the next.
    host.run(u64::from(CALM_TICKS) - 1, [100; N]);
    assert!(host.changes.is_empty());
    host.run(1, [100; N]);
    assert_eq!(host.taken(), [(0, false)]);
    assert_eq!(host.governor.mask(), 0);
}

#[test]
fn it_has_to_fit_for_ten_ticks_on_end() {
    let mut host = Host::new(0, [1_000; N]);
    host.run(20, [40_000, 0, 0, 0]);
    for _ in 0..100 {
        host.run(u64::from(CALM_TICKS) - 1, [100, 0, 0, 0]);
        host.run(1, [15_000, 0, 0, 0]);
    }
    assert_eq!(host.taken(), [(0, true)]);
}

#[test]
fn a_release_that_fails_is_not_put_down_to_a_family_with_more_records() {
    let mut host = Host::new(0, [1_000; N]);
    host.run(3, [11_000, 50_000, 0, 0]);
    assert_eq!(host.taken(), [(1, true)]);
    // From now on it comes back with each release, with fewer records than the one that never stopped.
    for _ in 0..3600 {
        let limited = host.governor.mask() & 0b10 != 0;
        let records = if limited { 100 } else { 10_000 };
        host.run(1, [11_000, records, 0, 0]);
    }
    let later = host.taken();
    assert!(later.len() > 10, "{later:?}");
    assert!(later.iter().all(|&(family, _)| family == 1), "{later:?}");
}

#[test]
fn it_is_not_released_while_it_would_cost_more_than_sixty_percent() {
    let mut host = Host::new(1_000_000, [1_000; N]);
    host.run(20, [40_000, 0, 0, 0]);
    // 1 + 12 ms of 20: 65 %. Before the storm there was no reason to limit that, now it stays limited.
    host.run(600, [12_000, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, true)]);
    // 1 + 10 ms: 55 %.
    host.run(20, [10_000, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, false)]);
}

#[test]
fn an_export_every_ten_seconds_does_not_keep_it_limited() {
    let mut host = Host::new(1_000_000, [1_000; N]);
    host.run(20, [40_000, 0, 0, 0]);
    for _ in 0..6 {
        host.run(9, [1_000, 0, 0, 0]);
        host.base_ns = 15_000_000;
        host.run(1, [1_000, 0, 0, 0]);
        host.base_ns = 1_000_000;
    }
    assert_eq!(host.taken(), [(0, true), (0, false)]);
}

#[test]
fn a_process_that_is_busy_otherwise_gets_back_what_costs_hardly_anything() {
    // 15 of 20 ms: 75 % of the limit without any record.
    let mut host = Host::new(15_000_000, [1_000; N]);
    host.run(20, [40_000, 0, 0, 0]);
    host.run(60, [100, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, true), (0, false)]);
}

#[test]
fn what_idle_ticks_cost_is_not_taken_for_the_cost_of_their_few_records() {
    let mut host = Host::new(4_800_000, [1_000; N]);
    // For an hour two records a second, 2.4 ms each if one believed it.
    host.run(3600, [2, 0, 0, 0]);
    host.run(3, [21_000, 0, 0, 0]);
    // 4.8 + 4 ms: 44 % of the limit.
    host.run(30, [4_000, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, true), (0, false)]);
}

#[test]
fn a_release_that_fails_doubles_the_hold() {
    // A load that always comes back with the release: what it costs is known, that it comes is not.
    let mut host = Host::new(0, [1_000; N]);
    for _ in 0..4000 {
        let records = if host.governor.mask() == 0 {
            50_000
        } else {
            100
        };
        host.run(1, [0, records, 0, 0]);
    }
    let mut held = Vec::new();
    let mut since = None;
    for change in &host.changes {
        match since.take() {
            None if change.limited => since = Some(change.at_ns),
            Some(at) if !change.limited => held.push((change.at_ns - at) / SECOND_NS),
            _ => panic!("{change:?}"),
        }
    }
    assert_eq!(held[..7], [10, 20, 40, 80, 160, 320, 600], "{held:?}");
    assert!(held[7..].iter().all(|&hold| hold == 600));
    assert_eq!(
        host.changes
            .iter()
            .filter(|c| c.reason.contains("again"))
            .count(),
        held.len()
    );
}

#[test]
fn ticks_without_time_and_absurd_figures_change_nothing_they_should_not() {
    let mut governor = Governor::<N>::new(LIMIT);
    for now_ns in 0..5 {
        assert_eq!(governor.tick(now_ns, 0, u64::MAX, &[u64::MAX; N]), None);
    }
    assert_eq!(CpuShare::from_ppm(1_234_567).to_string(), "123.4 %");
    assert_eq!(CpuShare::from_ppm(999).to_string(), "0.0 %");
}

fn loads() -> impl Strategy<Value = [u64; N]> {
    prop::array::uniform4(prop_oneof![Just(0), 0u64..100, 0u64..200_000])
}

proptest! {
    #[test]
    fn below_the_limit_nothing_is_limited(
        ticks in prop::collection::vec((0..=LIMIT_NS, loads()), 0..200),
    ) {
        let mut governor = Governor::<N>::new(LIMIT);
        for (now, (cpu_ns, observed)) in (0u64..).zip(ticks) {
            prop_assert_eq!(governor.tick(now * SECOND_NS, SECOND_NS, cpu_ns, &observed), None);
            prop_assert_eq!(governor.helpless(), None);
        }
    }

    #[test]
    fn a_constant_load_is_soon_below_the_limit_and_the_family_of_which_does_not_flap(
        base_ns in 0..LIMIT_NS,
        record_ns in prop::array::uniform4(0u64..30_000),
        observed in loads(),
    ) {
        let mut host = Host::new(base_ns, record_ns);
        host.run(u64::from(OVER_TICKS) + N as u64, observed);
        let first = host.changes.len();
        prop_assert!(first <= N);
        let over = host.run(3600, observed);
        // After that, it is over the limit only where a release was a mistake, and then until that family
        // and no other is limited again.
        let changes = &host.changes[first..];
        let releases = changes.iter().filter(|change| !change.limited).count() as u64;
        prop_assert!(over <= releases * u64::from(OVER_TICKS), "{over} ticks over, {releases} releases");
        for family in 0..N {
            let of_it = changes.iter().filter(|change| change.family == family).count();
            // Holds of 10, 20, … 320 s are 630 s, and 600 s fit four times into the rest of the hour.
            prop_assert!(of_it <= 2 * 11, "family {family}: {of_it} changes");
        }
    }

    #[test]
    fn with_records_that_cost_the_same_a_constant_load_never_flaps(
        record_ns in 1u64..30_000,
        observed in loads(),
    ) {
        let mut host = Host::new(LIMIT_NS / 20, [record_ns; N]);
        host.run(3600, observed);
        for family in 0..N {
            let of_it = host.changes.iter().filter(|change| change.family == family).count();
            prop_assert!(of_it <= 2, "family {family}: {of_it} changes");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_ever_limited(
        ticks in prop::collection::vec((any::<u64>(), any::<u64>(), any::<[u64; N]>()), 0..50),
    ) {
        let mut governor = Governor::<N>::new(CpuShare::from_ppm(0));
        for (now, (wall_ns, cpu_ns, observed)) in (0u64..).zip(ticks) {
            prop_assert_eq!(governor.tick(now, wall_ns, cpu_ns, &observed), None);
        }
        prop_assert_eq!(governor.mask(), 0);
    }

    #[test]
    fn an_idle_host_gets_everything_back(
        base_ns in 0..LIMIT_NS / 2,
        record_ns in prop::array::uniform4(0u64..30_000),
        storms in prop::collection::vec((1u64..100, loads()), 1..8),
    ) {
        let mut host = Host::new(base_ns, record_ns);
        for (seconds, observed) in storms {
            host.run(seconds, observed);
        }
        host.run((LONGEST_HOLD_NS / SECOND_NS) + N as u64 * u64::from(CALM_TICKS + 1), [0; N]);
        prop_assert_eq!(host.governor.mask(), 0);
    }

    #[test]
    fn whatever_comes_the_changes_are_the_mask_and_the_same_again(
        ticks in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<[u64; N]>()), 0..100),
    ) {
        let mut governor = Governor::<N>::new(LIMIT);
        let mut twin = governor.clone();
        let mut mask = 0;
        for (now_ns, wall_ns, cpu_ns, observed) in ticks {
            let change = governor.tick(now_ns, wall_ns, cpu_ns, &observed);
            if let Some(change) = &change {
                prop_assert_eq!(change.limited, mask >> change.family & 1 == 0);
                mask ^= 1 << change.family;
            }
            prop_assert_eq!(governor.mask(), mask);
            prop_assert_eq!(change, twin.tick(now_ns, wall_ns, cpu_ns, &observed));
        }
    }
}

#[test]
fn without_a_limit_any_more_all_is_released() {
    let mut host = Host::new(0, [1000; N]);
    host.run(10, [30_000, 40_000, 0, 0]);
    assert_eq!(host.taken(), [(1, true), (0, true)]);
    host.governor.set_limit(CpuShare::from_ppm(0));
    host.run(1, [30_000, 40_000, 0, 0]);
    assert_eq!(host.taken(), [(0, false)]);
    host.run(100, [30_000, 40_000, 0, 0]);
    assert_eq!(host.taken(), [(1, false)]);
    assert_eq!(host.governor.mask(), 0);
}

#[test]
fn another_limit_counts_from_the_next_tick_on() {
    let mut host = Host::new(0, [1000; N]);
    host.run(10, [15_000, 0, 0, 0]);
    assert_eq!(host.taken(), []);
    host.governor.set_limit(CpuShare::from_ppm(10_000));
    host.run(1, [15_000, 0, 0, 0]);
    assert_eq!(host.taken(), [], "over it for one tick");
    host.run(1, [15_000, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, true)]);
    // Wide enough for what it costs: it is back once it fitted and its hold is over.
    host.governor.set_limit(CpuShare::from_ppm(50_000));
    host.run(11, [15_000, 0, 0, 0]);
    assert_eq!(host.taken(), [(0, false)]);
}

#[test]
fn a_helplessness_is_of_its_limit() {
    let mut host = Host::new(40_000_000, [0; N]);
    host.run(10, [0; N]);
    assert!(host.governor.helpless().is_some());
    host.governor.set_limit(LIMIT);
    assert!(host.governor.helpless().is_some(), "the same limit");
    host.governor.set_limit(CpuShare::from_ppm(50_000));
    host.run(1, [0; N]);
    assert!(host.governor.helpless().is_none());
}
