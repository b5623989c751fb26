//! Incident capture: the evidence, the recorded stream, and the bundle that holds both.

pub mod bundle;
pub mod events;
pub mod evidence;
pub mod evidence_set;
#[cfg(kctx_live)]
pub mod observe;
pub mod recorder;
#[cfg(kctx_live)]
pub mod session;
