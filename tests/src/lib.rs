//! The test harness of kctx: its program as a child, its bundles, known loads, and the kernel's own books.

pub mod backend;
pub mod bottom_half;
mod bpf;
pub mod bundle;
pub mod edu;
pub mod empty_program;
pub mod kernel;
pub mod left_out;
pub mod load;
pub mod netns;
pub mod otlp;
pub mod page;
pub mod program;
pub mod protobuf;
pub mod qmp;
pub mod received;
pub mod resets;
pub mod scrape;
pub mod situation;
pub mod stream;
pub mod tmux;
pub mod trace;
pub mod troubled;
