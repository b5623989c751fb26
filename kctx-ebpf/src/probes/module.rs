//! module:module_load, module:module_free, module:module_request.
//!
//! Rare, so classic tracepoints: their records hold copies of the names, and their `format` files say
//! where, on kernels without BTF too.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{
        bpf_get_current_comm, bpf_get_smp_processor_id, bpf_ktime_get_ns,
        bpf_probe_read_kernel_str_bytes,
    },
    macros::tracepoint,
    programs::TracePointContext,
};
use aya_log_ebpf::info;
use kctx_common::{
    counters::MODULE,
    globals::NO_OFFSET,
    record::{self, MODULE_NAME_LEN, Module, TASK_COMM_LEN, module_event},
};

use crate::{kernel, maps};

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

#[inline(always)]
fn event(ctx: &TracePointContext, event: u8, taints: u64, name: u64) {
    if !maps::recording() {
        return;
    }
    let Some(cpu) = maps::cpu_state() else { return };
    // SAFETY: neither takes arguments or touches memory.
    let (now, this_cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    let mut record = Module {
        kind: record::kind::MODULE,
        event,
        reserved: [0; 2],
        taints: 0,
        pid: ctx.tgid(),
        cpu: this_cpu,
        time_ns: now,
        comm: bpf_get_current_comm().unwrap_or([0; TASK_COMM_LEN]),
        name: [0; MODULE_NAME_LEN],
    };
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
    // Only where --bpf-log set the level: it is read-only data, so else the verifier removes this.
    info!(
        ctx,
        "module event {} by pid {}, taints {:x}", event, record.pid, record.taints
    );
    let counters = &mut cpu.counters.family[MODULE];
    counters.observed += 1;
    if maps::RARE
        .output(record, u64::from(BPF_RB_NO_WAKEUP))
        .is_ok()
    {
        counters.streamed += 1;
    } else {
        // A module's name has no histogram to go to: this ring is for such events alone, and holds 600.
        counters.lost_no_spill_row += 1;
    }
}
