use super::*;
use crate::report::fixture;
use proptest::prelude::*;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../../docs/summary.schema.json");

fn validate(value: &Value) -> Result<(), String> {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("\n"))
    }
}

fn summary() -> Summary {
    Summary::from_window(&fixture::window(), fixture::host(), Some(4097))
}

#[test]
fn summaries_match_the_schema_and_are_read_back() {
    let empty = Summary::from_window(
        &crate::aggregate::window::Window::default(),
        HostIdentity::default(),
        None,
    );
    for summary in [summary(), empty] {
        let value = serde_json::to_value(&summary).unwrap();
        validate(&value).unwrap();
        assert_eq!(serde_json::from_value::<Summary>(value).unwrap(), summary);
    }
}

/// Every object's every field is demanded by the schema, and no other is known to it: what is
/// renamed in the code alone, or taken out of it, breaks this.
#[test]
fn the_schema_knows_every_field_and_demands_it() {
    fn walk(value: &Value, path: &str, paths: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, child) in map {
                    let path = format!("{path}/{key}");
                    paths.push(path.clone());
                    walk(child, &path, paths);
                }
            }
            Value::Array(items) => {
                for (index, child) in items.iter().enumerate() {
                    walk(child, &format!("{path}/{index}"), paths);
                }
            }
            _ => {}
        }
    }
    let mut part = summary();
    part.narrowed = Some(Narrowed {
        cpus: Some(vec![1]),
        vectors: Some(vec!["NET_RX".to_owned()]),
        span: Some(SpanSummary {
            from_ns: 1,
            to_ns: 2,
        }),
        contexts: ContextsFrom::Records,
        spilled_left_out: 3,
        stacks_left_out: 4,
        log_lines_left_out: 5,
    });
    part.damaged = Some(Damaged {
        summary_is_whole: false,
        records: 6,
        not_whole: vec!["events/000002.seg is not what was written".to_owned()],
    });
    let value = serde_json::to_value(part).unwrap();
    validate(&value).unwrap();
    let mut paths = Vec::new();
    walk(&value, "", &mut paths);
    // Keys that are data (reasons), and those that a probe has only one of.
    let free = [
        "/lost/",
        "/partial/",
        "/mechanism",
        "/probes/1/reason",
        "/probes/2/reason",
        "/init_ns",
        "/ret",
        "/requested_by",
        "/overwritten",
        "/fragment",
        "/failed",
    ];
    paths.retain(|path| !free.iter().any(|free| path.contains(free)));
    // Of an earlier version there is none.
    paths.retain(|path| path != "/narrowed" && path != "/damaged");
    paths.retain(|path| path != "/own_cost" && !path.starts_with("/own_cost/rings"));
    assert!(paths.len() > 150, "{}", paths.len());
    for path in paths {
        let mut without = value.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = without.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(key).unwrap();
        assert!(validate(&without).is_err(), "{path} may be left out");
    }
}

#[test]
fn a_later_field_is_allowed_and_ignored() {
    let mut value = serde_json::to_value(summary()).unwrap();
    value["livepatch"] = Value::Array(Vec::new());
    value["cpu"][0]["guest_ns"] = 5.into();
    validate(&value).unwrap();
    assert_eq!(serde_json::from_value::<Summary>(value).unwrap(), summary());
}

#[test]
fn rows_stand_in_an_order_that_only_their_content_decides() {
    let summary = summary();
    let softirq: Vec<_> = summary
        .softirq
        .iter()
        .map(|row| (row.vector.as_str(), row.cpu))
        .collect();
    assert_eq!(softirq, [("NET_RX", 0), ("NET_RX", 1), ("RCU", 0)]);
    let hardirq: Vec<_> = summary.hardirq.iter().map(|row| row.irq).collect();
    assert_eq!(hardirq, [Some(4), Some(36), None, None]);
    let work: Vec<_> = summary
        .workqueue
        .iter()
        .map(|row| row.function.as_str())
        .collect();
    assert_eq!(work, ["flush_to_ldisc", "wb_workfn"]);
    let mut turned = fixture::window();
    turned.softirq.reverse();
    turned.hardirq.reverse();
    turned.workqueue.reverse();
    turned.softirq_origin.reverse();
    turned.napi.reverse();
    turned.kthread.reverse();
    turned.cpu.reverse();
    assert_eq!(
        Summary::from_window(&turned, fixture::host(), Some(4097)),
        summary
    );
}

