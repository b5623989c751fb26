//! Sampled kernel stacks: out of the kernel's tables, and their functions' names.

use aya::maps::{MapData, MapError, PerCpuHashMap, StackTraceMap};
use kctx_common::{
    pairing::role,
    record::stack_context::{KTHREAD, SOFTIRQ},
};
use rustc_hash::FxHashMap;

use crate::{aggregate::window::StackRow, host::kallsyms::Symbols, resolve::SOFTIRQ_VECTORS};

/// The tables are emptied when they have grown to this many stacks, half of what they hold: more are not told apart.
const EMPTY_AT: usize = 2048;

/// The tables that the sampling program fills.
pub struct Stacks {
    traces: StackTraceMap<MapData>,
    counts: PerCpuHashMap<MapData, u64, u64>,
    seen: FxHashMap<u64, u64>,
    symbols: Symbols,
    /// Stacks that are reported of one window, the most frequent first.
    most: usize,
}

impl Stacks {
    pub(super) fn new(
        traces: StackTraceMap<MapData>,
        counts: PerCpuHashMap<MapData, u64, u64>,
        symbols: Symbols,
        most: usize,
    ) -> Self {
        Self {
            traces,
            counts,
            seen: FxHashMap::default(),
            symbols,
            most,
        }
    }

    /// The samples since the last call, by context and stack.
    pub fn take(&mut self) -> Result<Vec<StackRow>, MapError> {
        self.symbols.renew();
        let mut grown = Vec::new();
        for entry in self.counts.iter() {
            let (key, counts) = entry?;
            let total: u64 = counts.iter().sum();
            let before = self.seen.insert(key, total).unwrap_or(0);
            if total > before {
                grown.push((key, total - before));
            }
        }
        grown.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
        let others = grown.split_off(grown.len().min(self.most));
        let mut rows: Vec<StackRow> = grown
            .into_iter()
            .map(|(key, count)| StackRow {
                context: context(key >> 32),
                frames: self.frames(key as u32),
                count,
            })
            .collect();
        let others: u64 = others.into_iter().map(|(_, count)| count).sum();
        if others > 0 {
            rows.push(StackRow {
                context: "others".to_owned(),
                frames: Vec::new(),
                count: others,
            });
        }
        if self.seen.len() >= EMPTY_AT {
            self.empty();
        }
        Ok(rows)
    }

    fn frames(&mut self, id: u32) -> Vec<String> {
        let Ok(trace) = self.traces.get(&id, 0) else {
            return Vec::new();
        };
        let mut name = |ip: u64| {
            self.symbols
                .function_around(ip)
                .unwrap_or_else(|| format!("{ip:#x}"))
        };
        trace
            .frames()
            .iter()
            .rev()
            .map(|frame| name(frame.ip))
            .collect()
    }

    /// Starts the tables anew. Samples that come meanwhile may be lost: a few of hundreds of thousands.
    fn empty(&mut self) {
        for key in self.seen.drain().map(|(key, _)| key) {
            let _ = self.counts.remove(&key);
            let _ = self.traces.remove(&(key as u32));
        }
    }
}

fn context(context: u64) -> String {
    let of = |name: &str, kind: &str| format!("{kind}:{name}");
    if context & SOFTIRQ != 0 {
        let vector = SOFTIRQ_VECTORS.get((context & 0xff) as usize);
        return of(vector.unwrap_or(&"?"), "softirq");
    }
    if context & KTHREAD == 0 {
        return "others".to_owned();
    }
    let name = match context & 0xff {
        role::KSOFTIRQD => "ksoftirqd",
        role::KTIMERS => "ktimers",
        role::IRQ_THREAD => "irq",
        role::NAPI_THREAD => "napi",
        _ => "other",
    };
    of(name, "kthread")
}
