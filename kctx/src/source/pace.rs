//! When the drain does what: how long it may sleep, and the beats that it keeps.

use std::time::{Duration, Instant};

/// A ring found this full calls for the shortest sleep.
const TARGET_FILL: f64 = 0.25;
pub(super) const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
const LONGEST_SLEEP: Duration = LOOK_EVERY;

/// How often the log, the taint and which CPUs are online are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many windows a second has, at least one.
pub(super) fn windows_a_second(window: Option<Duration>) -> u32 {
    const SECOND: Duration = Duration::from_secs(1);
    let nanos = window.unwrap_or(SECOND).as_nanos().max(1);
    u32::try_from(SECOND.as_nanos().div_ceil(nanos)).unwrap_or(u32::MAX)
}

/// The sleep after which the fullest ring would have been at its target fill, going up by no more than
/// twice, so that the end of a lull is not slept through.
pub(super) fn next_sleep(slept: Duration, fullest: f64) -> Duration {
    let wanted = if fullest <= 0.0 {
        LONGEST_SLEEP
    } else {
        slept.mul_f64((TARGET_FILL / fullest).min(2.0))
    };
    wanted.min(slept * 2).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
}

/// When something that is due at `at`, and now, is due again. What was missed is not made up for.
pub(super) fn after(at: Instant, every: Duration, now: Instant) -> Instant {
    at.max(now - every) + every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_windows_are_several_a_second() {
        let of = |ms| windows_a_second(Some(Duration::from_millis(ms)));
        assert_eq!([100, 300, 999, 1000, 60_000].map(of), [10, 4, 2, 1, 1]);
        assert_eq!(windows_a_second(None), 1);
    }

    #[test]
    fn what_is_late_keeps_its_beat_and_what_was_missed_is_not_made_up_for() {
        let ms = Duration::from_millis;
        let start = Instant::now() + ms(10_000);
        assert_eq!(after(start, ms(250), start + ms(3)), start + ms(250));
        assert_eq!(after(start, ms(250), start + ms(900)), start + ms(900));
    }

    #[test]
    fn the_sleep_shrinks_at_once_and_grows_slowly() {
        let ms = Duration::from_millis;
        assert_eq!(next_sleep(ms(100), 1.0), ms(25));
        assert_eq!(next_sleep(ms(10), 0.0), ms(20));
        assert_eq!(next_sleep(ms(300), 0.0), ms(500));
        assert_eq!(next_sleep(ms(1), 1.0), ms(1));
        assert_eq!(next_sleep(ms(20), 0.25), ms(20));
    }
}
