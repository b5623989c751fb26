//! The test harness of kctx: its program as a child, its bundles, known loads, and the kernel's own books.

pub mod bottom_half;
mod bpf;
pub mod bundle;
pub mod empty_program;
pub mod kernel;
pub mod load;
pub mod netns;
pub mod otlp;
pub mod page;
pub mod program;
pub mod scrape;
pub mod stream;
pub mod trace;
