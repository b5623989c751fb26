//! How many connections are taken in a second: what clients cost is bounded, however many there are.
//!
//! kctx' own CPU time is what the governor goes by: without this bound whoever asks all the time could make it keep
//! families from the rings.

use std::time::{Duration, Instant};

/// Connections at once after a pause, and per second in the long run.
#[derive(Debug)]
pub(super) struct Pace {
    gap: Duration,
    burst: u32,
    /// When the connections taken so far are paid for (generic cell rate algorithm, ITU-T I.371).
    paid: Option<Instant>,
}

impl Pace {
    /// So many per second, and at once; 0 counts as 1.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            gap: Duration::from_secs(1) / per_second,
            burst: per_second,
            paid: None,
        }
    }

    /// Books a connection taken now, and tells how long the next has to wait.
    pub(super) fn taken(&mut self, now: Instant) -> Duration {
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + self.gap;
        self.paid = Some(paid);
        let ahead = paid.saturating_duration_since(now);
        ahead.saturating_sub(self.gap * (self.burst - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_each_waits_its_turn() {
        let mut pace = Pace::new(10);
        let start = Instant::now();
        for _ in 0..9 {
            assert_eq!(pace.taken(start), Duration::ZERO);
        }
        assert_eq!(pace.taken(start), Duration::from_millis(100));
        // Half a second of quiet is five connections.
        let later = start + Duration::from_millis(600);
        for _ in 0..5 {
            assert_eq!(pace.taken(later), Duration::ZERO);
        }
        assert_eq!(pace.taken(later), Duration::from_millis(100));
    }

    #[test]
    fn in_the_long_run_no_more_than_that() {
        let mut pace = Pace::new(50);
        let start = Instant::now();
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            now += pace.taken(now);
            taken += 1;
        }
        assert!((500..=550).contains(&taken), "{taken}");
        let hour = now + Duration::from_secs(3600);
        assert_eq!(pace.taken(hour), Duration::ZERO);
    }
}
