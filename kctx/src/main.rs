//! The `kctx` command.
fn main() {}
