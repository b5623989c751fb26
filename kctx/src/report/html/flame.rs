//! Sampled stacks as a tree: what a flame graph draws.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{aggregate::window::StackRow, report::human::cut};

/// Deepest frame that is drawn.
const DEPTH: usize = 64;

/// Frames that are drawn: those below a share of all samples are left out, and a share is doubled until there are so
/// few.
const FRAMES: usize = 1500;

/// Widest name of a function.
const NAME: usize = 80;

/// A frame, with what it called.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) samples: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) calls: Vec<Frame>,
}

/// All stacks, under one frame; contexts are its calls. Nothing where there is no sample.
pub(super) fn tree(rows: &[StackRow]) -> Option<Frame> {
    let mut root = Node::default();
    for row in rows {
        let path = std::iter::once(&row.context).chain(&row.frames).take(DEPTH);
        root.add(path, row.count);
    }
    let mut least = 1;
    while root.frames(least) > FRAMES {
        least *= 2;
    }
    (root.samples > 0).then(|| root.frame("all", least))
}

#[derive(Debug, Default)]
struct Node<'a> {
    samples: u64,
    calls: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn add(&mut self, path: impl Iterator<Item = &'a String>, count: u64) {
        self.samples = self.samples.saturating_add(count);
        let mut node = self;
        for name in path {
            node = node.calls.entry(name).or_default();
            node.samples = node.samples.saturating_add(count);
        }
    }

    /// Frames with so many samples at least.
    fn frames(&self, least: u64) -> usize {
        let shown = self.calls.values().filter(|call| call.samples >= least);
        1 + shown.map(|call| call.frames(least)).sum::<usize>()
    }

    fn frame(&self, name: &str, least: u64) -> Frame {
        let shown = self.calls.iter().filter(|(_, call)| call.samples >= least);
        Frame {
            name: cut(name, NAME),
            samples: self.samples,
            calls: shown.map(|(name, call)| call.frame(name, least)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(context: &str, frames: &[&str], count: u64) -> StackRow {
        StackRow {
            context: context.to_owned(),
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
            count,
        }
    }

    #[test]
    fn stacks_that_begin_alike_share_their_frames() {
        let rows = [
            row("softirq:NET_RX", &["net_rx_action", "napi_poll"], 5),
            row("softirq:NET_RX", &["net_rx_action"], 2),
            row("softirq:RCU", &[], 1),
        ];
        let tree = tree(&rows).unwrap();
        assert_eq!((tree.samples, tree.calls.len()), (8, 2));
        let net = &tree.calls[0].calls[0];
        assert_eq!((net.name.as_str(), net.samples), ("net_rx_action", 7));
        assert_eq!(net.calls[0].samples, 5);
        assert_eq!(super::tree(&[]), None);
    }

    #[test]
    fn the_rarest_are_left_out_of_too_many() {
        let rows: Vec<_> = (0..5_000)
            .map(|i| {
                row(
                    "softirq:RCU",
                    &[&format!("f{i}")],
                    1 + u64::from(i == 0) * 100,
                )
            })
            .collect();
        let tree = tree(&rows).unwrap();
        assert_eq!(tree.samples, 5_100);
        assert_eq!(tree.calls[0].calls.len(), 1);
        assert_eq!(tree.calls[0].calls[0].samples, 101);
    }
}
