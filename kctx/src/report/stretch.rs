//! A context's time on a CPU, laid out in time.

/// From when to when something was on a CPU, and how much of that was its own: without what fell into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) own_ns: u64,
}

impl Stretch {
    /// What ended then, after so long.
    pub(super) fn ended(end_ns: u64, service_ns: u64, own_ns: u64) -> Self {
        Self {
            start_ns: end_ns.saturating_sub(service_ns),
            end_ns,
            own_ns: own_ns.min(service_ns),
        }
    }

    /// Its own time between two moments, as if that were spread evenly. Parts that meet add up to the whole, to the
    /// nanosecond.
    pub(super) fn own_within(&self, from_ns: u64, to_ns: u64) -> u64 {
        self.own_until(to_ns)
            .saturating_sub(self.own_until(from_ns))
    }

    fn own_until(&self, at_ns: u64) -> u64 {
        if at_ns >= self.end_ns {
            return self.own_ns;
        }
        let passed = at_ns.saturating_sub(self.start_ns);
        let length = self.end_ns.saturating_sub(self.start_ns).max(1);
        // Not more than own_ns, since passed is less than length.
        (u128::from(self.own_ns) * u128::from(passed) / u128::from(length)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_of_the_time_is_half_of_what_was_its_own() {
        let stretch = Stretch::ended(3_000, 2_000, 500);
        assert_eq!(stretch.start_ns, 1_000);
        assert_eq!(stretch.own_within(0, 2_000), 250);
        assert_eq!(stretch.own_within(2_000, 9_000), 250);
        assert_eq!(stretch.own_within(0, 1_000), 0);
        assert_eq!(stretch.own_within(3_000, 9_000), 0);
    }

    proptest! {
        #[test]
        fn parts_that_meet_add_up(end in any::<u64>(), service in any::<u64>(), own in any::<u64>(), cut in any::<u64>()) {
            let stretch = Stretch::ended(end, service, own);
            let (first, second) = (stretch.own_within(0, cut), stretch.own_within(cut, u64::MAX));
            prop_assert_eq!(first + second, stretch.own_ns);
        }
    }
}
