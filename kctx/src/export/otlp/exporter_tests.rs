use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message;

use super::*;
use crate::aggregate::window::ContextTimes;
use crate::export::otlp::settings::{Compression, Protocol};
use crate::export::otlp::stubs::{Answer, GrpcStub, HttpStub, Received};
use crate::export::otlp::transport::Transport;
use crate::export::testing::{
    LIMITS, exponential_points, labels, number, number_points, softirq, window,
};

const LONG: Duration = Duration::from_secs(20);

fn settings(stub: &HttpStub) -> OtlpSettings {
    let endpoint = format!("http://{}/v1/metrics", stub.address)
        .parse()
        .unwrap();
    OtlpSettings::new(Transport::new(endpoint, Protocol::HttpProtobuf))
}

/// An exporter that sends each window as it comes.
fn spawn(mut settings: OtlpSettings) -> OtlpExporter {
    settings.interval = Duration::ZERO;
    spawn_paced(settings)
}

fn spawn_paced(settings: OtlpSettings) -> OtlpExporter {
    let mut resource = Resource::default();
    resource.set("service.name", "kctx");
    let totals = Arc::new(Totals::new(LIMITS));
    OtlpExporter::spawn(settings, resource, totals).unwrap()
}

/// A window with one row of `count` durations.
fn counted(end: u64, count: u64) -> Arc<Window> {
    let values: Vec<u64> = (0..count).map(|n| 1_000 + n).collect();
    let mut next = window(end);
    next.softirq = vec![softirq("NET_RX", 0, &values)];
    next.cpu = vec![ContextTimes {
        softirq_ns: values.iter().sum(),
        ..ContextTimes::default()
    }];
    Arc::new(next)
}

fn offer_and_settle(exporter: &OtlpExporter, end: u64, count: u64) {
    exporter.offer(counted(end, count));
    assert!(exporter.settle(LONG), "not settled: {:?}", exporter.stats());
}

fn count_of(received: &Received) -> u64 {
    exponential_points(received.metrics(), "kctx.softirq.duration")[0].count
}

fn status(code: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Answer::Status(code, headers, body.to_vec())
}

#[test]
fn windows_that_come_more_often_than_exports_are_folded_into_one() {
    let stub = HttpStub::start([]);
    let mut settings = settings(&stub);
    settings.interval = Duration::from_millis(400);
    let exporter = spawn_paced(settings);
    for end in 101..121 {
        exporter.offer(counted(end, 1));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        exporter.shutdown(Duration::from_secs(5)),
        ShutdownOutcome::Flushed
    );
    let received = stub.received();
    // One second of windows and the last flush: two or three exports, not twenty, whatever the noise.
    assert!((2..=8).contains(&received.len()), "{}", received.len());
    assert_eq!(count_of(received.last().unwrap()), 20);
    assert_eq!(exporter.stats().collections_merged, 0);
}

#[test]
fn a_collection_arrives_whole() {
    let stub = HttpStub::start([]);
    let mut settings = settings(&stub);
    settings.transport.headers = vec![("x-scope".parse().unwrap(), "secret".parse().unwrap())];
    let exporter = spawn(settings);
    offer_and_settle(&exporter, 101, 5);
    offer_and_settle(&exporter, 102, 2);
    let received = stub.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].path, "/v1/metrics");
    let header = |name: &str| received[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-protobuf");
    assert_eq!(header("content-encoding"), "gzip");
    assert_eq!(header("x-scope"), "secret");
    assert!(
        header("user-agent").starts_with("kctx/"),
        "{}",
        header("user-agent")
    );
    assert!(header("user-agent").contains(" OTel-OTLP-Exporter-Rust/"));
    assert_eq!((count_of(&received[0]), count_of(&received[1])), (5, 7));
    let stats = exporter.stats();
    assert_eq!(
        (stats.exports_ok, stats.exports_failed, stats.retries),
        (2, 0, 0)
    );
    let own = number_points(
        received[1].metrics(),
        "otel.sdk.exporter.metric_data_point.exported",
    );
    // Four of softirqs and CPU time, two of what the export still has to do.
    assert_eq!(number(&own[0]) as u64, 6);
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    assert_eq!(stub.received().len(), 2, "nothing new, nothing sent");
}

