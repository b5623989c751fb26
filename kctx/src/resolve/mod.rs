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

/// Rows in /proc/interrupts of the vectors that have no interrupt number, in the order of
/// [`kctx_common::record::vector_class`].
pub const VECTOR_CLASSES: [&str; kctx_common::record::vector_class::COUNT] =
    ["LOC", "RES", "CAL", "IWI"];

/// Where names come from that are not known yet.
pub trait Lookup {
    /// The text of an interned name.
    fn name(&mut self, id: u64) -> Option<String>;
    /// The name of the function that starts at an address.
    fn function(&mut self, address: u64) -> Option<String>;
    /// The comm of a process that raised or queued something.
    fn comm(&mut self, pid: u32) -> Option<String>;
    /// Whether what was told once can be asked for again, and so may be forgotten.
    fn may_ask_again(&self) -> bool {
        true
    }
    /// Modules came or went: addresses may mean other functions now.
    fn modules_changed(&mut self) {}
    /// A piece of the stream begins. What was said of an address holds until the next; true where one may have a
    /// name now that had none.
    fn renew(&mut self) -> bool {
        false
    }
}

/// Nothing to ask: a recorded stream brings its names with it.
#[derive(Debug, Default)]
pub struct Recorded;

impl Lookup for Recorded {
    fn name(&mut self, _id: u64) -> Option<String> {
        None
    }

    fn may_ask_again(&self) -> bool {
        false
    }

    fn function(&mut self, _address: u64) -> Option<String> {
        None
    }

    fn comm(&mut self, _pid: u32) -> Option<String> {
        None
    }
}

/// Names and functions that are kept from one window to the next, each; more are asked for again.
const NAMES: usize = 16_384;

/// Comms that are remembered beyond their window.
const COMMS: usize = 1 << 16;

/// A process's comm, as far as known.
struct Comm {
    text: Arc<str>,
    /// The window in which it was asked for last: a process may be another in the next, or call itself
    /// otherwise.
    asked: u64,
    /// The stream told it, and will not do so again.
    told: bool,
}

/// Names known so far, each asked for once.
pub struct Resolver {
    lookup: Box<dyn Lookup + Send>,
    names: FxHashMap<u64, Arc<str>>,
    functions: FxHashMap<u64, Arc<str>>,
    comms: FxHashMap<u32, Comm>,
    /// Number of the window that is open.
    window: u64,
    /// Some comms were forgotten: a recording may hold another than the one that is not known now.
    forgot_comms: bool,
    /// How often functions were forgotten since modules had come or gone.
    functions_forgotten: u64,
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
            comms: FxHashMap::default(),
            window: 0,
            forgot_comms: false,
            functions_forgotten: 0,
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
        let Some(name) = self.lookup.function(address) else {
            // Not kept: it may have a name once the symbols are read again.
            return Arc::from(format!("{address:#x}"));
        };
        self.learnt.push(Control::Function {
            address,
            name: name.clone(),
        });
        let name: Arc<str> = Arc::from(name);
        self.functions.insert(address, Arc::clone(&name));
        name
    }

    /// The comm of a process; [`UNKNOWN`] where nobody knows it. Asked for once a window.
    pub fn comm(&mut self, pid: u32) -> Arc<str> {
        if let Some(known) = self.comms.get(&pid)
            && known.asked == self.window
        {
            return Arc::clone(&known.text);
        }
        let known = self.comms.get(&pid);
        let (text, told) = match (self.lookup.comm(pid), known) {
            (Some(text), Some(known)) if *text == *known.text => {
                (Arc::clone(&known.text), known.told)
            }
            (Some(text), _) => {
                self.learn_comm(pid, &text);
                (Arc::from(text), false)
            }
            (None, Some(known)) => (Arc::clone(&known.text), known.told),
            (None, None) => {
                if self.forgot_comms {
                    self.learn_comm(pid, UNKNOWN);
                }
                (Arc::from(UNKNOWN), false)
            }
        };
        let comm = Comm {
            text: Arc::clone(&text),
            asked: self.window,
            told,
        };
        self.comms.insert(pid, comm);
        text
    }

    fn learn_comm(&mut self, pid: u32, comm: &str) {
        self.learnt.push(Control::Comm {
            pid,
            comm: comm.to_owned(),
        });
    }

    /// A window was closed: what may change is asked for anew.
    pub fn window_closed(&mut self) {
        self.window += 1;
        if self.lookup.may_ask_again() {
            if self.functions.len() > NAMES {
                self.functions.clear();
            }
            if self.names.len() > NAMES {
                self.names.clear();
            }
        }
        if self.comms.len() > COMMS {
            self.comms.retain(|_, comm| comm.told);
            self.forgot_comms = true;
        }
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
            Control::Comm { pid, comm } => {
                let comm = Comm {
                    text: Arc::from(comm.as_str()),
                    asked: self.window,
                    told: true,
                };
                self.comms.insert(*pid, comm);
            }
            _ => {}
        }
    }

    /// Forgets functions that are no longer certain: after a module event.
    pub fn modules_changed(&mut self) {
        self.functions.clear();
        self.functions_forgotten += 1;
        self.lookup.modules_changed();
    }

    /// How often functions were forgotten since modules had come or gone: what was told of them before holds no longer.
    #[must_use]
    pub fn functions_forgotten(&self) -> u64 {
        self.functions_forgotten
    }

    /// A piece of the stream begins. True where functions that had no name are to be asked for again; a recording is
    /// told, since it must not do so earlier or later.
    pub fn renew(&mut self) -> bool {
        let renewed = self.lookup.renew();
        if renewed {
            self.learnt.push(Control::FunctionsRenewed);
        }
        renewed
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
    symbols: crate::host::kallsyms::Symbols,
}

#[cfg(kctx_live)]
impl Live {
    /// Reads nothing yet: kallsyms is read when the first function is asked for.
    #[must_use]
    pub fn new(names: crate::probe::books::Names, symbols: crate::host::kallsyms::Symbols) -> Self {
        Self { names, symbols }
    }
}

#[cfg(kctx_live)]
impl Lookup for Live {
    fn name(&mut self, id: u64) -> Option<String> {
        self.names.get(id)
    }

    fn function(&mut self, address: u64) -> Option<String> {
        self.symbols.function_at(address)
    }

    fn comm(&mut self, pid: u32) -> Option<String> {
        self.names.comm(pid)
    }

    fn modules_changed(&mut self) {
        self.symbols.modules_changed();
    }

    fn renew(&mut self) -> bool {
        self.symbols.renew()
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
