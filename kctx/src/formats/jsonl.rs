//! A JSON object a line, in the stream's order.

use std::io::{self, Write};

use super::{LeftOut, Line, Writer};

/// Writes lines of JSON.
pub struct Jsonl<'a> {
    out: Box<dyn Write + 'a>,
}

impl<'a> Jsonl<'a> {
    /// Onto `out`, which should be buffered.
    #[must_use]
    pub fn new(out: Box<dyn Write + 'a>) -> Self {
        Self { out }
    }
}

impl Writer for Jsonl<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<LeftOut> {
        self.out.flush()?;
        Ok(LeftOut::default())
    }
}
