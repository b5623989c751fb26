//! The one owner of all counts: records in, windows out.

pub mod duration;
pub mod window;
