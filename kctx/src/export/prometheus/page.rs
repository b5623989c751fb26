//! The exposition as bytes, made at most once for each window, format and encoding.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::accept::Exposition;
use super::family::{self, Format};
use super::protobuf::Protobuf;
use super::text::{Dialect, Text};
use crate::export::cumulative::Cumulative;
use crate::export::resource::Resource;
use crate::export::totals::Totals;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// In this format.
    pub exposition: Exposition,
    /// Compressed.
    pub gzip: bool,
}

/// Renders the totals, and keeps what it rendered until there is a newer window. Whoever asks often thus costs no more
/// than what the sending takes.
#[derive(Debug)]
pub struct Pages {
    totals: Arc<Totals>,
    resource: Resource,
    /// Windows that are in the pages.
    folded: u64,
    pages: Vec<(Wanted, Bytes)>,
    rendered: u64,
}

impl Pages {
    /// Of these totals.
    #[must_use]
    pub fn new(totals: Arc<Totals>, resource: Resource) -> Self {
        Self {
            totals,
            resource,
            folded: 0,
            pages: Vec::new(),
            rendered: 0,
        }
    }

    /// The totals as of the last window.
    pub fn page(&mut self, wanted: Wanted) -> io::Result<Bytes> {
        let known = self.totals.fold_queued();
        if known == self.folded
            && let Some((_, page)) = self.pages.iter().find(|(key, _)| *key == wanted)
        {
            return Ok(page.clone());
        }
        // A copy, so that nobody waits for the rendering.
        let (state, folded) = self.totals.read(|state, folded| (state.clone(), folded));
        if folded != self.folded {
            self.pages.clear();
            self.folded = folded;
        }
        let page = Bytes::from(render(&state, &self.resource, wanted)?);
        self.rendered += 1;
        self.pages.push((wanted, page.clone()));
        Ok(page)
    }

    /// How often something was rendered.
    #[must_use]
    pub fn rendered(&self) -> u64 {
        self.rendered
    }
}

/// Renders the state.
pub fn render(state: &Cumulative, resource: &Resource, wanted: Wanted) -> io::Result<Vec<u8>> {
    let mut format: Box<dyn Format> = match wanted.exposition {
        Exposition::Text => Box::new(Text::new(Dialect::Classic)),
        Exposition::OpenMetrics => Box::new(Text::new(Dialect::OpenMetrics)),
        Exposition::Protobuf => Box::new(Protobuf::default()),
    };
    if !wanted.gzip {
        let mut out = Vec::new();
        family::write(state, resource, format.as_mut(), &mut out)?;
        return Ok(out);
    }
    // Text is many times its compressed size: it is never all there.
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut out = io::BufWriter::with_capacity(32 << 10, encoder);
    family::write(state, resource, format.as_mut(), &mut out)?;
    out.flush()?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .finish()
}
