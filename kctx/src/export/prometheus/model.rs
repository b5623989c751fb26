//! The messages of Prometheus' protobuf format, as far as kctx fills them: `io.prometheus.client`
//! (prometheus/client_model, `io/prometheus/client/metrics.proto`, v0.6.2).

use prost::Message;

/// A metric family.
#[derive(Clone, PartialEq, Message)]
pub struct MetricFamily {
    /// Its name, with `_total` of a counter.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// One sentence.
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// What its metrics are.
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    pub r#type: Option<i32>,
    /// Its series.
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    /// The unit's word.
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

/// What a family's metrics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Only grows.
    Counter = 0,
    /// A state.
    Gauge = 1,
    /// Quantiles; not used here.
    Summary = 2,
    /// Not said; not used here.
    Untyped = 3,
    /// Counts by value.
    Histogram = 4,
}

/// A series.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its labels.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// Of a gauge.
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Gauge>,
    /// Of a counter.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Counter>,
    /// Of a histogram.
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct LabelPair {
    /// Its name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Its value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// A gauge's value.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Gauge {
    /// The value.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// A counter's value.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Counter {
    /// The value.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
    /// Since when it counts (`created_timestamp`, lately `start_timestamp`).
    #[prost(message, optional, tag = "3")]
    pub start_timestamp: Option<Timestamp>,
}

/// A histogram, classic and native in one: whoever reads it takes what it can.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// How many.
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// Classic buckets, cumulative.
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    /// -4 to 8: `base = 2^(2^-schema)`.
    #[prost(sint32, optional, tag = "5")]
    pub schema: Option<i32>,
    /// Up to what a value counts as zero.
    #[prost(double, optional, tag = "6")]
    pub zero_threshold: Option<f64>,
    /// How many did.
    #[prost(uint64, optional, tag = "7")]
    pub zero_count: Option<u64>,
    /// Which positive buckets there are.
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    /// Their counts, each but the first less the one before it.
    #[prost(sint64, repeated, tag = "13")]
    pub positive_delta: Vec<i64>,
    /// Since when it counts (`created_timestamp`, lately `start_timestamp`).
    #[prost(message, optional, tag = "15")]
    pub start_timestamp: Option<Timestamp>,
}

/// A classic bucket.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Bucket {
    /// How many up to its bound.
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    /// The bound, inclusive.
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
}

/// Neighbouring native buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct BucketSpan {
    /// Index of the first: of the first span by itself, of the others from the end of the one before.
    #[prost(sint32, optional, tag = "1")]
    pub offset: Option<i32>,
    /// How many.
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Timestamp {
    /// Since the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And these.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
