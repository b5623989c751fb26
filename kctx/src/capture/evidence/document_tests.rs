//! docs/bundle.md lists what is taken.

use super::{ITEMS, Item, Taken};
use crate::{
    capture::{
        flight::{EndReason, Ending, InTransit},
        trigger::Fired,
    },
    export::testing::check_made_part,
};

fn row(item: &Item) -> String {
    let folder = if item.path.ends_with('/') {
        "*.json"
    } else {
        ""
    };
    let sides = match (item.taken, item.is_at_edge()) {
        (Taken::Once, _) => "before",
        (Taken::Twice, false) => "both",
        (Taken::Twice, true) => "both, at the edge",
    };
    let privileged = if item.is_privileged() {
        ", with privileges"
    } else {
        ""
    };
    let from = match item.read_from() {
        from if from.trim_start_matches('/') == item.path => "itself".to_owned(),
        from => from.replace('*', "\\*"),
    };
    format!(
        "| {} | `{}{folder}` | {from} | {sides}{privileged} | {} KiB | {} |",
        item.rank,
        item.path,
        item.max_bytes >> 10,
        item.leaks
    )
}

#[test]
fn the_document_lists_what_is_taken() {
    let mut made =
        "| rank | path | from | taken | at most | may reveal |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for item in ITEMS {
        made.push_str(&row(item));
        made.push('\n');
    }
    let list = "kctx/src/capture/evidence";
    check_made_part("docs/bundle.md", list, &made, "evidence::document");
}

#[test]
fn the_document_names_each_field_of_the_manifest() {
    let document = include_str!("../../../../docs/bundle.md");
    let host = crate::host::HostIdentity::default();
    let mut manifest = crate::capture::bundle::Manifest::new(host, Default::default());
    manifest.redactions.insert("ip".to_owned(), 1);
    let transit = InTransit {
        streamed: 0,
        spilled: 0,
    };
    manifest.through_daemon = Some(Ending {
        reason: EndReason::Asked,
        before_ns: 0,
        duration_ns: 0,
        memory_full: false,
        in_transit_before: transit,
        in_transit_after: transit,
    });
    manifest.trigger = Some(Fired {
        rule: String::new(),
        condition: String::new(),
        saw: String::new(),
        time_unix_ns: 0,
        held_back: 0,
    });
    let value = serde_json::to_value(&manifest).unwrap();
    let (daemon, trigger) = (&value["through_daemon"], &value["trigger"]);
    let transit = &daemon["in_transit_before"];
    for part in [
        &value,
        &value["host"],
        &value["window"],
        daemon,
        trigger,
        transit,
    ] {
        for field in part.as_object().unwrap().keys() {
            assert!(document.contains(&format!("`{field}`")), "{field}");
        }
    }
}
