//! Programs on the tracepoints that the hot ones of kctx use, for benchmarks: empty ones, the floor, since nobody who
//! attaches there can cost less; and for softirqs ones that read the clock and keep what it said, since nobody who measures
//! a time there can, and ones that add up waits and runs, of all vectors together, since nobody who measures both can.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::PerCpuArray,
    helpers::bpf_ktime_get_ns,
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};

/// What the clock said last, on this CPU.
#[btf_map]
static LAST: PerCpuArray<u64, 1> = PerCpuArray::new();

macro_rules! clock {
    ($($tracepoint:literal $name:ident),* $(,)?) => {
        $(
            #[btf_tracepoint(function = $tracepoint)]
            pub fn $name(_ctx: BtfTracePointContext) -> i32 {
                if let Some(last) = LAST.get_ptr_mut(0) {
                    // SAFETY: the map's element lives as long as the program, and belongs to this CPU.
                    unsafe { *last = bpf_ktime_get_ns() };
                }
                0
            }
        )*
    };
}

clock!(
    "softirq_raise" softirq_raise_clock,
    "softirq_entry" softirq_entry_clock,
    "softirq_exit" softirq_exit_clock,
);

/// The least that waits and runs can be told by.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sums {
    /// 0 where none is pending.
    raised_ns: u64,
    entered_ns: u64,
    waited_ns: u64,
    ran_ns: u64,
}

#[btf_map]
static SUMS: PerCpuArray<Sums, 1> = PerCpuArray::new();

macro_rules! sum {
    ($($tracepoint:literal $name:ident $do:expr),* $(,)?) => {
        $(
            #[btf_tracepoint(function = $tracepoint)]
            pub fn $name(_ctx: BtfTracePointContext) -> i32 {
                if let Some(sums) = SUMS.get_ptr_mut(0) {
                    // SAFETY: the map's element lives as long as the program, and belongs to this CPU. An interrupt's raise may come
                    // in between and write the same words: nobody reads the sums.
                    let (sums, now) = unsafe { (&mut *sums, bpf_ktime_get_ns()) };
                    let each: fn(&mut Sums, u64) = $do;
                    each(sums, now);
                }
                0
            }
        )*
    };
}

sum!(
    "softirq_raise" softirq_raise_sum |sums, now| {
        if sums.raised_ns == 0 {
            sums.raised_ns = now;
        }
    },
    "softirq_entry" softirq_entry_sum |sums, now| {
        let raised_ns = core::mem::replace(&mut sums.raised_ns, 0);
        if raised_ns != 0 {
            sums.waited_ns += now - raised_ns;
        }
        sums.entered_ns = now;
    },
    "softirq_exit" softirq_exit_sum |sums, now| {
        sums.ran_ns += now - sums.entered_ns;
    },
);

macro_rules! empty {
    ($($tracepoint:literal $name:ident),* $(,)?) => {
        $(
            #[btf_tracepoint(function = $tracepoint)]
            pub fn $name(_ctx: BtfTracePointContext) -> i32 {
                0
            }
        )*
    };
}

empty!(
    "softirq_raise" softirq_raise,
    "softirq_entry" softirq_entry,
    "softirq_exit" softirq_exit,
    "irq_handler_entry" irq_handler_entry,
    "irq_handler_exit" irq_handler_exit,
    "local_timer_entry" local_timer_entry,
    "local_timer_exit" local_timer_exit,
    "reschedule_entry" reschedule_entry,
    "reschedule_exit" reschedule_exit,
    "call_function_entry" call_function_entry,
    "call_function_exit" call_function_exit,
    "call_function_single_entry" call_function_single_entry,
    "call_function_single_exit" call_function_single_exit,
    "napi_poll" napi_poll,
    "sched_switch" sched_switch,
    "sched_wakeup" sched_wakeup,
    "workqueue_queue_work" workqueue_queue_work,
    "workqueue_activate_work" workqueue_activate_work,
    "workqueue_execute_start" workqueue_execute_start,
    "workqueue_execute_end" workqueue_execute_end,
);

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could get here: an endless loop is never accepted.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
