//! The incident bundle: what goes into it beside the records, and the file itself.

pub mod bundle;
pub mod evidence;
