//! The example in docs/bundle.md: what it says of each byte is what the encoder writes.

use bytes::{Bytes, BytesMut};
use kctx_common::record::{Hardirq, SoftirqLong, context, flags, kind, origin, place};
use zerocopy::IntoBytes as _;

use super::{Decoder, Encoder, VERSION};
use crate::{
    decode,
    export::testing::check_made_part,
    source::{Control, Item},
};

/// Bytes in hex, and what they are.
const EXAMPLE: &[(&str, &str)] = &[
    ("4b 43 54 58 45 56 54 03", "`KCTXEVT`, version 3"),
    ("00 1f", "a control of 31 bytes"),
    (
        "7b 22 6e 61 6d 65 22 3a 7b 22 69 64 22 3a 37 2c 22 74 65 78 74 22 3a 22 65 74 68 30 22 7d 7d",
        "`{\"name\":{\"id\":7,\"text\":\"eth0\"}}`",
    ),
    ("01 04", "CPU 0, four records"),
    ("12", "an interrupt (2) that was handled (1)"),
    ("c8 8f 0c", "began at 0 + 99,300 ns"),
    ("bc 05", "took 700 ns, so `end` is 100,000"),
    ("00", "entry 0 of the lines, a new one:"),
    (
        "00 18 07 00 00 00 00 00 00 00",
        "no flags, interrupt 24, name 7",
    ),
    ("35", "a softirq in its long form (5) of vector 3, NET_RX"),
    ("02", "a head follows"),
    (
        "01 12 18",
        "its wait was measured; it ran at an interrupt's tail (2), raised by an interrupt (1): 24",
    ),
    ("98 9f 0c", "began at 0 + 100,300 ns"),
    ("88 27", "took 5,000 ns, so `softirq_end` is 105,300"),
    ("90 03", "had waited for 400 ns"),
    ("52", "an interrupt (2), handled (1), of the same line (4)"),
    ("c8 ad 02", "began at 100,000 + 19,300 ns"),
    ("bc 05", "took 700 ns"),
    (
        "31",
        "a softirq in its short form (1) of vector 3: the head is the last one",
    ),
    ("b0 ea 01", "began at 105,300 + 15,000 ns"),
    ("88 27", "took 5,000 ns"),
    ("90 03", "had waited for 400 ns"),
];

fn records() -> (Vec<u8>, BytesMut) {
    let hardirq = |end_ns| Hardirq {
        kind: kind::HARDIRQ,
        ret: 1,
        irq: 24,
        end_ns,
        service_ns: 700,
        name_id: 7,
        ..Hardirq::default()
    };
    let softirq = |end_ns| SoftirqLong {
        kind: kind::SOFTIRQ_LONG,
        vector: 3,
        flags: flags::WAIT,
        place: place(context::IRQ_TAIL, origin::IRQ),
        origin: 24,
        end_ns,
        wait_ns: 400,
        service_ns: 5_000,
        nested_ns: 0,
    };
    let mut batch = BytesMut::new();
    for at in [100_000, 120_000] {
        decode::append(&mut batch, hardirq(at).as_bytes());
        decode::append(&mut batch, softirq(at + 5_300).as_bytes());
    }
    let mut encoder = Encoder::default();
    encoder.control(&Control::Name {
        id: 7,
        text: "eth0".to_owned(),
    });
    encoder.records(0, &batch);
    (encoder.finish(), batch)
}

#[test]
fn the_example_is_what_the_encoder_writes() {
    let (segment, batch) = records();
    let hex: Vec<String> = segment.iter().map(|byte| format!("{byte:02x}")).collect();
    let told: Vec<&str> = EXAMPLE.iter().map(|(bytes, _)| *bytes).collect();
    assert_eq!(told.join(" "), hex.join(" "));
    assert_eq!(segment[7], VERSION);
    let mut made = "| bytes | are |\n|---|---|\n".to_owned();
    for (bytes, meaning) in EXAMPLE {
        made.push_str(&format!("| `{bytes}` | {meaning} |\n"));
    }
    let list = "kctx/src/capture/events";
    check_made_part("docs/bundle.md", list, &made, "events::document");
    // And reads.
    let mut decoder = Decoder::new(Bytes::from(segment)).unwrap();
    let name = decoder.next_item().unwrap();
    assert!(matches!(name, Some(Item::Control(_))));
    let records = decoder.next_item().unwrap();
    let batch = batch.freeze();
    assert_eq!(records, Some(Item::Records { cpu: 0, batch }));
}
