//! Queueing disciplines and what they dropped, by rtnetlink.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    netlink::{Ask, Socket, attribute, attributes, number, text},
    place::Place,
};

/// include/uapi/linux/rtnetlink.h
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
/// `struct tcmsg`
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
/// include/uapi/linux/gen_stats.h
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;
/// Disciplines kept.
const QDISCS: usize = 4096;

/// One discipline.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Qdisc {
    device: String,
    kind: String,
    /// As tc writes it: `8001:`.
    handle: String,
    /// `root`, or the class it hangs on.
    parent: String,
    bytes: u64,
    packets: u64,
    qlen: u64,
    backlog: u64,
    drops: u64,
    requeues: u64,
    overlimits: u64,
}

pub(super) fn read(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let devices: BTreeMap<u32, String> = place
        .names("/sys/class/net")
        .into_iter()
        .filter_map(|name| {
            let index = place
                .root
                .read_line(&format!("/sys/class/net/{name}/ifindex"));
            Some((index.ok()?.parse().ok()?, name))
        })
        .collect();
    let mut qdiscs = Vec::new();
    let mut socket = Socket::open(None, place)?;
    socket.ask(RTM_GETQDISC, Ask::All, &[0; TCMSG], |kind, payload| {
        if kind == RTM_NEWQDISC && qdiscs.len() < QDISCS {
            qdiscs.extend(parse(payload, &devices));
        }
    })?;
    lines(&qdiscs)
}

/// A JSON array with an element a line.
pub(super) fn lines<T: Serialize>(elements: &[T]) -> Result<Vec<u8>, String> {
    let lines: Result<Vec<String>, _> = elements.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|error| error.to_string())?;
    if lines.is_empty() {
        return Ok(b"[]\n".to_vec());
    }
    Ok(format!("[\n{}\n]\n", lines.join(",\n")).into_bytes())
}

fn parse(payload: &[u8], devices: &BTreeMap<u32, String>) -> Option<Qdisc> {
    let (head, rest) = payload.split_at_checked(TCMSG)?;
    let word = |at: usize| number(head.get(at..at + 4)?).map(|word| word as u32);
    let index = word(4)?;
    let mut qdisc = Qdisc {
        device: devices
            .get(&index)
            .cloned()
            .unwrap_or_else(|| format!("#{index}")),
        kind: text(attribute(rest, TCA_KIND)?),
        handle: format!("{:x}:", word(8)? >> 16),
        parent: match word(12)? {
            // `TC_H_ROOT`, `TC_H_INGRESS`
            0xffff_ffff => "root".to_owned(),
            0xffff_fff1 => "ingress".to_owned(),
            parent => format!("{:x}:{:x}", parent >> 16, parent & 0xffff),
        },
        ..Qdisc::default()
    };
    for (kind, value) in attributes(attribute(rest, TCA_STATS2).unwrap_or_default()) {
        let field = |at: usize, len: usize| value.get(at..at + len).and_then(number).unwrap_or(0);
        match kind {
            // `gnet_stats_basic`, `gnet_stats_queue`
            TCA_STATS_BASIC => (qdisc.bytes, qdisc.packets) = (field(0, 8), field(8, 4)),
            TCA_STATS_QUEUE => {
                (qdisc.qlen, qdisc.backlog) = (field(0, 4), field(4, 4));
                (qdisc.drops, qdisc.requeues) = (field(8, 4), field(12, 4));
                qdisc.overlimits = field(16, 4);
            }
            _ => {}
        }
    }
    Some(qdisc)
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::put, *};

    #[test]
    fn a_discipline_has_its_device_and_its_drops() {
        let mut payload = [0_u8; TCMSG].to_vec();
        payload[4..8].copy_from_slice(&2_u32.to_ne_bytes());
        payload[8..12].copy_from_slice(&0x8001_0000_u32.to_ne_bytes());
        payload[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        put(&mut payload, TCA_KIND, b"tbf\0");
        let (mut basic, mut queue) = (1000_u64.to_ne_bytes().to_vec(), Vec::new());
        basic.extend(7_u32.to_ne_bytes());
        for figure in [3_u32, 300, 5, 1, 9] {
            queue.extend(figure.to_ne_bytes());
        }
        let mut stats = Vec::new();
        put(&mut stats, TCA_STATS_BASIC, &basic);
        put(&mut stats, TCA_STATS_QUEUE, &queue);
        put(&mut payload, TCA_STATS2, &stats);
        let devices = BTreeMap::from([(2, "eth0".to_owned())]);
        let qdisc = parse(&payload, &devices).unwrap();
        assert_eq!(
            qdisc,
            Qdisc {
                device: "eth0".to_owned(),
                kind: "tbf".to_owned(),
                handle: "8001:".to_owned(),
                parent: "root".to_owned(),
                bytes: 1000,
                packets: 7,
                qlen: 3,
                backlog: 300,
                drops: 5,
                requeues: 1,
                overlimits: 9,
            }
        );
        assert_eq!(parse(&payload[..10], &devices), None);
    }
}
