//! How much is exported, on machines of every size.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;

use super::cumulative::{Cumulative, Limits};
use super::metric::{Selection, SeriesMut, SeriesOf, metrics};
use super::otlp::points;
use super::otlp::request::{proto_resource, split};
use super::otlp::settings::HistogramKind;
use super::prometheus::accept::Exposition;
use super::prometheus::page::{Wanted, render};
use super::resource::Resource;
use super::settings::ExportConfig;
use super::testing::{LIMITS, fold_everything, large_host};

/// What an export of a machine comes to.
#[derive(Clone, Copy, Debug)]
struct Size {
    series: usize,
    /// Of a backend that has one for each bucket.
    classic: usize,
    otlp: usize,
    otlp_gzip: usize,
    text: usize,
    text_gzip: usize,
}

fn gzip(bytes: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().len()
}

fn size(state: &Cumulative) -> Size {
    let resource = Resource::default();
    let metrics = points::metrics(state, HistogramKind::Exponential);
    let parts = split(metrics, &proto_resource(&resource), 3 << 20);
    let requests: Vec<_> = (parts.iter())
        .map(|part| part.message.encode_to_vec())
        .collect();
    assert!(requests.iter().all(|request| request.len() <= 3 << 20));
    let text = render(
        state,
        &resource,
        Wanted {
            exposition: Exposition::Text,
            gzip: false,
        },
    );
    let text = text.unwrap();
    let lines = String::from_utf8_lossy(&text);
    Size {
        series: parts.iter().map(|part| part.items as usize).sum(),
        classic: lines.lines().filter(|line| !line.starts_with('#')).count(),
        otlp: requests.iter().map(Vec::len).sum(),
        otlp_gzip: requests.iter().map(|request| gzip(request)).sum(),
        text_gzip: gzip(&text),
        text: text.len(),
    }
}

fn of(cpus: u32, limits: Limits) -> (Cumulative, Size) {
    let mut state = Cumulative::new(limits);
    large_host(cpus).for_each(|window| state.fold(&window));
    let size = size(&state);
    println!("{cpus} CPUs, apart {}: {size:?}", limits.per_cpu);
    (state, size)
}

/// As it is a week later: a million times the counts.
fn much_later(state: &mut Cumulative) {
    for metric in metrics() {
        if let SeriesMut::Durations(set) = metric.series_mut(state) {
            let later: Vec<_> = (set.iter())
                .map(|(attributes, series)| {
                    let mut sum = series.value.clone();
                    (0..20).for_each(|_| sum.merge(&sum.clone()));
                    (attributes.clone(), series.start_unix_ns, sum)
                })
                .collect();
            for (attributes, start, sum) in later {
                set.change(attributes, start, || unreachable!(), |known| *known = sum);
            }
        }
    }
}

/// The figures are those of docs/metrics.md.
#[test]
fn by_default_a_machine_of_any_size_stays_within_the_bounds_of_the_reference() {
    for cpus in [1, 16, 17, 128, 256] {
        let limits = ExportConfig::default().limits(Some(cpus as usize));
        let (mut state, young) = of(cpus, limits);
        much_later(&mut state);
        let old = size(&state);
        println!("{cpus} CPUs, a week later: {old:?}");
        for size in [young, old] {
            assert!(size.series <= 4_500, "{size:?}");
            assert!(size.classic <= 100_000, "{size:?}");
            assert!(
                size.otlp <= 3 << 19 && size.otlp_gzip <= 400 << 10,
                "{size:?}"
            );
            assert!(
                size.text <= 14 << 20 && size.text_gzip <= 750 << 10,
                "{size:?}"
            );
        }
    }
}

/// Whoever wants each CPU of a large machine has it, up to `max_series` of each metric.
#[test]
fn with_cpus_apart_the_bound_of_each_metric_holds() {
    let apart = Limits {
        per_cpu: true,
        ..LIMITS
    };
    let (state, size) = of(256, apart);
    assert!(size.series > 15_000 && size.series <= metrics().count() * apart.max_series);
    for metric in metrics() {
        let series = match metric.series(&state) {
            SeriesOf::Durations(set) => set.len(),
            SeriesOf::Count(set) | SeriesOf::Seconds(set) | SeriesOf::Millionths(set) => set.len(),
        };
        assert!(series <= apart.max_series, "{}", metric.name);
    }
}

/// Together or apart, nothing is counted twice or not at all, and together the buckets are the sum of those apart.
#[test]
fn cpus_together_are_the_sum_of_cpus_apart() {
    let sums = |per_cpu| {
        let mut state = Cumulative::new(Limits {
            per_cpu,
            max_series: 100_000,
            ..LIMITS
        });
        large_host(20).for_each(|window| state.fold(&window));
        let of = |metric: &super::metric::Metric| match metric.series(&state) {
            SeriesOf::Durations(set) => {
                let mut sum = super::exponential::ExponentialHistogram::new(LIMITS.max_buckets);
                set.iter().for_each(|(_, series)| sum.merge(&series.value));
                let at_one_scale = sum.explicit_counts();
                (sum.count(), sum.sum_ns(), sum.max_ns(), at_one_scale)
            }
            SeriesOf::Count(set) | SeriesOf::Seconds(set) | SeriesOf::Millionths(set) => (
                set.iter().map(|(_, series)| series.value).sum(),
                0,
                0,
                Vec::new(),
            ),
        };
        metrics().map(of).collect::<Vec<_>>()
    };
    assert_eq!(sums(true), sums(false));
}

#[test]
fn a_metric_that_is_not_wanted_is_not_kept_and_the_others_are() {
    let kept = |limits| {
        let mut state = Cumulative::new(limits);
        fold_everything(&mut state);
        let kept = points::metrics(&state, HistogramKind::Exponential);
        kept.into_iter()
            .map(|metric| metric.name)
            .collect::<Vec<_>>()
    };
    let all = kept(LIMITS);
    assert_eq!(all.len(), metrics().count());
    for metric in metrics() {
        let one = Selection::of_metrics(&[metric.name.to_owned()]).unwrap();
        let others = kept(Limits {
            selection: Selection::ALL.except(one),
            ..LIMITS
        });
        let expected: Vec<_> = all.iter().filter(|name| *name != metric.name).collect();
        assert_eq!(others.iter().collect::<Vec<_>>(), expected);
    }
}
