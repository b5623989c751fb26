//! What this host is and allows: its kernel's types, symbols and tracepoints, its clocks, who it is, how its
//! kernel was built, and the kernel's own books on interrupts and softirqs.

pub mod btf;
pub mod clock;
pub mod cpus;
pub mod identity;
pub mod irqs;
pub mod kallsyms;
pub mod kernel_config;
pub mod kmsg;
pub mod kmsg_follow;
pub mod kmsg_window;
pub mod privilege;
pub mod root;
pub mod taint;
pub mod taint_watch;
pub mod tracefs;

pub use identity::HostIdentity;
pub use root::{HostRoot, Reread};
