//! What a test could not ask of this machine. The harness keeps what a test that passes prints, so this goes past it: xtask lists it.

use std::io::Write as _;

/// Says that the running test, or a part of it, asks nothing here, and why.
pub fn left_out(why: impl std::fmt::Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let why = why.to_string().replace('\n', " ");
    // Not the macro, whose output the harness keeps. A closed stdout ends no test.
    let _ = std::io::stdout().write_all(format!("\nKCTX-LEFT-OUT {test}: {why}\n").as_bytes());
}
