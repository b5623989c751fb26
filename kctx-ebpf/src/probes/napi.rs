//! napi:napi_poll, which fires after each poll.
//!
//! A poll begins where the poll before it in the same NET_RX run ended, or with that run; in a NAPI
//! thread, with the switch to it. A task that polls by itself (busy polling, netpoll) leaves no trace of
//! the beginning: such polls are counted, without a duration.

use kctx_common::{
    counters::NAPI,
    pairing::role,
    record::{NET_RX, NapiWords, context, flags, head_with, kind, pair},
    spill::{PACKET_NS, SpillKey},
};

use crate::{
    emit::{self, Spilled},
    kernel::{Memory, NapiStruct},
    maps, names, origin,
};

twin!("napi_poll", napi_poll, napi_poll_raw, poll(0: *const u8, 1: u32, 2: u32));

#[inline(always)]
fn poll<M: Memory>(napi: *const u8, work: u32, budget: u32) {
    let Some(cpu) = maps::cpu_state() else { return };
    let (now, mut taken_ns) = origin::now_and_taken(cpu);
    let in_softirq = cpu.softirq.start_ns != 0 && cpu.softirq.vector == u64::from(NET_RX);
    let in_thread = !in_softirq && cpu.tasks.role == role::NAPI_THREAD;
    if in_thread {
        // Its softirqs run between polls.
        taken_ns = taken_ns.wrapping_add(cpu.softirq_total_ns);
    }
    let mark_ns = cpu.softirq.napi_mark_ns;
    let timed = (in_softirq || in_thread) && mark_ns != 0;
    let gross_ns = now.saturating_sub(mark_ns);
    let duration_ns = gross_ns
        - taken_ns
            .wrapping_sub(cpu.softirq.napi_taken_ns)
            .min(gross_ns);
    cpu.softirq.napi_mark_ns = now;
    cpu.softirq.napi_taken_ns = taken_ns;
    if !maps::recording() {
        return;
    }
    let context = if in_softirq {
        cpu.softirq.context as u8
    } else if in_thread {
        context::NAPI_THREAD
    } else {
        context::TASK
    };
    let napi = NapiStruct(napi);
    let name_id = match napi.device::<M>() {
        Some([first, second]) => names::intern_cached([first, second, 0, 0, 0, 0, 0, 0]),
        None => 0,
    };
    let napi_id = napi.id::<M>();
    let duration_ns = if timed { duration_ns } else { 0 };
    let record: NapiWords = [
        head_with(
            kind::NAPI,
            if timed { flags::DURATION } else { 0 },
            context,
            napi_id,
        ),
        now,
        pair(work, budget),
        duration_ns,
        name_id,
    ];
    emit::emit(
        &mut cpu.counters.family[NAPI],
        NAPI,
        duration_ns,
        &record,
        || {
            let duration_ns = if timed { duration_ns } else { emit::NONE };
            let exhausted = budget != 0 && work >= budget;
            (
                SpillKey {
                    family: kind::NAPI,
                    context,
                    number: napi_id,
                    name_id,
                    ..SpillKey::default()
                },
                Spilled {
                    // Of these the count alone is of use where the time is not known.
                    wait_ns: match (exhausted, timed) {
                        (true, true) => duration_ns,
                        (true, false) => 0,
                        (false, _) => emit::NONE,
                    },
                    service_ns: duration_ns,
                    third_ns: u64::from(work) * PACKET_NS,
                    fourth_ns: emit::NONE,
                },
            )
        },
    );
}
