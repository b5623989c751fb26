//! Incident capture: the evidence, the recorded stream, and the bundle that holds both.

pub mod bundle;
pub mod events;
pub mod evidence;
pub mod evidence_set;
pub mod flight;
pub mod recorder;
#[cfg(kctx_live)]
pub mod session;
#[cfg(kctx_live)]
pub mod through;
pub mod trigger;
