//! How wide what is printed may be.

use std::{io::IsTerminal as _, path::Path};

/// Of a file or a pipe: readable in most viewers.
const NOT_A_TERMINAL: usize = 100;

/// Narrower than this nothing can be laid out, and it is what a terminal says that does not know.
const NARROWEST: usize = 40;

/// Columns of the terminal that stdout is, or what the environment's COLUMNS says of it; 100 where the report goes
/// elsewhere.
pub(super) fn of_output(file: Option<&Path>) -> usize {
    if file.is_some() || !std::io::stdout().is_terminal() {
        return NOT_A_TERMINAL;
    }
    let asked = std::env::var("COLUMNS").ok();
    let asked = asked.and_then(|text| text.trim().parse::<usize>().ok());
    let size = || rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let columns = asked.or_else(|| size().map(|size| usize::from(size.ws_col)));
    match columns {
        Some(columns) if columns >= NARROWEST => columns,
        _ => NOT_A_TERMINAL,
    }
}
