//! The clocks: `CLOCK_MONOTONIC`, which the probes read, the wall clock, which people do, and the CPU time
//! of this process.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: what `bpf_ktime_get_ns` gives.
#[must_use]
pub fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn unix_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Realtime))
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By `CLOCK_MONOTONIC`, in nanoseconds.
    pub monotonic_ns: u64,
    /// Since the Unix epoch, in nanoseconds.
    pub unix_ns: u64,
}

impl Moment {
    /// Now. The CPU may be lost between the one clock's reading and the other's: of a few tries the closest counts.
    #[must_use]
    pub fn now() -> Self {
        const CLOSE_NS: u64 = 10_000;
        let mut closest = Self::read();
        for _ in 0..4 {
            if closest.0 < CLOSE_NS {
                break;
            }
            closest = closest.min(Self::read());
        }
        let (_, monotonic_ns, unix_ns) = closest;
        Self {
            monotonic_ns,
            unix_ns,
        }
    }

    /// How long both readings took, and both.
    fn read() -> (u64, u64, u64) {
        let before = monotonic_ns();
        let unix = unix_ns();
        (monotonic_ns().saturating_sub(before), before, unix)
    }
}

/// CPU time that all threads of this process have used, in nanoseconds.
#[must_use]
pub fn cpu_time_ns() -> u64 {
    to_ns(clock_gettime(ClockId::ProcessCPUTime))
}

fn to_ns(time: Timespec) -> u64 {
    (time.tv_sec.max(0) as u64) * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_tell_of_the_same_moment() {
        // However busy the machine is: nobody sets its clock by more than a millisecond meanwhile.
        let offset = |at: Moment| at.unix_ns - at.monotonic_ns;
        let first = offset(Moment::now());
        for _ in 0..200 {
            let later = Moment::now();
            assert!(offset(later).abs_diff(first) < 1_000_000, "{later:?}");
        }
    }

    #[test]
    fn cpu_time_grows_with_work_of_any_thread() {
        let before = cpu_time_ns();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = cpu_time_ns();
                while cpu_time_ns() < start + 1_000_000 {}
            });
        });
        assert!(cpu_time_ns() >= before + 1_000_000);
    }
}
