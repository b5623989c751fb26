//! What was measured, for programs and for people.

pub mod busiest;
mod changes;
pub(crate) mod columns;
pub mod estimate;
pub mod html;
pub mod human;
pub(crate) mod limits;
pub mod live;
pub mod narrow;
pub mod notices;
pub(crate) mod own_cost;
mod paper;
pub mod reading;
mod stretch;
pub mod summary;
pub mod text;
mod timeline;

pub use summary::Summary;

#[cfg(test)]
pub(crate) mod fixture;
