use bytes::BytesMut;
use kctx_common::record::{Work, kind};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::*;
use crate::{
    aggregate::happened::{LogRow, LogRows},
    capture::{bundle::WriteLimits, events::Encoder, redact::Redactor, trigger::Fired},
    decode,
    host::HostIdentity,
    source::{Control, recorded::RecordedSource},
};

const ADDRESS: u64 = 0xffff_ffff_c0a5_c010;

/// A dump's one segment: a work whose function has no name, and a line of the log.
fn segment() -> Bytes {
    let mut encoder = Encoder::default();
    encoder.control(&Control::Start {
        monotonic_ns: 10,
        unix_ns: 1000,
        probes: Vec::new(),
        host: Box::new(HostIdentity::default()),
    });
    encoder.control(&Control::Log(Box::new(LogRows {
        lines: vec![LogRow {
            seq: 1,
            level: 4,
            time_unix_ns: 1001,
            text: format!("at {ADDRESS:x}"),
            fragment: false,
        }],
        by_level: [0, 0, 0, 0, 1, 0, 0, 0],
        ..LogRows::default()
    })));
    let work = Work {
        kind: kind::WORK,
        end_ns: 15,
        service_ns: 3,
        function: ADDRESS,
        ..Work::new_zeroed()
    };
    let mut batch = BytesMut::new();
    decode::append(&mut batch, work.as_bytes());
    encoder.records(0, &batch.freeze());
    encoder.control(&Control::WindowEnd {
        monotonic_ns: 20,
        unix_ns: 1010,
        taint: None,
    });
    Bytes::from(encoder.finish())
}

/// The bundle that becomes of it: its text, all of it, and its summary, and what a replay of it sees.
fn assembled(redactor: Option<Redactor>) -> (String, Summary, Window) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kctx.tar.zst");
    let mut recorder = Recorder::create(&path, WriteLimits::default()).unwrap();
    if let Some(redactor) = redactor {
        recorder = recorder.redacting(redactor);
    }
    recorder.manifest_mut().trigger = Some(Fired {
        rule: "stuck".to_owned(),
        condition: "a work runs for longer than 1 s".to_owned(),
        saw: format!("{ADDRESS:#x} for 2 s; password=\"hunter2 swordfish\""),
        time_unix_ns: 1010,
        held_back: 0,
    });
    let mut assembly = Assembly::new(recorder, RowLimits::default());
    assembly.segment(&segment()).unwrap();
    assert_eq!(assembly.records(), 1);
    assembly.finish(None, false, |_, _| ()).unwrap();
    let mut source = RecordedSource::open(&path).unwrap();
    let mut pipeline = Pipeline::new(RowLimits::default(), Resolver::new(Box::new(Recorded)));
    let mut window = None;
    while let Some(item) = source.next_item().unwrap() {
        window = pipeline.take(&item).or(window);
    }
    let summary = serde_json::from_slice(source.summary().unwrap()).unwrap();
    let packed = std::fs::File::open(&path).unwrap();
    let text = zstd::decode_all(packed).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    (text, summary, window.unwrap())
}

#[test]
fn a_redacted_dump_tells_the_same_without_its_addresses() {
    let (_, as_it_was, window) = assembled(None);
    assert_eq!(as_it_was.workqueue[0].function, format!("{ADDRESS:#x}"));
    assert_eq!(&*window.workqueue[0].function, format!("{ADDRESS:#x}"));

    let (text, summary, window) = assembled(Some(Redactor::default()));
    assert_eq!(summary.workqueue[0].function, "0x1");
    assert_eq!(&*window.workqueue[0].function, "0x1");
    assert_eq!(summary.workqueue[0].count, as_it_was.workqueue[0].count);
    for gone in ["ffffffffc0a5c010", "hunter2", "swordfish"] {
        assert!(!text.contains(gone), "{gone}");
    }
    assert!(
        !text
            .as_bytes()
            .windows(8)
            .any(|at| at == ADDRESS.to_le_bytes())
    );
    assert!(text.contains("at ptr-1"), "in the log");
    assert!(
        text.contains("ptr-1 for 2 s; password=redacted"),
        "in the manifest"
    );
}
