//! What raised or queued something, in words.

use crate::{aggregate::window::OriginKind, report::summary::OriginSummary};

/// `interrupt 36 (virtio1)`, `udpf (pid 9014)`, `a function call from another CPU (CAL)`.
pub(in crate::diagnose) fn words(origin: &OriginSummary) -> String {
    let number = origin.number.unwrap_or(0);
    match (origin.kind, origin.name.as_str()) {
        (OriginKind::Irq, "") => format!("interrupt {number}"),
        (OriginKind::Irq, name) => format!("interrupt {number} ({name})"),
        (OriginKind::Vector, "CAL") => "a function call from another CPU (CAL)".to_owned(),
        (OriginKind::Vector, "LOC") => "the local timer (LOC)".to_owned(),
        (OriginKind::Vector, "RES") => "a reschedule interrupt (RES)".to_owned(),
        (OriginKind::Vector, name) => format!("the vector {name}"),
        (OriginKind::Softirq, name) => format!("the softirq {name}"),
        (OriginKind::Task, name) if origin.number.is_none() => format!("tasks called {name}"),
        (OriginKind::Task, name) => format!("{name} (pid {number})"),
        (OriginKind::Idle, _) => "the idle task, for another CPU".to_owned(),
        (OriginKind::Unknown, _) => "something that was not seen".to_owned(),
    }
}
