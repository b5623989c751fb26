//! module:module_load, module:module_free, module:module_request, initcall:initcall_start,
//! initcall:initcall_finish.
//!
//! A module's init function runs in the task that linked it in, right after `module_load` (`do_init_module`,
//! kernel/module), so the task tells which module an initcall belongs to.
//!
//! Rare, so classic tracepoints: their records hold copies of the names, and their `format` files say
//! where, on kernels without BTF too.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_RB_NO_WAKEUP,
    btf_maps::LruHashMap,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        bpf_probe_read_kernel_str_bytes,
    },
    macros::{btf_map, tracepoint},
    programs::TracePointContext,
};
use aya_log_ebpf::info;
use kctx_common::{
    counters::MODULE,
    globals::NO_OFFSET,
    record::{self, MODULE_NAME_LEN, Module, TASK_COMM_LEN, module_event},
};

use crate::{kernel, maps};

/// A module whose init function is about to run, or runs.
#[repr(C)]
#[derive(Clone, Copy)]
struct Loading {
    init_start_ns: u64,
    name: [u8; MODULE_NAME_LEN],
}

/// By the task that loads it.
#[btf_map]
static LOADING: LruHashMap<u64, Loading, 256> = LruHashMap::new();

#[tracepoint]
pub fn module_load(ctx: TracePointContext) -> u32 {
    let (taints, name) = kernel::module::load();
    event(&ctx, module_event::LOAD, taints, name);
    0
}

#[tracepoint]
pub fn module_free(ctx: TracePointContext) -> u32 {
    event(&ctx, module_event::FREE, NO_OFFSET, kernel::module::free());
    0
}

#[tracepoint]
pub fn module_request(ctx: TracePointContext) -> u32 {
    event(
        &ctx,
        module_event::REQUEST,
        NO_OFFSET,
        kernel::module::request(),
    );
    0
}

#[tracepoint]
pub fn initcall_start(_: TracePointContext) -> u32 {
    if let Some(loading) = LOADING.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: only this task's events touch it; no arguments to the helper.
        unsafe { (*loading).init_start_ns = bpf_ktime_get_ns() };
    }
    0
}

#[tracepoint]
pub fn initcall_finish(ctx: TracePointContext) -> u32 {
    let task = bpf_get_current_pid_tgid();
    let Some(loading) = LOADING.get_ptr(task) else {
        return 0;
    };
    // SAFETY: as above.
    let loading = unsafe { *loading };
    let _ = LOADING.remove(task);
    if loading.init_start_ns == 0 || !maps::recording() {
        return 0;
    }
    let mut record = record_of(&ctx, module_event::INIT);
    record.name = loading.name;
    record.init_ns = record.time_ns.saturating_sub(loading.init_start_ns);
    let ret = kernel::module::init_ret();
    if ret != NO_OFFSET {
        // SAFETY: the offset is that of the tracepoint's format file, and the helper checks the address.
        record.ret = unsafe { ctx.read_at(ret as usize) }.unwrap_or(0);
    }
    emit(&record);
    0
}

/// What all events of this family say.
#[inline(always)]
fn record_of(ctx: &TracePointContext, event: u8) -> Module {
    // SAFETY: neither takes arguments or touches memory.
    let (now, this_cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    Module {
        kind: record::kind::MODULE,
        event,
        reserved: [0; 2],
        taints: 0,
        pid: ctx.tgid(),
        cpu: this_cpu,
        time_ns: now,
        comm: bpf_get_current_comm().unwrap_or([0; TASK_COMM_LEN]),
        name: [0; MODULE_NAME_LEN],
        init_ns: 0,
        ret: 0,
        reserved2: 0,
    }
}

#[inline(always)]
fn emit(record: &Module) {
    let Some(cpu) = maps::cpu_state() else { return };
    let counters = &mut cpu.counters.family[MODULE];
    counters.observed += 1;
    if maps::RARE
        .output(*record, u64::from(BPF_RB_NO_WAKEUP))
        .is_ok()
    {
        counters.streamed += 1;
    } else {
        // A module's name has no histogram to go to: this ring is for such events alone, and holds 500.
        counters.lost_no_spill_row += 1;
    }
}

#[inline(always)]
fn event(ctx: &TracePointContext, event: u8, taints: u64, name: u64) {
    let mut record = record_of(ctx, event);
    // SAFETY: the offsets are those of the tracepoint's format file, and the helpers check the
    // addresses themselves.
    unsafe {
        if taints != NO_OFFSET {
            record.taints = ctx.read_at(taints as usize).unwrap_or(0);
        }
        if name != NO_OFFSET {
            // A __data_loc holds the offset in its low half and the length in its high half.
            let location: u32 = ctx.read_at(name as usize).unwrap_or(0);
            let address = ctx.as_ptr().cast::<u8>().add((location & 0xffff) as usize);
            let _ = bpf_probe_read_kernel_str_bytes(address, &mut record.name);
        }
    }
    if event == module_event::LOAD {
        let loading = Loading {
            init_start_ns: 0,
            name: record.name,
        };
        let _ = LOADING.insert(bpf_get_current_pid_tgid(), loading, 0);
    }
    if !maps::recording() {
        return;
    }
    // Only where --bpf-log set the level: it is read-only data, so else the verifier removes this.
    info!(
        ctx,
        "module event {} by pid {}, taints {:x}", event, record.pid, record.taints
    );
    emit(&record);
}
