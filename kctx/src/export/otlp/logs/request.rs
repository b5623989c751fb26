//! Records as the protocol has them, and as requests of a bounded size.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;

use crate::export::event::Record;
use crate::export::otlp::points::key_values;
use crate::export::otlp::request::{NESTING, SCHEMA_URL, scope};

/// A record as the protocol has it.
pub(super) fn log_record(record: &Record) -> LogRecord {
    LogRecord {
        time_unix_nano: record.time_unix_ns,
        observed_time_unix_nano: record.observed_unix_ns,
        severity_number: i32::from(record.severity.number),
        severity_text: record.severity.text.to_owned(),
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(record.body.clone())),
        }),
        attributes: key_values(&record.attributes),
        event_name: record.event.name.to_owned(),
        ..LogRecord::default()
    }
}

/// A whole request.
pub(super) fn request(
    resource: &ProtoResource,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource.clone()),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }],
    }
}

/// Records in their order, cut into what goes with one request each: at most so many, and no more bytes than that with what
/// is around them. A single record that is larger gets one of its own.
pub(super) fn batches(
    records: VecDeque<LogRecord>,
    resource: &ProtoResource,
    most: usize,
    max_bytes: usize,
) -> Vec<Vec<LogRecord>> {
    let envelope = request(resource, Vec::new()).encoded_len() + 3 * NESTING;
    let mut batches = Vec::new();
    let mut current = Vec::new();
    let mut bytes = envelope;
    for record in records {
        let size = record.encoded_len() + NESTING;
        let is_full = current.len() >= most || bytes + size > max_bytes;
        if is_full && !current.is_empty() {
            batches.push(std::mem::take(&mut current));
            bytes = envelope;
        }
        bytes += size;
        current.push(record);
    }
    if !current.is_empty() {
        batches.push(current);
    }
    batches
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
