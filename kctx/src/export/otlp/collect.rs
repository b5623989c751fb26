//! From the totals to an export's points, and what becomes of an interval whose export failed.

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::deliver::Delivery;
use super::points::{deltas, metrics_after};
use super::settings::{HistogramKind, OtlpSettings};
use crate::export::interval::{Taken, Temporality};
use crate::export::totals::Totals;

/// Takes what an export sends.
#[derive(Debug)]
pub(super) struct Collector {
    totals: Arc<Totals>,
    temporality: Temporality,
    histogram: HistogramKind,
    /// The interval under way.
    taken: Option<Taken>,
    /// Time of the points under way, and of the last that the endpoint took.
    under_way_unix_ns: u64,
    sent_unix_ns: Option<u64>,
}

impl Collector {
    /// Of these totals.
    pub(super) fn new(totals: Arc<Totals>, settings: &OtlpSettings) -> Self {
        Self {
            totals,
            temporality: settings.temporality,
            histogram: settings.histogram,
            taken: None,
            under_way_unix_ns: 0,
            sent_unix_ns: None,
        }
    }

    /// What is to be sent now, and how many windows are in it and in what was sent before.
    pub(super) fn collect(&mut self) -> (Vec<Metric>, u64) {
        let (histogram, sent) = (self.histogram, self.sent_unix_ns);
        if self.temporality == Temporality::Cumulative {
            let (metrics, time, folded) = self.totals.read(|state, folded| {
                let metrics = metrics_after(state, sent, histogram);
                (metrics, state.time_unix_ns(), folded)
            });
            self.under_way_unix_ns = time;
            return (metrics, folded);
        }
        let (taken, folded) = self.totals.take_interval();
        let metrics = taken.as_ref().map(|taken| {
            self.under_way_unix_ns = taken.state.time_unix_ns();
            deltas(taken, sent, histogram)
        });
        self.taken = taken;
        (metrics.unwrap_or_default(), folded)
    }

    /// Books what became of what was collected last; `None`: it was stopped, and nobody knows. Whether what failed of it is
    /// lost: no later export has its counts.
    ///
    /// An interval of which nothing was taken, for a reason that may pass, is put back: the next export begins where it
    /// did. One that got there in part is not, since nobody could tell the parts apart any more.
    pub(super) fn ended(&mut self, delivery: Option<&Delivery>) -> bool {
        if delivery.is_some_and(|delivery| delivery.failure.is_none()) {
            self.sent_unix_ns = Some(self.under_way_unix_ns);
        }
        let Some(taken) = self.taken.take() else {
            return false;
        };
        match delivery {
            Some(delivery) if !delivery.may_be_repeated() => delivery.failure.is_some(),
            // Whether a request that was not answered arrived cannot be known: the specification has it sent again.
            _ => {
                self.totals.put_back(taken);
                false
            }
        }
    }
}
