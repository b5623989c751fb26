use std::sync::Arc;

use proptest::prelude::*;

use super::accept::Exposition;
use super::model::{Histogram, MetricFamily};
use super::page::{Pages, Wanted, render};
use super::parsed::{self, Samples};
use crate::aggregate::window::Window;
use crate::export::cumulative::Cumulative;
use crate::export::exponential::explicit_bounds;
use crate::export::metric::metrics;
use crate::export::resource::Resource;
use crate::export::testing::{
    LIMITS, SECOND, everything, fold_everything, softirq, window, workqueue,
};
use crate::export::totals::Totals;

fn resource() -> Resource {
    let mut resource = Resource::default();
    resource.set("service.name", "kctx");
    resource.set("host.name", "a \"b\" \\ c\nd");
    resource
}

fn bytes(state: &Cumulative, exposition: Exposition) -> Vec<u8> {
    let wanted = Wanted {
        exposition,
        gzip: false,
    };
    render(state, &resource(), wanted).unwrap()
}

fn classic(state: &Cumulative) -> Samples {
    let text = String::from_utf8(bytes(state, Exposition::Text)).unwrap();
    parsed::text(&text, false)
}

fn open_metrics(state: &Cumulative) -> Samples {
    let text = String::from_utf8(bytes(state, Exposition::OpenMetrics)).unwrap();
    parsed::text(&text, true)
}

fn families(state: &Cumulative) -> Vec<MetricFamily> {
    parsed::protobuf(&bytes(state, Exposition::Protobuf))
}

fn full() -> Cumulative {
    let mut state = Cumulative::new(LIMITS);
    fold_everything(&mut state);
    state
}

#[test]
fn every_metric_is_in_every_format_under_its_name() {
    let state = full();
    let (text, open) = (classic(&state), open_metrics(&state));
    let families = families(&state);
    for metric in metrics() {
        let name = super::name::query(metric);
        let has = |samples: &Samples| {
            samples
                .keys()
                .any(|(key, _)| *key == name || *key == format!("{name}_count"))
        };
        assert!(has(&text) && has(&open), "{name}");
        assert!(
            families.iter().any(|family| family.name() == name),
            "{name}"
        );
    }
    assert_eq!(families.len(), metrics().count() + 1, "and target_info");
}

#[test]
fn a_sample_is_what_it_was() {
    let state = full();
    let labels = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    for samples in [
        classic(&state),
        open_metrics(&state),
        parsed::samples(&families(&state)),
    ] {
        let of = |name: &str, pairs: &[(&str, &str)]| samples[&(name.to_owned(), labels(pairs))];
        let runs = [
            ("kctx_softirq_vector", "NET_RX"),
            ("kctx_softirq_context", "irq_tail"),
            ("cpu_logical_number", "3"),
        ];
        assert_eq!(of("kctx_softirq_duration_seconds_count", &runs), 4.0);
        assert_eq!(of("kctx_softirq_duration_seconds_sum", &runs), 3502e-9);
        let le = |le| [runs[0], runs[1], runs[2], ("le", le)];
        let bucket = "kctx_softirq_duration_seconds_bucket";
        // 1 ns twice, 1 µs and 2.5 µs; bounds are powers of two of a second.
        assert_eq!(of(bucket, &le("1.1920928955078125e-07")), 2.0);
        assert_eq!(of(bucket, &le("9.5367431640625e-07")), 2.0);
        assert_eq!(of(bucket, &le("1.9073486328125e-06")), 3.0);
        assert_eq!(of(bucket, &le("3.814697265625e-06")), 4.0);
        assert_eq!(of(bucket, &le("4.0")), 4.0);
        assert_eq!(of(bucket, &le("+Inf")), 4.0);
        let overflow = [("otel_metric_overflow", "true")];
        assert_eq!(of("kctx_hardirq_unhandled_total", &overflow), 1.0);
        assert_eq!(
            of("kctx_kernel_taint", &[("kctx_kernel_taint_flag", "warn")]),
            1.0
        );
        assert_eq!(
            of("kctx_kernel_taint", &[("kctx_kernel_taint_flag", "die")]),
            0.0
        );
        let target = [("service_name", "kctx"), ("host_name", "a \"b\" \\ c\nd")];
        assert_eq!(of("target_info", &target), 1.0);
    }
}

#[test]
fn without_a_window_there_is_the_target_alone() {
    let state = Cumulative::new(LIMITS);
    for samples in [
        classic(&state),
        open_metrics(&state),
        parsed::samples(&families(&state)),
    ] {
        let names: Vec<_> = samples.keys().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["target_info"]);
    }
}

