//! What Prometheus takes for a counter reset of a native histogram, by the rules of `FloatHistogram.DetectReset`
//! (Prometheus 3.14, model/histogram/float_histogram.go), for histograms without negative and custom buckets and without a
//! hint of whoever sends them. kctx' own tests read this file too.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;

/// A native histogram as Prometheus holds it. It numbers buckets by their upper bounds: `2^(index * 2^-schema)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    /// All that it counted.
    pub count: u64,
    /// Of its buckets.
    pub schema: i32,
    /// What its zero bucket reaches up to.
    pub zero_threshold: f64,
    /// What is in there.
    pub zero_count: u64,
    /// Counts by index.
    pub buckets: BTreeMap<i32, u64>,
}

/// What looks like a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The count is smaller.
    CountFell,
    /// Its buckets are finer.
    SchemaRose,
    /// The zero bucket is narrower.
    ZeroThresholdFell,
    /// A bucket that is populated would be cut in two.
    ZeroThresholdInBucket,
    /// There is less in the zero bucket.
    ZeroCountFell,
    /// At the later schema, which may be the coarser one.
    BucketFell(i32),
}

impl Native {
    /// A point of OTLP as the receiver converts it (storage/remote/otlptranslator/prometheusremotewrite/histograms.go): it
    /// drops what is coarser than schema -4, and has only exact zeros in the zero bucket.
    #[must_use]
    pub fn of_point(point: &ExponentialHistogramDataPoint) -> Self {
        assert!((-4..=8).contains(&point.scale), "{}", point.scale);
        let positive = point.positive.as_ref();
        let (offset, counts) = positive.map_or((0, &[][..]), |buckets| {
            (buckets.offset, &buckets.bucket_counts[..])
        });
        let counts = (offset + 1..).zip(counts.iter().copied());
        Self {
            count: point.count,
            schema: point.scale,
            zero_threshold: 1e-128,
            zero_count: point.zero_count,
            buckets: counts.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Its buckets as they are at a schema that is no finer.
    fn at(&self, schema: i32) -> BTreeMap<i32, u64> {
        let mut coarser = BTreeMap::new();
        for (index, count) in &self.buckets {
            let index = ((index - 1) >> (self.schema - schema)) + 1;
            *coarser.entry(index).or_default() += count;
        }
        coarser
    }

    fn upper(&self, index: i32) -> f64 {
        (f64::from(index) * f64::from(-self.schema).exp2()).exp2()
    }

    /// Its zero count if the zero bucket reached up to `threshold`; `None` where that cuts a populated bucket.
    fn zeros_up_to(&self, threshold: f64) -> Option<u64> {
        let mut zeros = self.zero_count;
        for (index, count) in self.buckets.iter().filter(|(_, count)| **count > 0) {
            if self.upper(index - 1) >= threshold {
                break;
            }
            if self.upper(*index) > threshold {
                return None;
            }
            zeros += count;
        }
        Some(zeros)
    }

    /// What of it, after `before`, looks like a reset.
    #[must_use]
    pub fn reset_since(&self, before: &Self) -> Option<Reset> {
        if self.count < before.count {
            return Some(Reset::CountFell);
        }
        if self.schema > before.schema {
            return Some(Reset::SchemaRose);
        }
        if self.zero_threshold < before.zero_threshold {
            return Some(Reset::ZeroThresholdFell);
        }
        let zeros_before = if self.zero_threshold > before.zero_threshold {
            let Some(zeros) = before.zeros_up_to(self.zero_threshold) else {
                return Some(Reset::ZeroThresholdInBucket);
            };
            zeros
        } else {
            before.zero_count
        };
        if self.zero_count < zeros_before {
            return Some(Reset::ZeroCountFell);
        }
        let (now, then) = (self.at(self.schema), before.at(self.schema));
        let fell = then.iter().find(|(index, count)| {
            let in_zeros = self.upper(**index) <= self.zero_threshold;
            !in_zeros && now.get(index).copied().unwrap_or(0) < **count
        });
        fell.map(|(index, _)| Reset::BucketFell(*index))
    }
}

/// Whether a point looks like a reset after an earlier one.
#[must_use]
pub fn detects_reset(
    now: &ExponentialHistogramDataPoint,
    before: &ExponentialHistogramDataPoint,
) -> bool {
    (Native::of_point(now).reset_since(&Native::of_point(before))).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(schema: i32, zero: (f64, u64), buckets: &[(i32, u64)]) -> Native {
        let counts = buckets.iter().map(|(_, count)| count);
        Native {
            count: counts.sum::<u64>() + zero.1,
            schema,
            zero_threshold: zero.0,
            zero_count: zero.1,
            buckets: buckets.iter().copied().collect(),
        }
    }

    /// Each rule finds what it is there for, and nothing else.
    #[test]
    fn each_kind_of_reset_is_found() {
        let before = native(3, (1e-9, 2), &[(5, 10), (6, 1), (9, 4)]);
        let after = |now: Native| now.reset_since(&before);
        assert_eq!(after(before.clone()), None);
        assert_eq!(
            after(native(3, (1e-9, 2), &[(5, 10), (6, 1), (8, 7), (9, 4)])),
            None
        );
        assert_eq!(
            after(native(3, (1e-9, 2), &[(5, 10), (6, 1)])),
            Some(Reset::CountFell)
        );
        assert_eq!(
            after(native(3, (1e-9, 2), &[(5, 10), (6, 1), (8, 9)])),
            Some(Reset::BucketFell(9))
        );
        assert_eq!(
            after(native(3, (1e-9, 1), &[(5, 11), (6, 1), (9, 4)])),
            Some(Reset::ZeroCountFell)
        );
        assert_eq!(
            after(native(4, (1e-9, 2), &[(9, 20)])),
            Some(Reset::SchemaRose)
        );
        // Two of schema 3 are one of schema 2: 5 and 6 are 3 there, 9 is 5.
        assert_eq!(after(native(2, (1e-9, 2), &[(3, 11), (5, 4)])), None);
        assert_eq!(
            after(native(2, (1e-9, 2), &[(3, 10), (4, 1), (5, 4)])),
            Some(Reset::BucketFell(3))
        );
        assert_eq!(
            after(native(3, (1e-10, 99), &[])),
            Some(Reset::ZeroThresholdFell)
        );
        // The zero bucket may swallow whole buckets: 6 ends at 2^(6/8).
        let swallowed = native(3, (1.7, 13), &[(9, 4)]);
        assert_eq!(after(swallowed), None);
        assert_eq!(
            after(native(3, (1.7, 12), &[(9, 5)])),
            Some(Reset::ZeroCountFell)
        );
        assert_eq!(
            after(native(3, (1.6, 99), &[(9, 4)])),
            Some(Reset::ZeroThresholdInBucket)
        );
    }
}
