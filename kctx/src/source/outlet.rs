//! From the drain to the thread of the pipeline. What comes together goes over together: each time wakes that thread, which
//! on a machine at rest costs more than all that it then does.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Item, batches::BATCH_BYTES};

/// What may wait for the pipeline: at [`BATCH_BYTES`] each, 16 MiB.
const PIECES: usize = 64;

/// The receiver went away: whoever it was has ended, and so does the drain.
#[derive(Debug)]
pub struct Disconnected;

/// The drain's end.
#[derive(Debug)]
pub struct Outlet {
    out: SyncSender<Vec<Item>>,
    held: Vec<Item>,
    held_bytes: usize,
}

/// The pipeline's end: what came, in its order, until the drain has ended.
#[derive(Debug)]
pub struct Inlet(Receiver<Vec<Item>>);

/// Both ends.
#[must_use]
pub fn channel() -> (Outlet, Inlet) {
    let (out, inlet) = sync_channel(PIECES);
    let outlet = Outlet {
        out,
        held: Vec::new(),
        held_bytes: 0,
    };
    (outlet, Inlet(inlet))
}

impl Outlet {
    /// Takes it along: it goes over at the next [`Self::flush`], or as soon as there is enough. Where the pipeline has too
    /// much before it this waits.
    pub fn send(&mut self, item: Item) -> Result<(), Disconnected> {
        let bytes = match &item {
            Item::Records { batch, .. } => batch.len(),
            Item::Control(_) => 0,
        };
        if self.held_bytes + bytes > BATCH_BYTES {
            self.flush()?;
        }
        self.held_bytes += bytes;
        self.held.push(item);
        Ok(())
    }

    /// Hands over all that it holds.
    pub fn flush(&mut self) -> Result<(), Disconnected> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.held_bytes = 0;
        let held = std::mem::take(&mut self.held);
        self.out.send(held).map_err(|_| Disconnected)
    }
}

impl Drop for Outlet {
    /// However the drain ends, what it holds still goes over.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

impl IntoIterator for Inlet {
    type Item = Item;
    type IntoIter = std::iter::Flatten<std::sync::mpsc::IntoIter<Vec<Item>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::source::Control;

    fn records(bytes: usize) -> Item {
        let batch = Bytes::from(vec![0; bytes]);
        Item::Records { cpu: 0, batch }
    }

    fn renewed() -> Item {
        Item::Control(Box::new(Control::FunctionsRenewed))
    }

    #[test]
    fn what_is_little_goes_over_together_and_nothing_is_left() {
        let (mut outlet, inlet) = channel();
        outlet.send(records(64)).unwrap();
        outlet.send(renewed()).unwrap();
        assert!(inlet.0.try_recv().is_err());
        outlet.flush().unwrap();
        outlet.flush().unwrap();
        assert_eq!(inlet.0.try_recv(), Ok(vec![records(64), renewed()]));
        assert!(inlet.0.try_recv().is_err());
    }

    #[test]
    fn a_piece_is_no_larger_than_a_batch() {
        let (mut outlet, inlet) = channel();
        for _ in 0..5 {
            outlet.send(records(BATCH_BYTES / 2)).unwrap();
        }
        outlet.send(records(BATCH_BYTES)).unwrap();
        drop(outlet);
        let pieces: Vec<_> = inlet.0.iter().map(|piece| piece.len()).collect();
        assert_eq!(pieces, [2, 2, 1, 1]);
    }

    #[test]
    fn all_arrives_in_its_order() {
        let (mut outlet, inlet) = channel();
        let all = [records(BATCH_BYTES), renewed(), records(1), records(2)];
        for item in &all {
            outlet.send(item.clone()).unwrap();
        }
        drop(outlet);
        assert!(inlet.into_iter().eq(all));
    }

    #[test]
    fn a_pipeline_that_is_gone_ends_it() {
        let (mut outlet, inlet) = channel();
        drop(inlet);
        outlet.send(records(1)).unwrap();
        assert!(outlet.flush().is_err());
    }
}
