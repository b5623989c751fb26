//! The protobuf format: delimited `MetricFamily` messages, with native histograms.

use std::io::{self, Write};

use prost::Message as _;

use super::family::{Family, FamilyKind, Format, Labels, Sample};
use super::model::{
    Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
    Timestamp,
};
use super::name::TOTAL;
use crate::export::exponential::{ExponentialHistogram, explicit_bounds};

/// What Prometheus itself gives an exponential histogram that comes by OTLP: only an exact 0 s is in the zero bucket.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets that are cheaper to name than to skip: a span is two numbers, and a bucket one.
const MAX_FILLED: i32 = 2;

/// Writes it: a family at a time.
#[derive(Debug, Default)]
pub struct Protobuf {
    family: Option<MetricFamily>,
    kind: Option<FamilyKind>,
}

impl Protobuf {
    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some(family) = self.family.take() else {
            return Ok(());
        };
        out.write_all(&family.encode_length_delimited_to_vec())
    }
}

impl Format for Protobuf {
    fn family(&mut self, family: &Family, out: &mut dyn Write) -> io::Result<()> {
        self.flush(out)?;
        let (suffix, kind) = match family.kind {
            FamilyKind::Counter => (TOTAL, MetricType::Counter),
            FamilyKind::Info => ("_info", MetricType::Gauge),
            FamilyKind::Gauge => ("", MetricType::Gauge),
            FamilyKind::Histogram => ("", MetricType::Histogram),
        };
        self.kind = Some(family.kind);
        self.family = Some(MetricFamily {
            name: Some(format!("{}{suffix}", family.name)),
            help: Some(family.help.to_owned()),
            r#type: Some(kind.into()),
            metric: Vec::new(),
            unit: (!family.unit.is_empty()).then(|| family.unit.to_owned()),
        });
        Ok(())
    }

    fn sample(
        &mut self,
        labels: &Labels<'_>,
        start_unix_ns: u64,
        sample: Sample<'_>,
        _out: &mut dyn Write,
    ) -> io::Result<()> {
        let start = timestamp(start_unix_ns);
        let mut metric = Metric {
            label: (labels.iter())
                .map(|(name, value)| LabelPair {
                    name: Some(name.clone().into_owned()),
                    value: Some(value.clone().into_owned()),
                })
                .collect(),
            ..Metric::default()
        };
        let value = match sample {
            Sample::Count(value) => value as f64,
            Sample::Real(value) => value,
            Sample::Durations(histogram) => {
                metric.histogram = Some(histogram_message(histogram, start));
                0.0
            }
        };
        match self.kind {
            Some(FamilyKind::Counter) => {
                metric.counter = Some(Counter {
                    value: Some(value),
                    start_timestamp: Some(start),
                });
            }
            Some(FamilyKind::Gauge | FamilyKind::Info) => {
                metric.gauge = Some(Gauge { value: Some(value) });
            }
            Some(FamilyKind::Histogram) | None => {}
        }
        if let Some(family) = &mut self.family {
            family.metric.push(metric);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.flush(out)
    }
}

fn timestamp(unix_ns: u64) -> Timestamp {
    Timestamp {
        seconds: (unix_ns / 1_000_000_000) as i64,
        nanos: (unix_ns % 1_000_000_000) as i32,
    }
}

fn histogram_message(histogram: &ExponentialHistogram, start: Timestamp) -> Histogram {
    let mut below = 0;
    let bounds = explicit_bounds().into_iter().chain([f64::INFINITY]);
    let bucket = (bounds.zip(histogram.explicit_counts()))
        .map(|(bound, count)| {
            below += count;
            Bucket {
                cumulative_count: Some(below),
                upper_bound: Some(bound),
            }
        })
        .collect();
    let (positive_span, positive_delta) = spans(histogram.offset(), histogram.counts());
    Histogram {
        sample_count: Some(histogram.count()),
        sample_sum: Some(histogram.sum_ns() as f64 / 1e9),
        bucket,
        schema: Some(histogram.scale()),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(histogram.zero_count()),
        positive_span,
        positive_delta,
        start_timestamp: Some(start),
    }
}

/// Buckets as spans and deltas. Prometheus numbers a bucket by its upper bound, OTLP by its lower one: one more.
fn spans(offset: i32, counts: &[u64]) -> (Vec<BucketSpan>, Vec<i64>) {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut deltas = Vec::new();
    // Index after the last span's end, and the count of its last bucket.
    let (mut end, mut before) = (0, 0);
    for (index, count) in (offset + 1..).zip(counts).filter(|(_, count)| **count > 0) {
        let gap = index - end;
        match spans.last_mut() {
            Some((_, length)) if gap <= MAX_FILLED => {
                for _ in 0..gap {
                    deltas.push(-before);
                    before = 0;
                }
                *length += gap as u32 + 1;
            }
            _ => spans.push((gap, 1)),
        }
        let count = *count as i64;
        deltas.push(count - before);
        (end, before) = (index + 1, count);
    }
    if spans.is_empty() {
        // A span of nothing says that the histogram is a native one all the same.
        spans.push((0, 0));
    }
    let spans = spans.into_iter().map(|(offset, length)| BucketSpan {
        offset: Some(offset),
        length: Some(length),
    });
    (spans.collect(), deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_skip_what_is_long_and_empty() {
        let of = |offset, counts: &[u64]| {
            let (spans, deltas) = spans(offset, counts);
            let spans: Vec<_> = spans.iter().map(|s| (s.offset(), s.length())).collect();
            (spans, deltas)
        };
        assert_eq!(of(-70, &[3, 5]), (vec![(-69, 2)], vec![3, 2]));
        assert_eq!(of(-1, &[0, 2, 0, 0, 1]), (vec![(1, 4)], vec![2, -2, 0, 1]));
        assert_eq!(
            of(4, &[7, 0, 0, 0, 1, 1, 0]),
            (vec![(5, 1), (3, 2)], vec![7, -6, 0])
        );
        assert_eq!(of(9, &[]), (vec![(0, 0)], vec![]));
        assert_eq!(of(9, &[0, 0]), (vec![(0, 0)], vec![]));
    }
}
