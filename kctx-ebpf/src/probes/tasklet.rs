//! irq:tasklet_entry, irq:tasklet_exit (upstream since 6.5, in later 6.1.y too).
//!
//! Tasklets run one after the other inside the TASKLET and HI softirqs, so one slot, which
//! goes with the softirq, holds the start. The tasklet itself may be gone at its exit: only the function's address is used.

use kctx_common::{
    counters::TASKLET,
    record::{TaskletWords, head, kind},
    spill::SpillKey,
};

use crate::{
    emit::{self, Spilled},
    kernel::Memory,
    maps, origin,
};

twin!("tasklet_entry", tasklet_entry, tasklet_entry_raw, entry());
twin!("tasklet_exit", tasklet_exit, tasklet_exit_raw, exit(1: u64));

#[inline(always)]
fn entry<M: Memory>() {
    let Some(cpu) = maps::cpu_state() else { return };
    if cpu.softirq.tasklet_start_ns != 0 && maps::recording() {
        cpu.counters.family[TASKLET].start_without_end += 1;
    }
    let (now, taken_ns) = origin::now_and_taken(cpu);
    cpu.softirq.tasklet_taken_ns = taken_ns;
    cpu.softirq.tasklet_start_ns = now;
}

#[inline(always)]
fn exit<M: Memory>(function: u64) {
    let Some(cpu) = maps::cpu_state() else { return };
    let (now, taken_ns) = origin::now_and_taken(cpu);
    let start_ns = core::mem::replace(&mut cpu.softirq.tasklet_start_ns, 0);
    if !maps::recording() {
        return;
    }
    let service_ns = now.saturating_sub(start_ns);
    let nested_ns = taken_ns
        .wrapping_sub(cpu.softirq.tasklet_taken_ns)
        .min(service_ns);
    let counters = &mut cpu.counters.family[TASKLET];
    if start_ns == 0 {
        counters.end_without_start += 1;
        return;
    }
    let record: TaskletWords = [
        head(kind::TASKLET, 0, 0),
        now,
        service_ns,
        nested_ns,
        function,
    ];
    emit::emit(counters, TASKLET, service_ns, &record, || {
        (
            SpillKey {
                family: kind::TASKLET,
                function,
                ..SpillKey::default()
            },
            Spilled {
                wait_ns: emit::NONE,
                service_ns,
                third_ns: service_ns - nested_ns,
                fourth_ns: emit::NONE,
            },
        )
    });
}
