//! The `kctx` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kctx::cli::main()
}
