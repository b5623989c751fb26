//! Incident capture: the evidence, the recorded stream, and the bundle that holds both.

#[cfg(kctx_live)]
mod bounds;
pub mod bundle;
pub mod events;
pub mod evidence;
pub mod evidence_set;
pub mod flight;
#[cfg(kctx_live)]
pub mod observe;
#[cfg(kctx_live)]
mod partial;
pub mod progress;
pub mod recorder;
pub mod redact;
#[cfg(kctx_live)]
pub mod session;
#[cfg(kctx_live)]
pub mod through;
pub mod trigger;
#[cfg(kctx_live)]
mod watcher;
