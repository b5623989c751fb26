//! What a developer of kctx does.
fn main() {}
