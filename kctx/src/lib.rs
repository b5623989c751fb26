//! kctx: which kernel context burns which CPU, how late it starts, how long it runs, and what put it there.
#![deny(unsafe_code)]

pub mod aggregate;
pub mod capture;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod decode;
pub mod diagnose;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod formats;
pub mod governor;
pub mod heap;
pub mod host;
pub mod meter;
mod one_line;
pub mod pipeline;
pub mod probe;
pub mod report;
pub mod resolve;
pub mod signals;
pub mod source;
pub mod top;
