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
