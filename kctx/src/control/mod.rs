//! The control socket: how `kctx capture` asks a running daemon for what it keeps.
//!
//! A client sends one line of JSON, a [`Request`], and may later send a second one ([`Request::Finish`]). The daemon answers
//! with frames ([`frame`]): who it is, the segments of a dump as they come, and its end, or why not. Both sides bound what
//! they take and how long they wait.

pub mod client;
pub mod frame;
pub mod server;
pub mod socket;

use serde::{Deserialize, Serialize};

/// Where the socket is if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kctx/kctx.sock";

/// Names another; empty: none.
pub const SOCKET_VARIABLE: &str = "KCTX_SOCKET";

/// Of what both sides say. One that another version does not know is refused there.
pub const PROTOCOL: u32 = 1;

/// The longest window that a daemon gives, in nanoseconds: an hour.
pub const LONGEST_WINDOW_NS: u64 = 3_600_000_000_000;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// A dump of what is kept, and of what comes for so long.
    Capture {
        /// [`PROTOCOL`]
        protocol: u32,
        /// After the request, in nanoseconds.
        window_ns: u64,
    },
    /// That is enough: the dump may end now.
    Finish,
}

/// The daemon, to a client that it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its version.
    pub kctx_version: String,
}
