//! The way between the flight recorder, which is the pipeline's, and who wants a dump of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc as pieces;

use super::InTransit;

/// A piece of a dump.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Its next segment.
    Segment(Bytes),
    /// That was all.
    End(Ending),
    /// More waited than may: nothing else comes.
    GivenUp,
}

/// How a dump ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why there.
    pub reason: EndReason,
    /// Of its time, how much lies before it was asked for.
    pub before_ns: u64,
    /// All of its time.
    pub duration_ns: u64,
    /// The recorder's memory was full, so it had kept less than it is to keep.
    #[serde(default)]
    pub memory_full: bool,
    /// Records on their way when it began, which came in it.
    pub in_transit_before: InTransit,
    /// Records on their way when it ended, which came after it.
    pub in_transit_after: InTransit,
}

/// Why a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// It was asked to.
    Asked,
    /// The daemon ended.
    DaemonEnded,
}

/// What the recorder is asked.
pub(super) enum Order {
    Subscribe(Subscriber),
    Finish { id: u64, not_before_ns: u64 },
}

/// The recorder's end of a subscription.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) asked_ns: u64,
    /// It has enough from then on; `None`: not yet.
    pub(super) finish_ns: Option<u64>,
    out: pieces::UnboundedSender<Piece>,
    waiting: Arc<AtomicUsize>,
}

/// A piece found no room, or nobody who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TooSlow,
    Gone,
}

impl Subscriber {
    /// Hands over a segment, if that makes no more than `limit` bytes that wait.
    pub(super) fn segment(&self, segment: &Bytes, limit: usize) -> Result<(), Refused> {
        let waiting = self.waiting.fetch_add(segment.len(), Ordering::AcqRel);
        if waiting.saturating_add(segment.len()) > limit {
            let _ = self.out.send(Piece::GivenUp);
            return Err(Refused::TooSlow);
        }
        self.out
            .send(Piece::Segment(segment.clone()))
            .map_err(|_| Refused::Gone)
    }

    pub(super) fn end(self, ending: Ending) {
        let _ = self.out.send(Piece::End(ending));
    }
}

/// A dump as it comes.
pub struct Subscription {
    /// To name it by.
    pub id: u64,
    pieces: pieces::UnboundedReceiver<Piece>,
    waiting: Arc<AtomicUsize>,
}

impl Subscription {
    /// The next piece; `None` after the last, and where the recorder is gone: the daemon is ending.
    pub async fn next(&mut self) -> Option<Piece> {
        let piece = self.pieces.recv().await;
        self.took(piece)
    }

    fn took(&self, piece: Option<Piece>) -> Option<Piece> {
        if let Some(Piece::Segment(segment)) = &piece {
            self.waiting.fetch_sub(segment.len(), Ordering::AcqRel);
        }
        piece
    }
}

/// Has the drain close its window soon: so nobody waits for its interval.
pub type Cut = Arc<dyn Fn() + Send + Sync>;

/// What a recorder's orders come by, and what it asks of the drain.
pub struct Orders {
    pub(super) ordered: mpsc::Receiver<Order>,
    pub(super) cut: Cut,
}

/// Asks a recorder for dumps.
#[derive(Clone)]
pub struct FlightHandle {
    orders: mpsc::Sender<Order>,
    cut: Cut,
    ids: Arc<AtomicU64>,
}

impl FlightHandle {
    /// A handle, and what the recorder gets its orders by.
    #[must_use]
    pub fn new(cut: Cut) -> (Self, Orders) {
        let (orders, ordered) = mpsc::channel();
        let handle = Self {
            orders,
            cut: Arc::clone(&cut),
            ids: Arc::default(),
        };
        (handle, Orders { ordered, cut })
    }

    /// Asks for a dump from what is kept on, at `now_ns` by `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn subscribe(&self, now_ns: u64) -> Subscription {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (out, pieces) = pieces::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        // A recorder that is gone gives a subscription that ends at once.
        let _ = self.orders.send(Order::Subscribe(Subscriber {
            id,
            asked_ns: now_ns,
            finish_ns: None,
            out,
            waiting: Arc::clone(&waiting),
        }));
        (self.cut)();
        Subscription {
            id,
            pieces,
            waiting,
        }
    }

    /// Asks for a dump's end: not before `now_ns`, and soon after.
    pub fn finish(&self, id: u64, now_ns: u64) {
        let _ = self.orders.send(Order::Finish {
            id,
            not_before_ns: now_ns,
        });
        (self.cut)();
    }
}

/// Longer than this nobody waits for a dump's end that was asked for: the daemon would have closed its window by then.
pub const END_PATIENCE: Duration = Duration::from_secs(30);
