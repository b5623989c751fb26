//! From the totals to an export's points, and what becomes of an interval whose export failed.

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::deliver::Delivery;
use super::points::{deltas, metrics};
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
}

impl Collector {
    /// Of these totals.
    pub(super) fn new(totals: Arc<Totals>, settings: &OtlpSettings) -> Self {
        Self {
            totals,
            temporality: settings.temporality,
            histogram: settings.histogram,
            taken: None,
        }
    }

    /// What is to be sent now, and how many windows are in it and in what was sent before.
    pub(super) fn collect(&mut self) -> (Vec<Metric>, u64) {
        if self.temporality == Temporality::Cumulative {
            let histogram = self.histogram;
            return (self.totals).read(|state, folded| (metrics(state, histogram), folded));
        }
        let (taken, folded) = self.totals.take_interval();
        let metrics = taken.as_ref().map(|taken| deltas(taken, self.histogram));
        self.taken = taken;
        (metrics.unwrap_or_default(), folded)
    }

    /// Books what became of what was collected last; `None`: it was stopped, and nobody knows. Returns how many points
    /// are lost by that, since no later export has their counts.
    ///
    /// An interval of which nothing was taken, for a reason that may pass, is put back: the next export begins where it
    /// did. One that got there in part is not, since nobody could tell the parts apart any more.
    pub(super) fn ended(&mut self, delivery: Option<&Delivery>) -> u64 {
        let Some(taken) = self.taken.take() else {
            return 0;
        };
        match delivery {
            Some(delivery) if !delivery.may_be_repeated() => delivery.failed(),
            // Whether a request that was not answered arrived cannot be known: the specification has it sent again.
            _ => {
                self.totals.put_back(taken);
                0
            }
        }
    }
}
