//! Where a dump begins: all that was told before and still holds.

use std::collections::BTreeMap;

use super::{dictionary::Dictionary, edge::Edge};
use crate::{
    aggregate::window::{Family, ProbeStatus},
    capture::events::Encoder,
    host::HostIdentity,
    source::{Control, RunningThread},
};

/// Names and functions, and comms of processes: as many as the resolver keeps of them.
const NAMES: usize = 16_384;
const COMMS: usize = 1 << 16;

/// What a window told that holds beyond it.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A name, a function, a comm, or the governor's word.
    Control(Control),
    /// Functions told so far may be called otherwise: a module came or went.
    FunctionsForgotten,
}

/// The state of the stream at a window's edge.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) monotonic_ns: u64,
    unix_ns: u64,
    probes: Vec<ProbeStatus>,
    host: HostIdentity,
    names: Dictionary<u64>,
    functions: Dictionary<u64>,
    comms: Dictionary<u32>,
    limited: BTreeMap<Family, Control>,
    helpless: Option<Control>,
    running: Vec<RunningThread>,
}

impl Head {
    /// At the stream's start.
    pub(super) fn new(
        monotonic_ns: u64,
        unix_ns: u64,
        probes: &[ProbeStatus],
        host: &HostIdentity,
    ) -> Self {
        Self {
            monotonic_ns,
            unix_ns,
            probes: probes.to_vec(),
            host: host.clone(),
            names: Dictionary::new(NAMES),
            functions: Dictionary::new(NAMES),
            comms: Dictionary::new(COMMS),
            limited: BTreeMap::new(),
            helpless: None,
            running: Vec::new(),
        }
    }

    /// The threads that ran when the first window opened.
    pub(super) fn baseline(&mut self, running: &[RunningThread]) {
        self.running = running.to_vec();
    }

    /// Moves on to the end of a window.
    pub(super) fn advance(&mut self, told: &[Told], edge: &Edge) {
        for told in told {
            match told {
                Told::FunctionsForgotten => self.functions.clear(),
                Told::Control(control) => self.told(control),
            }
        }
        self.monotonic_ns = edge.monotonic_ns;
        self.unix_ns = edge.unix_ns;
        self.host.taint = edge.taint.or(self.host.taint);
        self.running.clone_from(&edge.running);
    }

    fn told(&mut self, control: &Control) {
        match control {
            Control::Name { id, text } => self.names.tell(*id, text),
            Control::Function { address, name } => self.functions.tell(*address, name),
            Control::Comm { pid, comm } => self.comms.tell(*pid, comm),
            Control::Governor {
                family, limited, ..
            } => {
                if *limited {
                    self.limited.insert(*family, control.clone());
                } else {
                    self.limited.remove(family);
                }
            }
            Control::GovernorHelpless { reason, .. } => {
                self.helpless = reason.is_some().then(|| control.clone());
            }
            _ => {}
        }
    }

    /// As the first segment of a dump.
    pub(super) fn segment(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.control(&Control::Start {
            monotonic_ns: self.monotonic_ns,
            unix_ns: self.unix_ns,
            probes: self.probes.clone(),
            host: Box::new(self.host.clone()),
        });
        for (id, text) in self.names.entries() {
            let text = text.to_owned();
            encoder.control(&Control::Name { id, text });
        }
        for (address, name) in self.functions.entries() {
            let name = name.to_owned();
            encoder.control(&Control::Function { address, name });
        }
        for (pid, comm) in self.comms.entries() {
            let comm = comm.to_owned();
            encoder.control(&Control::Comm { pid, comm });
        }
        for control in self.limited.values().chain(&self.helpless) {
            encoder.control(control);
        }
        encoder.control(&Control::Running(self.running.clone()));
        encoder.finish()
    }
}
