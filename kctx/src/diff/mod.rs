//! What changed between two bundles, and whether that is more than what changes within each.
//!
//! Each window is cut into [`SLOTS`] slots (`sampled`). A figure has changed where its slots of one window and those of the
//! other are told apart by a rank test, the step between them is larger than what either window does by itself, and it
//! is a quarter of the figure at least (`noise`). docs/diff.md says it for readers.

mod facts;
mod key;
mod noise;
mod sampled;
mod text;

use std::collections::BTreeSet;

use serde::Serialize;

pub use self::{
    facts::Fact,
    key::{Key, Kind},
    noise::Judged,
    sampled::{SLOTS, Side, SideError},
    text::render,
};
use self::{noise::judge, sampled::Row};
use crate::report::summary::WindowSpan;

/// The schema of this version's output: docs/diff.schema.json.
pub const DIFF_SCHEMA: &str = "kctx.diff.v1";

/// A wait counts a tenth of time on a CPU when changes are ranked: it is lateness, not load, and many wait at a time.
const WAIT_WEIGHT: f64 = 0.1;

/// What weighs less, in CPUs, is not called a change of the row, although its figures may: a machine at rest is full of it.
const LEAST_WEIGHT: f64 = 0.001;

/// What changed, the most first.
#[derive(Clone, Debug, Serialize)]
pub struct Diff {
    /// [`DIFF_SCHEMA`]
    pub schema: &'static str,
    /// Version of the kctx that compared.
    pub kctx_version: &'static str,
    /// The first bundle.
    pub before: About,
    /// The second.
    pub after: About,
    /// What is one way or the other: modules, taint, probes, the machine.
    pub facts: Vec<Fact>,
    /// Rows in which something changed come first, the largest change first; then the others by family and name.
    pub rows: Vec<RowDiff>,
}

/// Which bundle.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Host name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// The time measured.
    pub window: WindowSpan,
    /// Records read.
    pub records: u64,
    /// Rows beyond the bound on rows: they are not compared.
    pub rows_left_out: u64,
    /// Families of which too much is missing, and why.
    pub incomplete: Vec<Incomplete>,
}

/// A family of which a bundle has not all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The family.
    pub family: crate::aggregate::window::Family,
    /// What is missing.
    pub reason: String,
}

/// A row of both.
#[derive(Clone, Debug, Serialize)]
pub struct RowDiff {
    /// What kind of row.
    pub kind: Kind,
    /// Which: `NET_RX`, `eth0-rx-0`, `events: wb_workfn` and so on, over all CPUs.
    pub name: String,
    /// Something of it changed, and weighs a thousandth of a CPU or more.
    pub changed: bool,
    /// How large the change is, in CPUs: time on the CPU, and a tenth of time waited, per second.
    pub weight: f64,
    /// Executions.
    pub count: Pair<u64>,
    /// Its figures.
    pub figures: Vec<FigureDiff>,
}

/// One of each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair<T> {
    /// Of the first bundle.
    pub before: T,
    /// Of the second.
    pub after: T,
}

/// A figure of both.
#[derive(Clone, Debug, Serialize)]
pub struct FigureDiff {
    /// Which.
    pub figure: Figure,
    /// Over the whole window; `null` where there is none.
    pub before: Option<f64>,
    /// The same.
    pub after: Option<f64>,
    /// What the slots say.
    #[serde(flatten)]
    pub judged: Judged,
}

/// What is compared of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Executions a second.
    Rate,
    /// Time on the CPU, net, as a share of one CPU.
    Cpu,
    /// Median wait, in nanoseconds.
    WaitP50,
    /// 99th percentile of the wait.
    WaitP99,
    /// Median of the time it took.
    ServiceP50,
    /// 99th percentile of that.
    ServiceP99,
}

impl Figure {
    const ALL: [Self; 6] = [
        Self::Rate,
        Self::Cpu,
        Self::WaitP50,
        Self::WaitP99,
        Self::ServiceP50,
        Self::ServiceP99,
    ];
}

/// Compares two bundles.
#[must_use]
pub fn compare(before: &Side, after: &Side) -> Diff {
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let none = Row::default();
    let looks = keys.len() * Figure::ALL.len();
    let rows = keys.into_iter().map(|key| {
        let reason = before
            .incomplete(key.kind)
            .map(|why| format!("before: {why}"))
            .or_else(|| {
                after
                    .incomplete(key.kind)
                    .map(|why| format!("after: {why}"))
            })
            .or_else(|| before.too_short().or_else(|| after.too_short()))
            .or_else(|| {
                let one_lacks = before.may_lack(key) || after.may_lack(key);
                one_lacks.then(|| "a bundle had more rows than are kept".to_owned())
            });
        let rows = Pair {
            before: (before, before.row(key).unwrap_or(&none)),
            after: (after, after.row(key).unwrap_or(&none)),
        };
        row(key, rows, reason.as_deref(), looks)
    });
    let mut rows: Vec<RowDiff> = rows.collect();
    rows.sort_by(|a, b| {
        let most = b.weight.total_cmp(&a.weight);
        b.changed.cmp(&a.changed).then(if a.changed && b.changed {
            most
        } else {
            std::cmp::Ordering::Equal
        })
    });
    Diff {
        schema: DIFF_SCHEMA,
        kctx_version: env!("CARGO_PKG_VERSION"),
        before: before.about(),
        after: after.about(),
        facts: facts::facts(before, after),
        rows,
    }
}

fn row(key: &Key, rows: Pair<(&Side, &Row)>, reason: Option<&str>, looks: usize) -> RowDiff {
    let Pair {
        before: (before_side, before),
        after: (after_side, after),
    } = rows;
    let mut figures = Vec::new();
    for figure in Figure::ALL {
        let whole = (
            before_side.whole(before, figure),
            after_side.whole(after, figure),
        );
        if whole == (None, None) || (key.kind == Kind::Raiser && figure != Figure::Rate) {
            continue;
        }
        let judged = match reason {
            Some(reason) => Judged::cannot_tell(reason),
            None => judge(
                &before_side.slots(before, figure),
                &after_side.slots(after, figure),
                looks,
            ),
        };
        figures.push(FigureDiff {
            figure,
            before: whole.0,
            after: whole.1,
            judged,
        });
    }
    let changed = |of: &[Figure]| {
        let mut figures = figures.iter();
        figures.any(|one| one.judged.is_changed() && of.contains(&one.figure))
    };
    let on_cpu = match changed(&[
        Figure::Rate,
        Figure::Cpu,
        Figure::ServiceP50,
        Figure::ServiceP99,
    ]) {
        true => (after_side.busy_share(after) - before_side.busy_share(before)).abs(),
        false => 0.0,
    };
    let waited = match changed(&[Figure::WaitP50, Figure::WaitP99]) {
        true => (after_side.waited_share(after) - before_side.waited_share(before)).abs(),
        false => 0.0,
    };
    let weight = on_cpu + WAIT_WEIGHT * waited;
    RowDiff {
        kind: key.kind,
        name: key.name(),
        changed: weight >= LEAST_WEIGHT,
        weight,
        count: Pair {
            before: before.count(),
            after: after.count(),
        },
        figures,
    }
}
