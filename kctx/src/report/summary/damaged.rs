//! What of a damaged bundle is whole, and what is not.

use serde::{Deserialize, Serialize};

/// Of a bundle that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Whether this is the summary that was recorded, of all that was measured; else it is made from the records that are
    /// whole.
    pub summary_is_whole: bool,
    /// Records that are whole.
    pub records: u64,
    /// What is not whole: a member, or a place in the file, and how it is known. 20 at most, and how many more there are.
    pub not_whole: Vec<String>,
}