/// Field numbers and wire types of the published metrics.proto, without the messages under test.
#[test]
fn the_bytes_are_those_of_the_published_format() {
    let mut state = Cumulative::new(LIMITS);
    let mut first = window(101);
    first.softirq = vec![softirq("HI", 0, &[0, 1_000_000_000, 1_000_000_000])];
    state.fold(&first);
    let bytes = bytes(&state, Exposition::Protobuf);
    let (length, rest) = varint(&bytes);
    let family = fields(&rest[..length as usize]);
    assert_eq!(text_of(&family, 1), "kctx_softirq_wait_duration_seconds");
    assert_eq!(number_of(&family, 3), 4, "HISTOGRAM");
    assert_eq!(text_of(&family, 5), "seconds");
    let metric = fields(bytes_of(&family, 4));
    let label = fields(bytes_of(&metric, 1));
    assert_eq!(
        (text_of(&label, 1), text_of(&label, 2)),
        ("kctx_softirq_vector".into(), "HI".into())
    );
    let histogram = fields(bytes_of(&metric, 7));
    assert_eq!(number_of(&histogram, 1), 3, "sample_count");
    assert_eq!(double_of(&histogram, 2), 2.0, "sample_sum");
    let bucket = fields(bytes_of(&histogram, 3));
    assert_eq!(number_of(&bucket, 1), 1, "cumulative_count");
    assert_eq!(double_of(&bucket, 2), 2_f64.powi(-23), "upper_bound");
    let schema = zigzag(number_of(&histogram, 5));
    assert!((-4..=8).contains(&schema), "{schema}");
    assert_eq!(double_of(&histogram, 6), 1e-128, "zero_threshold");
    assert_eq!(number_of(&histogram, 7), 1, "zero_count");
    let span = fields(bytes_of(&histogram, 12));
    // 1 s is an upper bound of every schema: that of bucket 0. The window's histogram holds it a little above.
    let at = zigzag(number_of(&span, 1));
    assert!((0..=1).contains(&at), "{at}");
    assert_eq!(number_of(&span, 2), 1, "length");
    let (delta, _) = varint(bytes_of(&histogram, 13));
    assert_eq!(zigzag(delta), 2, "positive_delta, packed");
    let start = fields(bytes_of(&histogram, 15));
    assert_eq!(number_of(&start, 1), 100, "created_timestamp, seconds");
}

