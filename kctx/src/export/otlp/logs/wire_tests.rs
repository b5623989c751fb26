//! Logs on the wire, when all goes well and when it does not.

use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use super::*;
use crate::aggregate::window::{LogRow, ModuleEvent, ModuleRow, TaintRow};
use crate::export::event::Level;
use crate::export::otlp::settings::{Compression, Protocol};
use crate::export::otlp::stubs::{Answer, GrpcStub, HttpStub};
use crate::export::otlp::transport::Transport;
use crate::export::testing::{LIMITS, SECOND, labels, window};

const LONG: Duration = Duration::from_secs(20);

type Stub = HttpStub<ExportLogsServiceRequest>;

fn settings(stub: &Stub) -> LogSettings {
    let endpoint = format!("http://{}/v1/logs", stub.address).parse().unwrap();
    LogSettings::new(Transport::new(endpoint, Protocol::HttpProtobuf))
}

/// An exporter that sends each window as it comes.
fn spawn(mut settings: LogSettings) -> LogExporter {
    settings.interval = Duration::ZERO;
    let mut resource = Resource::default();
    resource.set("service.name", "kctx");
    LogExporter::spawn(settings, &resource, Arc::new(Totals::new(LIMITS))).unwrap()
}

/// A window with so many warnings in the kernel's log.
fn logged(end: u64, lines: u64) -> Window {
    let mut next = window(end);
    let row = |n| LogRow {
        seq: end * 1000 + n,
        level: 4,
        time_unix_ns: (end - 1) * SECOND + n,
        text: format!("line {end}.{n}"),
        fragment: false,
    };
    next.log.lines = (0..lines).map(row).collect();
    next.log.by_level[4] = lines;
    next
}

fn offer_and_settle(exporter: &LogExporter, end: u64, lines: u64) {
    exporter.offer(&logged(end, lines));
    assert!(exporter.settle(LONG), "not settled: {:?}", exporter.stats());
}

fn status(code: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Answer::Status(code, headers.collect(), body.to_vec())
}

fn busy(seconds: &str) -> Answer {
    status(503, &[("retry-after", seconds)], b"")
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Bodies of each request.
fn bodies(stub: &Stub) -> Vec<Vec<String>> {
    let received = stub.received();
    let of = |records: &[LogRecord]| records.iter().map(|r| body(r).to_owned()).collect();
    received
        .iter()
        .map(|request| of(request.records()))
        .collect()
}

/// A window in which a module came, tainted the kernel and complained.
fn eventful() -> Window {
    let start = 100 * SECOND;
    let mut next = logged(101, 1);
    next.log.lines[0].time_unix_ns = start + 30;
    next.module = vec![ModuleRow {
        event: ModuleEvent::Load,
        name: "evil".to_owned(),
        time_unix_ns: start + 10,
        taints: "O".to_owned(),
        pid: 71,
        comm: "insmod".to_owned(),
        cpu: 1,
        init_ns: None,
        ret: None,
        requested_by: None,
    }];
    next.taint = vec![TaintRow {
        time_unix_ns: start + 20,
        before: 0,
        after: 1 << 12,
        added: "O".to_owned(),
    }];
    next
}

/// What must arrive of it: `time event severity body {attributes}`.
const EVENTFUL: [&str; 3] = [
    "100000000010 kctx.module.loaded 9 INFO module evil was loaded {kctx.module.name=evil,kctx.module.taints=O,\
     process.pid=71,thread.name=insmod,cpu.logical_number=1}",
    "100000000020 kctx.kernel.taint.changed 13 WARN the kernel is tainted: oot_module (O): A module built outside of \
     the kernel tree was loaded. {kctx.kernel.taint.flag=oot_module,kctx.kernel.taint.before=0,\
     kctx.kernel.taint.after=4096}",
    "100000000030 kctx.kernel.log 13 warning line 101.0 {kctx.kernel.log.level=warning,\
     kctx.kernel.log.sequence=101000}",
];

fn described(records: &[LogRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            assert_eq!(record.observed_time_unix_nano, 101 * SECOND);
            format!(
                "{} {} {} {} {} {{{}}}",
                record.time_unix_nano,
                record.event_name,
                record.severity_number,
                record.severity_text,
                body(record),
                labels(&record.attributes)
            )
        })
        .collect()
}

