//! The export of logs: what happened, each as it happened.
//!
//! ```text
//! window -> event::told -> queue (bounded, the oldest go) -> batches -> requests
//! ```
//!
//! Unlike counts, a record that is lost is lost: what the endpoint did not take, for a reason that may pass, goes back to
//! the front of the queue and is sent again. So a record may come twice, where only the answer got lost.

mod feed;
mod queue;
mod request;
pub mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use settings::{LogSettings, LogsConfig};

use self::feed::LogFeed;
use self::queue::Queue;
use self::request::log_record;
use super::push::{Push, ShutdownOutcome, StartError};
use super::stats::ExporterStats;
use crate::aggregate::window::Window;
use crate::export::event::{Bounds, LeftOut, told};
use crate::export::resource::Resource;
use crate::export::totals::Totals;

/// Pushes the events of windows to an OTLP endpoint from a thread of its own.
#[derive(Debug)]
pub struct LogExporter {
    bounds: Bounds,
    queue: Arc<Queue>,
    push: Push,
}

impl LogExporter {
    /// Starts the export. Certificates and keys are read now. What becomes of records is counted in `totals`.
    ///
    /// # Errors
    /// When they cannot be used, or the thread cannot start.
    pub fn spawn(
        settings: LogSettings,
        resource: &Resource,
        totals: Arc<Totals>,
    ) -> Result<Self, StartError> {
        let queue = Arc::new(Queue::new(settings.queue));
        let feed = LogFeed::new(Arc::clone(&queue), &settings, resource, totals);
        let push = Push::spawn(settings.transport, settings.interval, feed)?;
        Ok(Self {
            bounds: settings.bounds,
            queue,
            push,
        })
    }

    /// Takes the events of a closed window. Never waits for the endpoint; after [`Self::shutdown`] nothing is sent any
    /// more.
    pub fn offer(&self, window: &Window) {
        let told = told(window, self.bounds);
        if told.records.is_empty() && told.left_out == LeftOut::default() {
            // The thread sleeps while nothing happens.
            return;
        }
        let records = told.records.iter().map(log_record).collect();
        self.queue.offer(records, told.left_out);
        self.push.announce();
    }

    /// Waits until the records of every window offered so far were part of an export that has ended, well or not; false
    /// when time was up first.
    #[must_use]
    pub fn settle(&self, limit: Duration) -> bool {
        self.push.settle(limit)
    }

    /// Sends what is not with the endpoint yet, and ends. Returns within about `limit`.
    pub fn shutdown(&self, limit: Duration) -> ShutdownOutcome {
        self.push.shutdown(limit)
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ExporterStats {
        self.push.stats()
    }

    /// Records that no export took, by why.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<&'static str, u64> {
        self.queue.dropped()
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
