//! The globals that tell the programs where kernel fields lie.

use std::path::Path;

use kctx_common::globals::{NO_OFFSET, name};

use crate::host::{btf::Btf, tracefs};

/// Name and value of each global.
#[derive(Debug)]
pub(super) struct Offsets(pub(super) Vec<(&'static str, u64)>);

/// Fields of `task_struct` without which no kernel thread is followed.
const TASK: [&str; 4] = [
    name::TASK_FLAGS,
    name::TASK_PID,
    name::TASK_COMM,
    name::TASK_STATE,
];

impl Offsets {
    /// The global of a task's field of which the kernel's BTF does not say where it lies, if there is one.
    pub(super) fn unknown_of_task(&self) -> Option<&'static str> {
        let unknown = self.0.iter().filter(|(_, value)| *value == NO_OFFSET);
        unknown
            .map(|(name, _)| *name)
            .find(|name| TASK.contains(name))
    }

    /// What the kernel's BTF and its `format` files say; [`NO_OFFSET`] for what they don't.
    pub(super) fn find(btf: Option<&Btf>, tracefs: Option<&Path>) -> Self {
        let member = |structure: &str, field: &str| {
            btf.and_then(|btf| btf.member(structure, field).ok().flatten())
        };
        let offset =
            |structure: &str, field: &str| member(structure, field).map_or(NO_OFFSET, |m| m.offset);
        let field_of = |group: &str, event: &str, field: &str| {
            tracefs
                .and_then(|path| tracefs::field_offset(path, group, event, field))
                .unwrap_or(NO_OFFSET)
        };
        let field = |event: &str, field: &str| field_of("module", event, field);
        Self(vec![
            (name::WORK_FUNC, offset("work_struct", "func")),
            (name::PWQ_WQ, offset("pool_workqueue", "wq")),
            (name::WQ_NAME, offset("workqueue_struct", "name")),
            (
                name::WQ_NAME_LEN,
                member("workqueue_struct", "name")
                    .and_then(|m| m.elements)
                    .map_or(0, u64::from),
            ),
            (name::IRQACTION_NAME, offset("irqaction", "name")),
            (name::TASK_FLAGS, offset("task_struct", "flags")),
            (name::TASK_PID, offset("task_struct", "pid")),
            (name::TASK_COMM, offset("task_struct", "comm")),
            (
                name::TASK_STATE,
                // `state` before 5.14 (commit 2f064a59a11f).
                match offset("task_struct", "__state") {
                    NO_OFFSET => offset("task_struct", "state"),
                    found => found,
                },
            ),
            (
                name::TASK_SOFTIRQ_DISABLE_CNT,
                // PREEMPT_RT only.
                offset("task_struct", "softirq_disable_cnt"),
            ),
            (name::NAPI_DEV, offset("napi_struct", "dev")),
            (name::NAPI_ID, offset("napi_struct", "napi_id")),
            (name::NET_DEVICE_NAME, offset("net_device", "name")),
            (name::MODULE_LOAD_TAINTS, field("module_load", "taints")),
            (name::MODULE_LOAD_NAME, field("module_load", "name")),
            (name::MODULE_FREE_NAME, field("module_free", "name")),
            (name::MODULE_REQUEST_NAME, field("module_request", "name")),
            (
                name::INITCALL_FINISH_RET,
                field_of("initcall", "initcall_finish", "ret"),
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_needs_all_of_its_fields_and_no_other() {
        let mut all: Vec<(&str, u64)> = TASK.iter().map(|name| (*name, 8)).collect();
        all.push((name::TASK_SOFTIRQ_DISABLE_CNT, NO_OFFSET));
        assert_eq!(Offsets(all.clone()).unknown_of_task(), None);
        all[2].1 = NO_OFFSET;
        assert_eq!(Offsets(all).unknown_of_task(), Some(name::TASK_COMM));
        assert!(Offsets::find(None, None).unknown_of_task().is_some());
    }
}
