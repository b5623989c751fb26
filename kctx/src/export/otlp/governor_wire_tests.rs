//! What a backend is told of the governor, from its word in the stream to the bytes of a request.

use super::*;
use crate::{
    aggregate::{table::RowLimits, window::Family},
    export::testing::{SECOND, find, labels},
    host::HostIdentity,
    pipeline::Pipeline,
    resolve::{Recorded, Resolver},
    source::{Control, Item},
};

const START_UNIX_NS: u64 = 1_795_316_645 * SECOND;

/// A window of one second, the nth since the start, with these controls in it.
fn window_with(pipeline: &mut Pipeline, n: u64, controls: Vec<Control>) -> Arc<Window> {
    let end = Control::WindowEnd {
        monotonic_ns: n * SECOND,
        unix_ns: START_UNIX_NS + n * SECOND,
        taint: None,
    };
    let mut windows = (controls.into_iter().chain([end]))
        .filter_map(|control| pipeline.take(&Item::Control(Box::new(control))));
    Arc::new(windows.next().unwrap())
}

fn governor(family: Family, limited: bool, monotonic_ns: u64) -> Control {
    Control::Governor {
        family,
        limited,
        monotonic_ns,
        reason: "kctx used 3.6 % of a CPU, its limit is 2.0 %".to_owned(),
    }
}

/// `attributes value` of each point of a metric.
fn points(received: &Received, metric: &str) -> Vec<String> {
    number_points(received.metrics(), metric)
        .iter()
        .map(|point| format!("{} {}", labels(&point.attributes), number(point)))
        .collect()
}

#[test]
fn a_backend_is_told_which_family_is_limited_and_since_when() {
    let stub = HttpStub::start([]);
    let exporter = spawn(settings(&stub));
    let resolver = Resolver::new(Box::new(Recorded));
    let mut pipeline = Pipeline::new(RowLimits::default(), resolver);
    pipeline.take(&Item::Control(Box::new(Control::Start {
        monotonic_ns: 0,
        unix_ns: START_UNIX_NS,
        probes: Vec::new(),
        host: Box::new(HostIdentity::default()),
    })));
    let half = SECOND / 2;
    for (n, controls) in [
        (1, vec![governor(Family::Softirq, true, half)]),
        (2, vec![governor(Family::Napi, true, SECOND + half)]),
        (3, vec![governor(Family::Softirq, false, 2 * SECOND + half)]),
    ] {
        exporter.offer(window_with(&mut pipeline, n, controls));
        assert!(exporter.settle(LONG));
    }
    let received = stub.received();
    assert_eq!(received.len(), 3);
    let of = |family: &str, value: &str| {
        format!("kctx.probe.family={family},kctx.governor.reason=cpu_limit {value}")
    };
    let limited = |n: usize| points(&received[n], "kctx.governor.limited");
    let since = |n: usize| points(&received[n], "kctx.governor.limited.since");
    assert_eq!(limited(0), [of("softirq", "1")]);
    assert_eq!(since(0), [of("softirq", "1795316645.5")]);
    assert_eq!(limited(1), [of("napi", "1"), of("softirq", "1")]);
    assert_eq!(
        since(1),
        [of("napi", "1795316646.5"), of("softirq", "1795316645.5")]
    );
    // Released: it says 0 from now on, and has no beginning any more.
    assert_eq!(limited(2), [of("napi", "1"), of("softirq", "0")]);
    assert_eq!(since(2), [of("napi", "1795316646.5"), of("softirq", "NaN")]);
    let units = ["kctx.governor.limited", "kctx.governor.limited.since"]
        .map(|name| find(received[0].metrics(), name).map(|metric| metric.unit.clone()));
    assert_eq!(units, [Some("{family}".to_owned()), Some("s".to_owned())]);
}
