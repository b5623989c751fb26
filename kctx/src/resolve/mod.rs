//! From ids and addresses to names.

pub mod role;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::{aggregate::window::UNKNOWN, source::Control};

/// Vector names in the order of their numbers, as /proc/softirqs has them (`softirq_to_name`,
/// kernel/softirq.c; unchanged from 5.10 to 7.3).
pub const SOFTIRQ_VECTORS: [&str; kctx_common::record::NR_SOFTIRQS] = [
    "HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU",
];

/// Where names come from that are not known yet.
pub trait Lookup {
    /// The text of an interned name.
    fn name(&mut self, id: u64) -> Option<String>;
    /// The name of the function that starts at an address.
    fn function(&mut self, address: u64) -> Option<String>;
    /// Modules came or went: addresses may mean other functions now.
    fn modules_changed(&mut self) {}
}

/// Nothing to ask: a recorded stream brings its names with it.
#[derive(Debug, Default)]
pub struct Recorded;

impl Lookup for Recorded {
    fn name(&mut self, _id: u64) -> Option<String> {
        None
    }

    fn function(&mut self, _address: u64) -> Option<String> {
        None
    }
}

/// Names known so far, each asked for once.
pub struct Resolver {
    lookup: Box<dyn Lookup + Send>,
    names: FxHashMap<u64, Arc<str>>,
    functions: FxHashMap<u64, Arc<str>>,
    learnt: Vec<Control>,
}

impl Resolver {
    /// A resolver that asks `lookup` for what it does not know.
    #[must_use]
    pub fn new(lookup: Box<dyn Lookup + Send>) -> Self {
        Self {
            lookup,
            names: FxHashMap::default(),
            functions: FxHashMap::default(),
            learnt: Vec::new(),
        }
    }

    /// The text of an interned name; [`UNKNOWN`] for 0 and for what nobody knows.
    pub fn name(&mut self, id: u64) -> Arc<str> {
        if id == 0 {
            return Arc::from(UNKNOWN);
        }
        if let Some(text) = self.names.get(&id) {
            return Arc::clone(text);
        }
        let Some(text) = self.lookup.name(id) else {
            // Not kept: the table may have been full for a moment.
            return Arc::from(UNKNOWN);
        };
        self.learnt.push(Control::Name {
            id,
            text: text.clone(),
        });
        let text: Arc<str> = Arc::from(text);
        self.names.insert(id, Arc::clone(&text));
        text
    }

    /// The name of a function; its address in hex where nobody knows it.
    pub fn function(&mut self, address: u64) -> Arc<str> {
        if let Some(name) = self.functions.get(&address) {
            return Arc::clone(name);
        }
        let name = match self.lookup.function(address) {
            Some(name) => {
                self.learnt.push(Control::Function {
                    address,
                    name: name.clone(),
                });
                name
            }
            None => format!("{address:#x}"),
        };
        let name: Arc<str> = Arc::from(name);
        self.functions.insert(address, Arc::clone(&name));
        name
    }

    /// Takes over what a recorded stream says.
    pub fn told(&mut self, control: &Control) {
        match control {
            Control::Name { id, text } => {
                self.names.insert(*id, Arc::from(text.as_str()));
            }
            Control::Function { address, name } => {
                self.functions.insert(*address, Arc::from(name.as_str()));
            }
            _ => {}
        }
    }

    /// Forgets functions that are no longer certain: after a module event.
    pub fn modules_changed(&mut self) {
        self.functions.clear();
        self.lookup.modules_changed();
    }

    /// What was learnt since the last call, for a recording: it goes before the records that needed it.
    pub fn take_learnt(&mut self) -> Vec<Control> {
        std::mem::take(&mut self.learnt)
    }
}

/// This kernel: the probes' names table, and /proc/kallsyms.
#[cfg(kctx_live)]
pub struct Live {
    names: crate::probe::books::Names,
    kallsyms: Option<crate::host::kallsyms::Kallsyms>,
    stale: bool,
}

#[cfg(kctx_live)]
impl Live {
    /// Reads nothing yet: kallsyms is read when the first function is asked for.
    #[must_use]
    pub fn new(names: crate::probe::books::Names) -> Self {
        Self {
            names,
            kallsyms: None,
            stale: false,
        }
    }

    fn read(&mut self) {
        let path = std::path::Path::new("/proc/kallsyms");
        self.kallsyms = Some(
            crate::host::kallsyms::Kallsyms::read(path)
                .inspect_err(|error| tracing::warn!(%error, "cannot read /proc/kallsyms"))
                .unwrap_or_default(),
        );
        self.stale = false;
    }
}

#[cfg(kctx_live)]
impl Lookup for Live {
    fn name(&mut self, id: u64) -> Option<String> {
        self.names.get(id)
    }

    fn function(&mut self, address: u64) -> Option<String> {
        if self.kallsyms.is_none() || self.stale {
            self.read();
        }
        self.kallsyms
            .as_ref()?
            .function_at(address)
            .map(str::to_owned)
    }

    fn modules_changed(&mut self) {
        self.stale = true;
    }
}
