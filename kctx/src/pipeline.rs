//! The stages in a row: what a piece of the stream goes through, live or replayed.

use crate::{
    aggregate::{Aggregator, table::RowLimits, window::Window},
    capture::flight::Progress,
    resolve::Resolver,
    source::Item,
};

/// Decode, resolve, aggregate.
pub struct Pipeline {
    aggregator: Aggregator,
    resolver: Resolver,
}

impl Pipeline {
    /// An empty pipeline.
    #[must_use]
    pub fn new(limits: RowLimits, resolver: Resolver) -> Self {
        Self {
            aggregator: Aggregator::new(limits),
            resolver,
        }
    }

    /// Takes one piece of the stream; a window when that closes one.
    pub fn take(&mut self, item: &Item) -> Option<Window> {
        if self.resolver.renew() {
            self.aggregator.forget_functions();
        }
        match item {
            Item::Records { cpu, batch } => {
                self.aggregator.records(*cpu, batch, &mut self.resolver);
                None
            }
            Item::Control(control) => self.aggregator.control(control, &mut self.resolver),
        }
    }

    /// Closes what a stream that was cut short left open.
    pub fn finish(&mut self) -> Option<Window> {
        self.aggregator.close_unfinished(&mut self.resolver)
    }

    /// The counts so far, and what could not be decoded.
    #[must_use]
    pub fn aggregator(&self) -> &Aggregator {
        &self.aggregator
    }

    /// So many lines of the log are kept of a window from now on.
    pub fn limit_log_lines(&mut self, lines: usize) {
        self.aggregator.limit_log_lines(lines);
    }

    /// How far it is, for a recording.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            received: self.aggregator.received(),
            functions_forgotten: self.resolver.functions_forgotten(),
        }
    }

    /// The text of an interned name, as far as the stream has told it.
    pub fn name(&mut self, id: u64) -> std::sync::Arc<str> {
        self.resolver.name(id)
    }

    /// Names learnt since the last call; a recording needs them before the records that used them.
    pub fn take_learnt(&mut self) -> Vec<crate::source::Control> {
        self.resolver.take_learnt()
    }
}
