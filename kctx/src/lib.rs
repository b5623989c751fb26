//! kctx: which kernel context burns which CPU, how late it starts, how long it runs, and what put it there.

pub mod aggregate;
pub mod export;
