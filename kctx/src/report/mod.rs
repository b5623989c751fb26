//! What was measured, for programs and for people.

mod columns;
pub mod estimate;
pub mod human;
pub(crate) mod limits;
pub mod live;
pub mod notices;
pub(crate) mod own_cost;
pub mod summary;
pub mod text;

pub use summary::Summary;

#[cfg(test)]
pub(crate) mod fixture;
