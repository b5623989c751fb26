//! Sinks that hand closed windows to other systems.

pub mod otlp;
