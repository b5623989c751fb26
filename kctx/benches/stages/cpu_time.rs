//! This thread's time on the CPU as what criterion measures: it is what records cost, and another program on the
//! machine changes it less than the wall clock's time.

use std::time::Duration;

use criterion::{
    Throughput,
    measurement::{Measurement, ValueFormatter},
};

use crate::clock;

/// `CLOCK_THREAD_CPUTIME_ID`
pub(crate) struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock::now()
    }

    fn end(&self, start: Duration) -> Duration {
        clock::now() - start
    }

    fn add(&self, v1: &Duration, v2: &Duration) -> Duration {
        *v1 + *v2
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &NsEach
    }
}

/// The throughput as nanoseconds a record or a row.
struct NsEach;

impl ValueFormatter for NsEach {
    fn scale_values(&self, _typical_value: f64, values: &mut [f64]) -> &'static str {
        for value in values {
            *value /= 1e6;
        }
        "ms"
    }

    fn scale_throughputs(
        &self,
        _typical_value: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        let Throughput::Elements(each) = *throughput else {
            return "ns";
        };
        for value in values {
            *value /= each as f64;
        }
        "ns each"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "ns"
    }
}