#[test]
fn what_happened_arrives_whole_by_http() {
    let stub = HttpStub::start_logs([]);
    let mut settings = settings(&stub);
    settings.transport.headers = vec![("x-scope".parse().unwrap(), "secret".parse().unwrap())];
    let exporter = spawn(settings);
    exporter.offer(&eventful());
    assert!(exporter.settle(LONG));
    let received = stub.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].path, "/v1/logs");
    let header = |name: &str| received[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-protobuf");
    assert_eq!(header("content-encoding"), "gzip");
    assert_eq!(header("x-scope"), "secret");
    assert!(header("user-agent").starts_with("kctx/"));
    assert_eq!(described(received[0].records()), EVENTFUL);
    let of_resource = &received[0].message.resource_logs[0];
    assert_eq!(
        labels(&of_resource.resource.as_ref().unwrap().attributes),
        "service.name=kctx"
    );
    assert_eq!(
        of_resource.scope_logs[0].scope.as_ref().unwrap().name,
        "kctx"
    );
    let stats = exporter.stats();
    assert_eq!((stats.exports_ok, stats.points_exported), (1, 3));
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    assert_eq!(stub.received().len(), 1, "nothing new, nothing sent");
}

#[test]
fn what_happened_arrives_whole_by_grpc() {
    let stub = GrpcStub::start_logs([]);
    let endpoint = format!("http://{}/", stub.address).parse().unwrap();
    let mut transport = Transport::new(endpoint, Protocol::Grpc);
    transport.headers = vec![("x-scope".parse().unwrap(), "secret".parse().unwrap())];
    let exporter = spawn(LogSettings::new(transport));
    exporter.offer(&eventful());
    assert!(exporter.settle(LONG));
    let (metadata, message) = stub.received().remove(0);
    let text = |name: &str| metadata.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(text("x-scope"), "secret");
    assert!(text("user-agent").starts_with("kctx/"));
    assert_eq!(text("grpc-timeout"), "10000000u");
    assert_eq!(text("grpc-encoding"), "gzip");
    let records = &message.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(described(records), EVENTFUL);
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
}

#[test]
fn windows_in_which_nothing_happened_send_nothing() {
    let stub = HttpStub::start_logs([]);
    let mut settings = settings(&stub);
    settings.bounds.level = Level::NONE;
    settings.transport.compression = Compression::None;
    let exporter = spawn(settings);
    offer_and_settle(&exporter, 101, 0);
    offer_and_settle(&exporter, 102, 7);
    assert!(stub.received().is_empty());
    exporter.offer(&eventful());
    assert!(exporter.settle(LONG));
    assert_eq!(stub.received()[0].records().len(), 2);
    assert!(!stub.received()[0].headers.contains_key("content-encoding"));
}

#[test]
fn unavailable_is_retried_no_sooner_than_asked_with_the_same_request() {
    for answer in [busy("1"), status(429, &[("retry-after", "1")], b"")] {
        let stub = HttpStub::start_logs([answer]);
        let exporter = spawn(settings(&stub));
        let start = Instant::now();
        offer_and_settle(&exporter, 101, 2);
        assert!(start.elapsed() >= Duration::from_millis(900));
        let received = stub.received();
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].message, received[1].message);
        let stats = exporter.stats();
        assert_eq!((stats.exports_ok, stats.retries), (1, 1));
    }
}

