//! Read-only globals that userspace sets before the programs are loaded.

/// An offset that the kernel's BTF did not give: the field is not read.
pub const NO_OFFSET: u64 = u64::MAX;

/// Names of the globals, each a `u64` in the object's .rodata.
pub mod name {
    /// Bit n: softirq vector n is measured. All bits: every vector.
    pub const SOFTIRQ_VECTORS: &str = "SOFTIRQ_VECTORS";
    /// `struct work_struct::func`
    pub const WORK_FUNC: &str = "WORK_FUNC";
    /// `struct pool_workqueue::wq`
    pub const PWQ_WQ: &str = "PWQ_WQ";
    /// `struct workqueue_struct::name`
    pub const WQ_NAME: &str = "WQ_NAME";
    /// Length of `struct workqueue_struct::name`
    pub const WQ_NAME_LEN: &str = "WQ_NAME_LEN";
    /// `struct irqaction::name`
    pub const IRQACTION_NAME: &str = "IRQACTION_NAME";
    /// `struct task_struct::flags`
    pub const TASK_FLAGS: &str = "TASK_FLAGS";
    /// `struct task_struct::pid`
    pub const TASK_PID: &str = "TASK_PID";
    /// `struct task_struct::comm`
    pub const TASK_COMM: &str = "TASK_COMM";
    /// `struct task_struct::__state` (`state` before 5.14)
    pub const TASK_STATE: &str = "TASK_STATE";
    /// `struct task_struct::softirq_disable_cnt` (PREEMPT_RT only)
    pub const TASK_SOFTIRQ_DISABLE_CNT: &str = "TASK_SOFTIRQ_DISABLE_CNT";
    /// `struct napi_struct::dev`
    pub const NAPI_DEV: &str = "NAPI_DEV";
    /// `struct napi_struct::napi_id`
    pub const NAPI_ID: &str = "NAPI_ID";
    /// `struct net_device::name`
    pub const NET_DEVICE_NAME: &str = "NET_DEVICE_NAME";
    /// Durations from this on go through the ring even where the governor keeps a family from it.
    pub const OUTLIER_NS: &str = "OUTLIER_NS";
    /// Field offsets in the classic `module:*` tracepoints, from their `format` files.
    pub const MODULE_LOAD_TAINTS: &str = "MODULE_LOAD_TAINTS";
    /// `__data_loc` of `name` in `module_load`.
    pub const MODULE_LOAD_NAME: &str = "MODULE_LOAD_NAME";
    /// `__data_loc` of `name` in `module_free`.
    pub const MODULE_FREE_NAME: &str = "MODULE_FREE_NAME";
    /// `__data_loc` of `name` in `module_request`.
    pub const MODULE_REQUEST_NAME: &str = "MODULE_REQUEST_NAME";
    /// `ret` in `initcall_finish`.
    pub const INITCALL_FINISH_RET: &str = "INITCALL_FINISH_RET";
}

/// Bits of the gate, the one variable that userspace writes while the programs run.
pub mod gate {
    /// A window is open.
    pub const OPEN: u64 = 1 << 0;
    /// Switches between tasks are followed: what the programs know of the running task stays true.
    pub const SWITCHES: u64 = 1 << 1;
    /// Bit of the first family that the governor keeps from the rings, in the order of
    /// [`crate::counters`].
    pub const GOVERNED: u32 = 8;
}
