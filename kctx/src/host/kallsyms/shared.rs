//! The symbols of this kernel, read when first asked for and again after modules came or went.
//!
//! /proc/kallsyms has megabytes and takes tens of milliseconds to read. What is the kernel's own is kept: it does
//! not change. The rest is read again at most once a second; where modules come and go all the time less and less
//! often, until it takes a hundredth of a CPU at most. Meanwhile nobody knows what an address in a module is called:
//! the old name could be that of a module that has gone.

use std::{
    io::BufRead,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::Kallsyms;
use crate::host::clock;

/// From one reading to the next at least.
const SHORTEST_WAIT_NS: u64 = 1_000_000_000;

/// Readings that follow each other wait twice as long each time, up to so many times as long as one takes.
const COST_FACTOR: u64 = 100;

/// After so many of the longest waits without a reading the next one waits no longer than the first did.
const QUIET_FACTOR: u64 = 4;

/// Where symbols are read, and the clock.
trait Kernel: Send {
    fn open(&mut self) -> std::io::Result<Box<dyn BufRead>>;
    fn now_ns(&self) -> u64;
}

struct ThisKernel;

impl Kernel for ThisKernel {
    fn open(&mut self) -> std::io::Result<Box<dyn BufRead>> {
        Ok(Box::new(super::open(Path::new("/proc/kallsyms"))?))
    }

    fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }
}

/// What was read, shared by all who ask.
struct Shared {
    kernel: Box<dyn Kernel>,
    core: Arc<Kallsyms>,
    /// `None`: modules came or went since they were read.
    modules: Option<Arc<Kallsyms>>,
    /// When they were read last, and for how long not again.
    read_ns: u64,
    wait_ns: u64,
}

impl Shared {
    fn is_due(&self) -> bool {
        self.kernel.now_ns() >= self.read_ns.saturating_add(self.wait_ns)
    }

    fn view(&self) -> Modules {
        match &self.modules {
            Some(modules) => Modules::Known(Arc::clone(modules)),
            None if self.is_due() => Modules::Due,
            None => Modules::NotYet,
        }
    }

    fn read(&mut self) {
        let began_ns = self.kernel.now_ns();
        let modules = self.try_read().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read /proc/kallsyms");
            Kallsyms::default()
        });
        self.modules = Some(Arc::new(modules));
        let ended_ns = self.kernel.now_ns();
        let took_ns = ended_ns.saturating_sub(began_ns);
        let longest_ns = SHORTEST_WAIT_NS.max(took_ns.saturating_mul(COST_FACTOR));
        let since_ns = began_ns.saturating_sub(self.read_ns);
        self.wait_ns = if since_ns >= longest_ns.saturating_mul(QUIET_FACTOR) {
            SHORTEST_WAIT_NS
        } else {
            (self.wait_ns * 2).clamp(SHORTEST_WAIT_NS, longest_ns)
        };
        self.read_ns = ended_ns;
    }

    fn try_read(&mut self) -> std::io::Result<Kallsyms> {
        let from = self.kernel.open()?;
        if !self.core.is_empty() {
            return Kallsyms::read_modules(from);
        }
        let (core, modules) = Kallsyms::read_by_owner(from)?;
        self.core = Arc::new(core);
        Ok(modules)
    }
}

/// What is known of modules from one [`Symbols::renew`] to the next.
#[derive(Clone)]
enum Modules {
    /// These.
    Known(Arc<Kallsyms>),
    /// What was read no longer holds: the first who needs them reads them.
    Due,
    /// It no longer holds, and they were read just now: nobody knows.
    NotYet,
}

/// A view of the symbols. Its clones share what was read, but what one of them answers for an address changes only
/// where it is renewed.
#[derive(Clone)]
pub struct Symbols {
    shared: Arc<Mutex<Shared>>,
    core: Arc<Kallsyms>,
    modules: Modules,
}

impl Default for Symbols {
    fn default() -> Self {
        Self::of(Box::new(ThisKernel))
    }
}

impl Symbols {
    /// Reads nothing yet.
    fn of(kernel: Box<dyn Kernel>) -> Self {
        let shared = Shared {
            kernel,
            core: Arc::default(),
            modules: None,
            read_ns: 0,
            wait_ns: 0,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            core: Arc::default(),
            modules: Modules::Due,
        }
    }

    /// As [`Kallsyms::function_at`].
    pub fn function_at(&mut self, address: u64) -> Option<String> {
        if let Some(name) = self.core.function_at(address) {
            return Some(name.to_owned());
        }
        let modules = self.modules();
        let name = modules
            .as_ref()
            .and_then(|modules| modules.function_at(address));
        // Once more, since the first reading brings both.
        let name = name.or_else(|| self.core.function_at(address));
        name.map(str::to_owned)
    }

    /// As [`Kallsyms::function_around`].
    pub fn function_around(&mut self, address: u64) -> Option<String> {
        let known = self.core.contains(address);
        let modules = if known { None } else { self.modules() };
        // Beyond the kernel's image its last symbol is below any module's function.
        let name = match self.core.contains(address) {
            true => self.core.function_around(address),
            false => modules
                .as_ref()
                .and_then(|modules| modules.function_around(address)),
        };
        name.map(str::to_owned)
    }

    /// What was read of modules no longer holds, for no view.
    pub fn modules_changed(&mut self) {
        self.take_over(|shared| shared.modules = None);
    }

    /// Takes over what others have found out since; true where addresses may have a name now that had none.
    pub fn renew(&mut self) -> bool {
        let had_none = matches!(self.modules, Modules::NotYet);
        self.take_over(|_| {});
        had_none && !matches!(self.modules, Modules::NotYet)
    }

    /// The modules' symbols, read where that is due; `None`: not yet.
    fn modules(&mut self) -> Option<Arc<Kallsyms>> {
        if matches!(self.modules, Modules::Due) {
            self.take_over(|shared| {
                if shared.modules.is_none() {
                    shared.read();
                }
            });
        }
        match &self.modules {
            Modules::Known(modules) => Some(Arc::clone(modules)),
            Modules::Due | Modules::NotYet => None,
        }
    }

    fn take_over(&mut self, first: impl FnOnce(&mut Shared)) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        first(&mut shared);
        (self.core, self.modules) = (Arc::clone(&shared.core), shared.view());
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