#[test]
fn uncompressed_when_asked() {
    let stub = HttpStub::start([]);
    let mut settings = settings(&stub);
    settings.transport.compression = Compression::None;
    let exporter = spawn(settings);
    offer_and_settle(&exporter, 101, 5);
    assert!(!stub.received()[0].headers.contains_key("content-encoding"));
}

#[test]
fn unavailable_is_retried_no_sooner_than_asked_with_the_same_request() {
    for (code, by_date) in [(503, false), (429, true)] {
        // A date has whole seconds: 2 ahead is more than 1.
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
        let after = if by_date { date.as_str() } else { "1" };
        let stub = HttpStub::start([status(code, &[("retry-after", after)], b"")]);
        let exporter = spawn(settings(&stub));
        let start = Instant::now();
        offer_and_settle(&exporter, 101, 5);
        assert!(
            start.elapsed() >= Duration::from_millis(900),
            "{:?}",
            start.elapsed()
        );
        let received = stub.received();
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].message, received[1].message);
        let stats = exporter.stats();
        assert_eq!(
            (stats.exports_ok, stats.exports_failed, stats.retries),
            (1, 0, 1)
        );
    }
}

#[test]
fn a_wait_beyond_the_timeout_fails_at_once() {
    let stub = HttpStub::start([status(503, &[("retry-after", "18446744073709551615")], b"")]);
    let exporter = spawn(settings(&stub));
    let start = Instant::now();
    offer_and_settle(&exporter, 101, 5);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(exporter.stats().exports_failed, 1);
}

#[test]
fn refused_data_is_not_retried_and_the_reason_is_shown() {
    let stub = HttpStub::start([
        status(400, &[], b"out of\r\norder"),
        // A google.rpc.Status: code 3, message "bad start".
        status(400, &[], b"\x08\x03\x12\x09bad start"),
        status(500, &[], b"native histograms are disabled"),
        status(404, &[], b""),
        status(307, &[("location", "http://elsewhere/")], b""),
    ]);
    let exporter = spawn(settings(&stub));
    let mut errors = Vec::new();
    for end in 101..106 {
        offer_and_settle(&exporter, end, 5);
        errors.push(exporter.stats().last_error.unwrap());
    }
    assert!(
        errors[0].ends_with("400 Bad Request: out of order"),
        "{errors:?}"
    );
    assert!(errors[1].ends_with(": bad start"), "{errors:?}");
    assert!(
        errors[2].contains("explicit_bucket_histogram"),
        "{errors:?}"
    );
    assert!(errors[3].contains("v1/metrics is added"), "{errors:?}");
    assert!(errors[4].contains("http://elsewhere/"), "{errors:?}");
    assert_eq!(stub.received().len(), 5);
    let stats = exporter.stats();
    assert_eq!((stats.exports_failed, stats.retries), (5, 0));
    // How long collecting took, what was still to be done, and exports that ended with 400.
    assert_eq!(stats.points_failed["500"], 5 + 2 + 2, "{stats:?}");
    // The next success brings what the failures did not, and says how many points failed.
    offer_and_settle(&exporter, 106, 5);
    assert_eq!(count_of(stub.received().last().unwrap()), 30);
    assert_eq!(exporter.stats().last_error, None);
}

/// What the export says of itself, in the next export: how many windows waited, how many exports failed and why.
#[test]
fn the_export_tells_what_it_still_had_to_do() {
    let stub = HttpStub::start([Answer::ok(), status(400, &[], b""), status(400, &[], b"")]);
    let exporter = spawn(settings(&stub));
    for end in 101..106 {
        offer_and_settle(&exporter, end, 5);
    }
    let received = stub.received();
    let of = |name: &str| {
        let said = received.iter().map(|received| {
            let points = number_points(received.metrics(), name).iter();
            points.map(|point| number(point) as u64).sum::<u64>()
        });
        said.collect::<Vec<_>>()
    };
    assert_eq!(of("kctx.export.queue.size"), [1, 1, 2, 3, 1]);
    assert_eq!(of("otel.sdk.exporter.metric_data_point.inflight"), [0; 5]);
    assert_eq!(of("kctx.export.dropped"), [0; 5], "the next one had them");
    let failed = exponential_points(
        received[4].metrics(),
        "otel.sdk.exporter.operation.duration",
    );
    let failed: Vec<_> = failed
        .iter()
        .map(|point| (labels(&point.attributes), point.count))
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed[1].0.ends_with("error.type=400") && failed[1].1 == 2,
        "{failed:?}"
    );
    for metric in received.iter().flat_map(Received::metrics) {
        for point in number_points(std::slice::from_ref(metric), &metric.name) {
            assert!(
                point.start_time_unix_nano < point.time_unix_nano,
                "{}",
                metric.name
            );
        }
    }
}

