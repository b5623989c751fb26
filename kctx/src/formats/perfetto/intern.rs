//! Texts that packets name by an id, told once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::proto::{Interned, InternedData};

/// More texts than this and all are forgotten: comms and log lines are as many as one likes.
const TEXTS: usize = 1 << 15;

/// What was told, and what is to be told with the next packet.
#[derive(Debug, Default)]
pub(super) struct Texts {
    categories: Kind,
    events: Kind,
    annotations: Kind,
    values: Kind,
}

/// Ids of one kind of text.
#[derive(Debug, Default)]
struct Kind {
    ids: FxHashMap<Arc<str>, u64>,
    new: Vec<Interned>,
}

impl Kind {
    fn id(&mut self, text: &str) -> u64 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        // 0 is none.
        let id = self.ids.len() as u64 + 1;
        self.ids.insert(Arc::from(text), id);
        self.new.push(Interned {
            iid: Some(id),
            text: Some(text.to_owned()),
        });
        id
    }
}

impl Texts {
    /// Id of a category.
    pub(super) fn category(&mut self, text: &str) -> u64 {
        self.categories.id(text)
    }

    /// Id of an event's name.
    pub(super) fn event(&mut self, text: &str) -> u64 {
        self.events.id(text)
    }

    /// Id of an annotation's name.
    pub(super) fn annotation(&mut self, text: &str) -> u64 {
        self.annotations.id(text)
    }

    /// Id of an annotation's value.
    pub(super) fn value(&mut self, text: &str) -> u64 {
        self.values.id(text)
    }

    /// It is time to forget them.
    pub(super) fn are_too_many(&self) -> bool {
        self.events.ids.len() > TEXTS || self.values.ids.len() > TEXTS
    }

    /// What the next packet has to tell.
    pub(super) fn take_new(&mut self) -> Option<InternedData> {
        let data = InternedData {
            event_categories: std::mem::take(&mut self.categories.new),
            event_names: std::mem::take(&mut self.events.new),
            debug_annotation_names: std::mem::take(&mut self.annotations.new),
            debug_annotation_string_values: std::mem::take(&mut self.values.new),
        };
        (data != InternedData::default()).then_some(data)
    }
}