#[test]
fn an_interrupt_that_raised_has_its_actions_name() {
    let summary = summary();
    let raised: Vec<_> = (summary.softirq_origin.iter())
        .map(|row| (row.origin.name.as_str(), row.origin.number, row.count))
        .collect();
    assert_eq!(
        raised,
        [
            ("virtio1\x1b[2J", Some(36), 280),
            ("CAL", Some(2), 80),
            ("NET_RX", Some(3), 30),
            ("iperf3", Some(4711), 10),
        ]
    );
    assert_eq!(
        summary.workqueue[0].queued_by[1].origin.name,
        "virtio1\x1b[2J"
    );
}

#[test]
fn cpu_time_is_disjoint_and_has_a_row_for_each_cpu_online() {
    let cpu = summary().cpu;
    assert_eq!(cpu.iter().map(|row| row.cpu).collect::<Vec<_>>(), [0, 1, 2]);
    // Net of the interrupts, which have a column of their own.
    assert_eq!(cpu[0].softirq_ns, 50_000_000 + 10_000);
    assert_eq!(cpu[0].hardirq_ns, 2_500_000);
    assert_eq!(cpu[1].softirq_ns, 400_000_000);
    let whole = |cpu: &ContextTimes| {
        let threads = [cpu.ksoftirqd_ns, cpu.kthread_ns, cpu.rest_ns];
        cpu.hardirq_ns + cpu.softirq_ns + threads.into_iter().flatten().sum::<u64>()
    };
    assert_eq!(
        (whole(&cpu[0]), whole(&cpu[1])),
        (1_000_000_000, 1_000_000_000)
    );
    assert_eq!((cpu[2].hardirq_ns, cpu[2].ksoftirqd_ns), (0, None));
}

#[test]
fn accounting_is_summed_over_the_families() {
    let accounting = summary().accounting;
    let total = &accounting.total;
    assert_eq!(
        (total.observed, total.streamed, total.spilled),
        (467, 454, 10)
    );
    assert_eq!((total.governed, total.lost["no_spill_row"]), (6, 3));
    assert_eq!(
        accounting.by_family[&Family::Workqueue].partial["cancelled"],
        5
    );
    assert_eq!(accounting.by_family.len(), Family::ALL.len());
    let value = serde_json::to_value(&accounting).unwrap();
    assert_eq!(value["observed"], 467, "in all, at the top");
    assert_eq!(value["by_family"]["softirq"]["spilled"], 10);
}

#[test]
fn taint_is_decoded_newer_flags_too() {
    let taint = TaintSummary::new(Some(1 << 12 | 1 << 40), Vec::new());
    let letters: String = taint.flags.iter().map(|flag| flag.letter).collect();
    assert_eq!(letters, "O?");
    assert_eq!(TaintSummary::new(None, Vec::new()).value, None);
}

proptest! {
    #[test]
    fn a_duration_object_says_what_was_recorded(values in prop::collection::vec(1u64..1 << 40, 0..50)) {
        let durations: Durations = values.iter().copied().collect();
        let object = DurationSummary::from(&durations);
        let sum: u64 = values.iter().sum();
        prop_assert_eq!(object.count, values.len() as u64);
        prop_assert_eq!(object.sum_ns, sum);
        prop_assert_eq!(object.mean_ns, sum.checked_div(object.count).unwrap_or(0));
        prop_assert_eq!(object.max_ns, values.iter().max().copied().unwrap_or(0));
        let quantiles = [object.p50_ns, object.p90_ns, object.p99_ns, object.p999_ns, object.max_ns];
        prop_assert!(quantiles.is_sorted());
        let mut sorted = values.clone();
        sorted.sort_unstable();
        for (quantile, got) in [(0.5, object.p50_ns), (0.9, object.p90_ns), (0.99, object.p99_ns)] {
            // The value that many of all are at or below, within one part in 128.
            if let Some(rank) = ((values.len() as f64 * quantile).ceil() as usize).checked_sub(1) {
                let exact = sorted[rank];
                prop_assert!(got.abs_diff(exact) <= exact / 128 + 1, "{quantile}: {got} {exact}");
            }
        }
    }
}
