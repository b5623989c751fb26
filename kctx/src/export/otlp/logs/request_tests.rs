use proptest::prelude::*;

use super::*;
use crate::export::attributes::Attributes;
use crate::export::event::{KERNEL_LOG, Severity};
use crate::export::otlp::request::proto_resource;
use crate::export::resource::Resource;

fn resource() -> ProtoResource {
    let mut resource = Resource::default();
    resource.set("service.name", "kctx");
    proto_resource(&resource)
}

fn record(seq: u64, body: &str) -> Record {
    Record {
        time_unix_ns: seq,
        observed_unix_ns: seq + 5,
        severity: Severity::of_level(3),
        event: &KERNEL_LOG,
        body: body.to_owned(),
        attributes: Attributes::new().with("kctx.kernel.log.level", "err"),
    }
}

#[test]
fn a_record_is_as_the_protocol_has_it() {
    let message = log_record(&record(7, "oops"));
    assert_eq!(
        (message.time_unix_nano, message.observed_time_unix_nano),
        (7, 12)
    );
    assert_eq!(
        (message.severity_number, message.severity_text.as_str()),
        (17, "err")
    );
    assert_eq!(message.event_name, "kctx.kernel.log");
    let body = any_value::Value::StringValue("oops".to_owned());
    assert_eq!(message.body.unwrap().value, Some(body));
    assert_eq!(message.attributes[0].key, "kctx.kernel.log.level");
    assert!(message.trace_id.is_empty() && message.flags == 0);
}

#[test]
fn a_request_says_whose_records_they_are() {
    let message = request(&resource(), vec![log_record(&record(1, "a"))]);
    let of_resource = &message.resource_logs[0];
    assert_eq!(of_resource.resource, Some(resource()));
    let of_scope = &of_resource.scope_logs[0];
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "kctx");
    assert!(
        of_scope
            .schema_url
            .starts_with("https://opentelemetry.io/schemas/")
    );
    assert_eq!(of_scope.log_records.len(), 1);
}

#[test]
fn a_record_that_is_too_large_goes_alone() {
    let large = "x".repeat(3000);
    let records = ["a", &large, "b"].map(|body| log_record(&record(1, body)));
    let batches = batches(records.into(), &resource(), 512, 2000);
    let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1]);
}

proptest! {
    #[test]
    fn batches_keep_both_bounds_and_every_record_in_order(
        sizes in prop::collection::vec(0_usize..900, 0..60),
        most in 1_usize..20,
        max_bytes in 1_500_usize..20_000,
    ) {
        let records: VecDeque<_> = (0..)
            .zip(&sizes)
            .map(|(seq, size)| log_record(&record(seq, &"x".repeat(*size))))
            .collect();
        let batches = batches(records.clone(), &resource(), most, max_bytes);
        for (at, batch) in batches.iter().enumerate() {
            prop_assert!((1..=most).contains(&batch.len()));
            let size = request(&resource(), batch.clone()).encoded_len();
            prop_assert!(size <= max_bytes, "{size} > {max_bytes}");
            // Packed: what begins the next one had no place here.
            if let Some(next) = batches.get(at + 1) {
                let mut both = batch.clone();
                both.push(next[0].clone());
                let together = request(&resource(), both).encoded_len();
                prop_assert!(batch.len() == most || together + (batch.len() + 6) * NESTING > max_bytes);
            }
        }
        let seen: VecDeque<_> = batches.into_iter().flatten().collect();
        prop_assert_eq!(seen, records);
    }
}