#[test]
fn what_an_export_could_not_bring_goes_with_a_later_one() {
    // The endpoint asks for more time than the export has, and the next export waits for it.
    let stub = HttpStub::start_logs([busy("2")]);
    let mut settings = settings(&stub);
    settings.transport.timeout = Some(Duration::from_secs(1));
    let exporter = spawn(settings);
    let start = Instant::now();
    offer_and_settle(&exporter, 101, 2);
    assert_eq!(exporter.stats().exports_failed, 1);
    assert_eq!(exporter.stats().points_failed, BTreeMap::new());
    offer_and_settle(&exporter, 102, 1);
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        bodies(&stub),
        [
            vec!["line 101.0", "line 101.1"],
            vec!["line 101.0", "line 101.1", "line 102.0"]
        ]
    );
    let stats = exporter.stats();
    assert_eq!((stats.exports_ok, stats.points_exported), (1, 3));
    assert_eq!(exporter.dropped(), BTreeMap::new());
}

#[test]
fn refused_records_are_not_sent_again() {
    let stub = HttpStub::start_logs([status(400, &[], b"no such field")]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 2);
    let stats = exporter.stats();
    assert!(stats.last_error.unwrap().ends_with("no such field"));
    assert_eq!(stats.points_failed, [("400".to_owned(), 2)].into());
    offer_and_settle(&exporter, 102, 1);
    assert_eq!(bodies(&stub)[1], ["line 102.0"]);
}

#[test]
fn partial_success_is_counted_and_never_retried() {
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 2,
            error_message: "too old".to_owned(),
        }),
    };
    let stub = HttpStub::start_logs([status(200, &[], &partial.encode_to_vec())]);
    let exporter = spawn(settings(&stub));
    offer_and_settle(&exporter, 101, 3);
    let stats = exporter.stats();
    assert_eq!((stats.points_rejected, stats.points_exported), (2, 1));
    assert_eq!(exporter.shutdown(LONG), ShutdownOutcome::Flushed);
    assert_eq!(stub.received().len(), 1);
}

#[test]
fn grpc_statuses() {
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};
    let retry_info = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
    let slow_down = Status::with_error_details(Code::ResourceExhausted, "slow down", retry_info);
    let stub = GrpcStub::start_logs([
        Err(Status::unavailable("try later")),
        Ok(2),
        Err(slow_down),
        Ok(0),
        Err(Status::unauthenticated("who?")),
    ]);
    let endpoint = format!("http://{}/", stub.address).parse().unwrap();
    let exporter = spawn(LogSettings::new(Transport::new(endpoint, Protocol::Grpc)));
    offer_and_settle(&exporter, 101, 5);
    let stats = exporter.stats();
    assert_eq!(
        (stats.exports_ok, stats.retries, stats.points_rejected),
        (1, 1, 2)
    );
    let start = Instant::now();
    offer_and_settle(&exporter, 102, 5);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(exporter.stats().retries, 2);
    offer_and_settle(&exporter, 103, 5);
    let failed = exporter.stats().points_failed;
    assert_eq!(failed, [("UNAUTHENTICATED".to_owned(), 5)].into());
}

#[test]
fn many_records_come_in_several_requests() {
    let stub = HttpStub::start_logs([]);
    let mut by_count = settings(&stub);
    by_count.batch = 4;
    let exporter = spawn(by_count);
    offer_and_settle(&exporter, 101, 10);
    let sizes: Vec<_> = bodies(&stub).iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 2]);

    let stub = HttpStub::start_logs([]);
    let mut by_size = settings(&stub);
    by_size.transport.max_request_bytes = 64 << 10;
    let exporter = spawn(by_size);
    let mut long = logged(101, 200);
    for line in &mut long.log.lines {
        line.text = "x".repeat(1000);
    }
    exporter.offer(&long);
    assert!(exporter.settle(LONG));
    let received = stub.received();
    assert!(received.len() > 2);
    let is_small = |bytes: usize| bytes <= 64 << 10;
    assert!(
        received
            .iter()
            .all(|part| is_small(part.message.encoded_len()))
    );
    assert_eq!(
        received
            .iter()
            .map(|part| part.records().len())
            .sum::<usize>(),
        200
    );
}

#[path = "wire_trouble_tests.rs"]
mod trouble;
