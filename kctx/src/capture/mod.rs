//! Bundles: what a capture brings home.
pub mod events;
