//! What can be learnt about this machine by reading files: who it is, how its kernel was built,
//! and the kernel's own books on interrupts and softirqs.

pub mod cpus;
pub mod identity;
pub mod irqs;
pub mod kernel_config;
pub mod kmsg;
pub mod root;
pub mod taint;

pub use identity::HostIdentity;
pub use root::HostRoot;
