use std::sync::{Arc, Mutex};

use super::*;

/// Comms that a test changes under the resolver's hands, and how often they were asked for.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<(FxHashMap<u32, String>, usize)>>);

impl Kernel {
    fn set(&self, pid: u32, comm: Option<&str>) {
        let comms = &mut self.0.lock().unwrap().0;
        match comm {
            Some(comm) => comms.insert(pid, comm.to_owned()),
            None => comms.remove(&pid),
        };
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Lookup for Kernel {
    fn name(&mut self, _id: u64) -> Option<String> {
        None
    }

    fn function(&mut self, _address: u64) -> Option<String> {
        None
    }

    fn comm(&mut self, pid: u32) -> Option<String> {
        let mut inner = self.0.lock().unwrap();
        inner.1 += 1;
        inner.0.get(&pid).cloned()
    }
}

fn learnt(resolver: &mut Resolver) -> Vec<(u32, String)> {
    let comm = |control| match control {
        Control::Comm { pid, comm } => Some((pid, comm)),
        _ => None,
    };
    resolver
        .take_learnt()
        .into_iter()
        .filter_map(comm)
        .collect()
}

#[test]
fn a_comm_is_asked_for_once_a_window_and_learnt_when_it_is_new() {
    let kernel = Kernel::default();
    kernel.set(7, Some("bash"));
    let mut resolver = Resolver::new(Box::new(kernel.clone()));
    assert_eq!((&*resolver.comm(7), &*resolver.comm(7)), ("bash", "bash"));
    assert_eq!(kernel.asked(), 1);
    assert_eq!(learnt(&mut resolver), [(7, "bash".to_owned())]);
    kernel.set(7, Some("iperf3"));
    assert_eq!(&*resolver.comm(7), "bash", "until the window is closed");
    resolver.window_closed();
    assert_eq!(&*resolver.comm(7), "iperf3");
    assert_eq!(learnt(&mut resolver), [(7, "iperf3".to_owned())]);
    kernel.set(7, None);
    resolver.window_closed();
    assert_eq!(&*resolver.comm(7), "iperf3", "nobody says otherwise");
    assert_eq!(&*resolver.comm(8), UNKNOWN);
    assert!(learnt(&mut resolver).is_empty());
}

#[test]
fn a_told_comm_holds_until_it_is_told_anew() {
    let mut resolver = Resolver::new(Box::new(Recorded));
    let tell = |resolver: &mut Resolver, comm: &str| {
        resolver.told(&Control::Comm {
            pid: 7,
            comm: comm.to_owned(),
        });
    };
    tell(&mut resolver, "bash");
    for _ in 0..3 {
        assert_eq!(&*resolver.comm(7), "bash");
        resolver.window_closed();
    }
    tell(&mut resolver, "iperf3");
    assert_eq!(&*resolver.comm(7), "iperf3");
    assert!(learnt(&mut resolver).is_empty());
}

#[test]
fn comms_are_bounded_and_a_recording_is_told_what_was_forgotten() {
    let kernel = Kernel::default();
    kernel.set(7, Some("bash"));
    let mut resolver = Resolver::new(Box::new(kernel.clone()));
    for pid in 0..=COMMS as u32 {
        resolver.comm(pid);
    }
    resolver.take_learnt();
    resolver.window_closed();
    assert!(resolver.comms.is_empty());
    // A recording still holds "bash".
    kernel.set(7, None);
    assert_eq!(&*resolver.comm(7), UNKNOWN);
    assert_eq!(learnt(&mut resolver), [(7, UNKNOWN.to_owned())]);
}

/// Symbols that are not known at first.
struct Late(Arc<Mutex<Option<&'static str>>>);

impl Lookup for Late {
    fn name(&mut self, _id: u64) -> Option<String> {
        None
    }

    fn function(&mut self, _address: u64) -> Option<String> {
        self.0.lock().unwrap().map(str::to_owned)
    }

    fn comm(&mut self, _pid: u32) -> Option<String> {
        None
    }

    fn renew(&mut self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

#[test]
fn a_function_without_a_name_is_asked_for_again_and_a_recording_is_told() {
    let symbols = Arc::default();
    let mut resolver = Resolver::new(Box::new(Late(Arc::clone(&symbols))));
    assert!(!resolver.renew());
    assert_eq!(&*resolver.function(0x2000), "0x2000");
    assert!(resolver.take_learnt().is_empty());
    *symbols.lock().unwrap() = Some("late_fn");
    assert!(resolver.renew());
    assert_eq!(&*resolver.function(0x2000), "late_fn");
    let told = Control::Function {
        address: 0x2000,
        name: "late_fn".to_owned(),
    };
    assert_eq!(resolver.take_learnt(), [Control::FunctionsRenewed, told]);
}
