//! What was measured, for programs and for people.

pub(crate) mod columns;
pub mod estimate;
pub mod human;
mod limits;
pub mod live;
pub mod notices;
mod own_cost;
pub mod summary;
pub mod text;

pub use summary::Summary;

#[cfg(test)]
mod fixture;
