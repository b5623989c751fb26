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
    /// Field offsets in the classic `module:*` tracepoints, from their `format` files.
    pub const MODULE_LOAD_TAINTS: &str = "MODULE_LOAD_TAINTS";
    /// `__data_loc` of `name` in `module_load`.
    pub const MODULE_LOAD_NAME: &str = "MODULE_LOAD_NAME";
    /// `__data_loc` of `name` in `module_free`.
    pub const MODULE_FREE_NAME: &str = "MODULE_FREE_NAME";
    /// `__data_loc` of `name` in `module_request`.
    pub const MODULE_REQUEST_NAME: &str = "MODULE_REQUEST_NAME";
}
