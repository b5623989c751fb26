//! The flight recorder: the last seconds of the stream, kept so that a capture has the time before it was asked for.
//!
//! What it keeps are whole windows of the daemon and the open one, as event segments that were encoded as they came. A dump
//! of it is a stream of one window: a head (`head`) with all that was told before and still holds, the segments, and a
//! tail (`edge`) in which what the windows' ends said is added up. So whatever reads a bundle reads a dump too.
//!
//! What the probes had counted at an edge and what had come by then differ by what was still on its way: in the rings, or
//! spilled and not read yet. A dump's counts are those of what came in it, and how much was on its way at both edges is
//! said beside them ([`InTransit`]).

mod assembly;
mod dictionary;
mod edge;
mod head;
mod recorder;
mod subscription;

use std::time::Duration;

pub use self::{
    assembly::{Assembly, AssemblyError},
    edge::InTransit,
    recorder::{FlightRecorder, Progress},
    subscription::{
        Cut, END_PATIENCE, EndReason, Ending, FlightHandle, Orders, Piece, Subscription,
    },
};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightLimits {
    /// For how long; zero: nothing is kept.
    pub length: Duration,
    /// Bytes of segments, at most; the oldest windows go first.
    pub bytes: usize,
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