#[test]
fn partial_success_is_counted_and_never_retried() {
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "too old".to_owned(),
        }),
    };
    let stub = HttpStub::start([status(200, &[], &partial.encode_to_vec())]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 5);
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.exports_ok,
            stats.points_rejected,
            stats.points_exported
        ),
        (1, 3, 3)
    );
    assert_eq!(stub.received().len(), 1);
}

#[test]
fn garbage_answers_do_no_harm() {
    let stub = HttpStub::start([
        status(200, &[], b"<html>please log in</html>"),
        status(200, &[], &vec![0; 5 << 20]),
    ]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 5);
    assert_eq!(exporter.stats().exports_ok, 1);
    offer_and_settle(&exporter, 102, 5);
    let stats = exporter.stats();
    assert_eq!((stats.exports_failed, stats.retries), (1, 0));
    assert!(
        stats.points_failed.contains_key("response_too_large"),
        "{stats:?}"
    );
    offer_and_settle(&exporter, 103, 5);
    assert_eq!(exporter.stats().exports_ok, 2);
}

#[test]
fn an_endpoint_that_speaks_something_else_is_not_retried() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1 << 16]);
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    let endpoint = format!("http://{address}/v1/metrics").parse().unwrap();
    let exporter = spawn(OtlpSettings::new(Transport::new(
        endpoint,
        Protocol::HttpProtobuf,
    )));
    offer_and_settle(&exporter, 101, 5);
    let stats = exporter.stats();
    assert!(stats.points_failed.contains_key("protocol"), "{stats:?}");
    assert_eq!(stats.retries, 0);
}

#[test]
fn a_refused_connection_is_retried_until_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let endpoint = format!("http://{address}/").parse().unwrap();
        let mut settings = OtlpSettings::new(Transport::new(endpoint, protocol));
        settings.transport.timeout = Some(Duration::from_secs(2));
        let exporter = spawn(settings);
        let start = Instant::now();
        offer_and_settle(&exporter, 101, 5);
        // The machine may be busy with other things; without the timeout it would go on for a minute.
        assert!(start.elapsed() < Duration::from_secs(10));
        let stats = exporter.stats();
        assert!(stats.points_failed.contains_key("connect"), "{stats:?}");
        assert!(stats.last_error.unwrap().contains("refused"));
        assert!(stats.retries >= 1);
    }
}

#[test]
fn large_collections_come_in_parts_that_shrink_when_refused() {
    let stub = HttpStub::start([status(413, &[], b"")]);
    let exporter = spawn(settings(&stub));
    let mut wide = window(101);
    wide.softirq = (0..1900)
        .map(|cpu| {
            softirq(
                "TIMER",
                cpu,
                &[100, 7_000, 90_000, 1_000_000, 3_000_000_000],
            )
        })
        .collect();
    let wide = Arc::new(wide);
    exporter.offer(Arc::clone(&wide));
    assert!(exporter.settle(LONG));
    let parts = stub.received().len();
    let size = |received: &Received| received.message.encoded_len();
    assert!(parts >= 1);
    exporter.offer(wide);
    assert!(exporter.settle(LONG));
    let later = &stub.received()[parts..];
    assert!(later.len() > 1);
    assert!(later.iter().all(|received| size(received) <= 3 << 19));
    let times: std::collections::BTreeSet<u64> = later
        .iter()
        .flat_map(|r| exponential_points(r.metrics(), "kctx.softirq.duration"))
        .map(|point| point.time_unix_nano)
        .collect();
    assert_eq!(times.len(), 1, "one time for all parts");
}

#[path = "exporter_protocol_tests.rs"]
mod protocol;

#[path = "delta_wire_tests.rs"]
mod delta;

#[path = "governor_wire_tests.rs"]
mod governor;

#[path = "exporter_shutdown_tests.rs"]
mod shutdown;
