//! How the export itself does, in the series that it exports.

use std::time::Duration;

use super::attributes::Attributes;
use super::cumulative::Cumulative;
use super::rows::{absorb, add};
use super::series::SeriesSet;
use crate::aggregate::duration::Durations;

/// An export that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended<'a> {
    /// From the first attempt to the last answer.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<&'a str>,
    /// Data points or log records that the endpoint took.
    pub exported: u64,
    /// Those that it refused in a request that it otherwise accepted.
    pub rejected: u64,
    /// Those of requests that failed and are not sent again, by why.
    pub failed: &'a [(String, u64)],
    /// Those are lost: no later export has their counts.
    pub lost: bool,
}

/// What an export still has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Windows that the endpoint does not have.
    pub windows: u64,
    /// Data points of the export under way.
    pub inflight: u64,
}

impl Cumulative {
    /// Takes what became of an export.
    pub fn note_export(&mut self, ended: &Ended<'_>, component: &Attributes) {
        let start = self.time_unix_ns();
        count_items(&mut self.exported_points, ended, component, start);
        if ended.lost {
            for (why, failed) in ended.failed {
                let of = with_error(component, Some(why));
                add(&mut self.points_dropped, of, *failed, start);
            }
        }
        self.note_operation(ended, component);
    }

    /// Takes what became of an export of logs.
    pub fn note_log_export(&mut self, ended: &Ended<'_>, component: &Attributes) {
        let start = self.time_unix_ns();
        count_items(&mut self.exported_logs, ended, component, start);
        self.note_operation(ended, component);
    }

    /// Takes that log records were handed to their exporter, or dropped before, and why.
    pub fn note_processed(&mut self, records: u64, why: Option<&str>, component: &Attributes) {
        let start = self.time_unix_ns();
        add(
            &mut self.processed_logs,
            with_error(component, why),
            records,
            start,
        );
    }

    fn note_operation(&mut self, ended: &Ended<'_>, component: &Attributes) {
        let (start, max) = (self.time_unix_ns(), self.limits.max_buckets);
        absorb(
            &mut self.export_duration,
            &with_error(component, ended.error),
            &once(ended.took),
            start,
            max,
        );
    }

    /// Takes what the export still has to do.
    pub fn note_backlog(&mut self, backlog: Backlog, component: &Attributes) {
        let start = self.opened_unix_ns();
        let (queue, inflight) = (&mut self.export_queue, &mut self.points_inflight);
        queue.set(component.clone(), start, backlog.windows);
        inflight.set(component.clone(), start, backlog.inflight);
    }

    /// Takes that an export was due while another was under way.
    pub fn note_merged(&mut self, exports: u64, component: &Attributes) {
        let start = self.time_unix_ns();
        add(&mut self.exports_merged, component.clone(), exports, start);
    }

    /// Takes how long it took to make the requests of an export.
    pub fn note_collection(&mut self, took: Duration, reader: &Attributes) {
        let (start, max) = (self.time_unix_ns(), self.limits.max_buckets);
        absorb(
            &mut self.collection_duration,
            reader,
            &once(took),
            start,
            max,
        );
    }
}

fn count_items(items: &mut SeriesSet<u64>, ended: &Ended<'_>, component: &Attributes, start: u64) {
    let of = |why| with_error(component, why);
    add(items, of(None), ended.exported, start);
    add(items, of(Some("rejected")), ended.rejected, start);
    for (why, failed) in ended.failed {
        add(items, of(Some(why)), *failed, start);
    }
}

fn with_error(component: &Attributes, why: Option<&str>) -> Attributes {
    let why = why.map(str::to_owned);
    component.clone().with_some("error.type", why.as_ref())
}

fn once(took: Duration) -> Durations {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    std::iter::once(ns).collect()
}