enum Field<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let low = bytes[..=end].iter().rev();
    (
        low.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)),
        &bytes[end + 1..],
    )
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = varint(bytes);
        bytes = rest;
        let field = match key & 7 {
            0 => {
                let (number, rest) = varint(bytes);
                bytes = rest;
                Field::Number(number)
            }
            1 => {
                let (double, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Double(f64::from_le_bytes(double.try_into().unwrap()))
            }
            2 => {
                let (length, rest) = varint(bytes);
                let (inner, rest) = rest.split_at(length as usize);
                bytes = rest;
                Field::Bytes(inner)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn first<'a, 'b>(fields: &'a [(u64, Field<'b>)], number: u64) -> &'a Field<'b> {
    &fields.iter().find(|(n, _)| *n == number).unwrap().1
}

fn number_of(fields: &[(u64, Field<'_>)], number: u64) -> u64 {
    let Field::Number(value) = first(fields, number) else {
        panic!("{number} is no varint")
    };
    *value
}

fn double_of(fields: &[(u64, Field<'_>)], number: u64) -> f64 {
    let Field::Double(value) = first(fields, number) else {
        panic!("{number} is no double")
    };
    *value
}

fn bytes_of<'b>(fields: &[(u64, Field<'b>)], number: u64) -> &'b [u8] {
    let Field::Bytes(value) = first(fields, number) else {
        panic!("{number} is no bytes")
    };
    value
}

fn text_of(fields: &[(u64, Field<'_>)], number: u64) -> String {
    String::from_utf8(bytes_of(fields, number).to_vec()).unwrap()
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn histograms(families: &[MetricFamily]) -> impl Iterator<Item = &Histogram> {
    let metrics = families.iter().flat_map(|family| &family.metric);
    metrics.filter_map(|metric| metric.histogram.as_ref())
}

/// Native and classic buckets of one histogram hold the same durations.
fn check_native(histogram: &Histogram) {
    let buckets = parsed::native_buckets(histogram);
    let schema = histogram.schema();
    assert!((-4..=8).contains(&schema));
    let sum: i64 = buckets.values().sum();
    assert_eq!(
        sum as u64 + histogram.zero_count(),
        histogram.sample_count()
    );
    for (bound, bucket) in explicit_bounds().iter().zip(&histogram.bucket) {
        // Prometheus' index i has the upper bound 2^(i * 2^-schema).
        let upper = |index: i32| (f64::from(index) * f64::from(-schema).exp2()).exp2();
        let below = buckets.iter().filter(|(index, _)| upper(**index) <= *bound);
        let below: i64 = below.map(|(_, count)| count).sum();
        let below = below as u64 + histogram.zero_count();
        assert_eq!(
            below,
            bucket.cumulative_count(),
            "up to {bound} at schema {schema}"
        );
    }
}

#[test]
fn native_buckets_hold_what_the_classic_ones_do() {
    let families = families(&full());
    assert!(histograms(&families).count() > 10);
    histograms(&families).for_each(check_native);
}

/// Windows with what users and devices may name things, and durations of any length.
fn windows() -> impl Strategy<Value = Vec<Window>> {
    let length = prop_oneof![
        Just(0_u64),
        1..2_000_u64,
        1_000..10_000_000_u64,
        1_000_000..30_000_000_000_u64,
    ];
    let name = prop_oneof!["[a-z]{1,4}", "\\PC{0,6}", "[\"\\\\\n{}=, a]{1,5}"];
    let rows = prop::collection::vec((name, prop::collection::vec(length, 1..40)), 1..6);
    prop::collection::vec(rows, 1..5).prop_map(|windows| {
        let windows = windows.into_iter().zip(101..).map(|(rows, end)| {
            let mut window = window(end);
            for (at, (name, values)) in rows.into_iter().enumerate() {
                window.softirq.push(softirq("NET_RX", at as u32, &values));
                window.workqueue.push(workqueue(&name, at == 3, &values));
            }
            window
        });
        windows.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_formats_agree(windows in windows()) {
        let mut state = Cumulative::new(LIMITS);
        let mut before: Vec<MetricFamily> = Vec::new();
        for window in &windows {
            state.fold(window);
            let families = families(&state);
            let text = classic(&state);
            prop_assert_eq!(&text, &open_metrics(&state));
            prop_assert_eq!(&text, &parsed::samples(&families));
            histograms(&families).for_each(check_native);
            // What Prometheus calls a reset does not happen from one scrape to the next.
            for family in &before {
                let now = families.iter().find(|f| f.name() == family.name()).unwrap();
                for old in &family.metric {
                    let new = now.metric.iter().find(|m| m.label == old.label).unwrap();
                    if let (Some(new), Some(old)) = (&new.histogram, &old.histogram) {
                        prop_assert!(new.start_timestamp == old.start_timestamp);
                        prop_assert_eq!(parsed::native(new).reset_since(&parsed::native(old)), None);
                    }
                }
            }
            before = families;
        }
    }
}

#[test]
fn a_scrape_leaves_no_trace_in_what_is_pushed() {
    use crate::export::otlp::{points, settings::HistogramKind};
    let pushed = |scrapes: usize| {
        let totals = Arc::new(Totals::new(LIMITS));
        let mut pages = Pages::new(Arc::clone(&totals), resource());
        let mut pushed = Vec::new();
        for end in 101..110 {
            let mut next = everything();
            next.start_unix_ns = (end - 1) * SECOND;
            totals.offer(Arc::new(next));
            for n in 0..scrapes {
                let exposition = Exposition::ALL[n % 3];
                let gzip = n % 2 == 0;
                pages.page(Wanted { exposition, gzip }).unwrap();
            }
            pushed.push(totals.read(|state, _| points::metrics(state, HistogramKind::Exponential)));
        }
        pushed
    };
    assert!(pushed(0) == pushed(6));
}

#[test]
fn nothing_is_rendered_twice_for_one_window() {
    let totals = Arc::new(Totals::new(LIMITS));
    let mut pages = Pages::new(Arc::clone(&totals), resource());
    let wanted = |gzip| Wanted {
        exposition: Exposition::Text,
        gzip,
    };
    totals.offer(Arc::new(window(101)));
    assert_eq!(pages.rendered(), 0);
    let first = pages.page(wanted(false)).unwrap();
    assert_eq!(pages.page(wanted(false)).unwrap(), first);
    assert_eq!(pages.rendered(), 1);
    pages.page(wanted(true)).unwrap();
    assert_eq!(pages.rendered(), 2);
    totals.offer(Arc::new(everything()));
    assert_ne!(pages.page(wanted(false)).unwrap(), first);
    assert_eq!(pages.rendered(), 3);
}

#[test]
fn compressed_is_the_same() {
    let state = full();
    for exposition in Exposition::ALL {
        let compressed = Wanted {
            exposition,
            gzip: true,
        };
        let compressed = render(&state, &resource(), compressed).unwrap();
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(compressed.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
        assert_eq!(plain, bytes(&state, exposition), "{exposition}");
        assert!(compressed.len() < plain.len());
    }
}
