//! What is measured by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// This thread's time on CPUs so far.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
