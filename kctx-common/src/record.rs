//! The records that travel in the rings: one for each execution, written by the probe that saw it end.
//!
//! All times are `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`, in nanoseconds. Durations are nanoseconds in 64
//! bits, because a starved softirq or a work item may well take longer than the 4.29 s that 32 bits hold;
//! softirqs, the most frequent of all, have a short record too.

/// Which record follows: the first byte of each record.
pub mod kind {
    /// [`super::Softirq`]
    pub const SOFTIRQ: u8 = 1;
    /// [`super::Hardirq`]
    pub const HARDIRQ: u8 = 2;
    /// [`super::Work`]
    pub const WORK: u8 = 3;
    /// [`super::Module`]
    pub const MODULE: u8 = 4;
    /// [`super::SoftirqLong`]: a softirq whose durations do not fit [`super::Softirq`].
    pub const SOFTIRQ_LONG: u8 = 5;
    /// [`super::Tasklet`]
    pub const TASKLET: u8 = 6;
    /// [`super::Napi`]
    pub const NAPI: u8 = 7;
    /// [`super::Kthread`]
    pub const KTHREAD: u8 = 8;
}

/// A record's `flags`.
pub mod flags {
    /// `wait_ns` was measured: the raise (softirq) or the queueing (work) was seen.
    pub const WAIT: u8 = 1 << 0;
    /// `activate_ns` was measured: the work's activation was seen.
    pub const ACTIVATE: u8 = 1 << 1;
    /// The work was queued by a CPU other than the one that ran it.
    pub const REMOTE: u8 = 1 << 2;
    /// `net_ns` was measured: the time on the CPU of what ran.
    pub const NET: u8 = 1 << 3;
    /// The work ran in softirq context (BH workqueues, since 6.9).
    pub const BH: u8 = 1 << 4;
    /// Hardirq: `irq` is no interrupt number but one of [`super::vector_class`].
    pub const VECTOR: u8 = 1 << 0;
    /// Napi: `duration_ns` was measured: the poll's beginning is known.
    pub const DURATION: u8 = 1 << 0;
    /// Kthread: it had been preempted, not woken.
    pub const PREEMPTED: u8 = 1 << 1;
}

/// Where a softirq ran ("context"), and where a NAPI was polled.
pub mod context {
    /// Not known.
    pub const UNKNOWN: u8 = 0;
    /// In ksoftirqd/N (`run_ksoftirqd`).
    pub const KSOFTIRQD: u8 = 1;
    /// At the tail of an interrupt (`irq_exit_rcu`).
    pub const IRQ_TAIL: u8 = 2;
    /// In the idle task, after it ran remote function calls (`do_softirq_post_smp_call_flush`).
    pub const IDLE: u8 = 3;
    /// In a task that enabled bottom halves (`__local_bh_enable_ip`).
    pub const TASK: u8 = 4;
    /// In ktimers/N (PREEMPT_RT and threadirqs, since 6.13).
    pub const KTIMERS: u8 = 5;
    /// In a threaded interrupt handler, irq/N-name (PREEMPT_RT and threadirqs).
    pub const IRQ_THREAD: u8 = 6;
    /// In a NAPI thread, napi/dev-id or backlog_napi/N.
    pub const NAPI_THREAD: u8 = 7;
}

/// What raised a softirq, or queued a work: the context it was done in. The number beside it says which.
pub mod origin {
    /// Not seen.
    pub const UNKNOWN: u8 = 0;
    /// An interrupt handler; number: the interrupt's.
    pub const IRQ: u8 = 1;
    /// An interrupt vector without a number; number: one of [`super::vector_class`].
    pub const VECTOR: u8 = 2;
    /// A softirq; number: its vector.
    pub const SOFTIRQ: u8 = 3;
    /// A task, whichever; number: its process id. A kernel thread too.
    pub const TASK: u8 = 4;
    /// The idle task.
    pub const IDLE: u8 = 5;
}

/// Interrupt vectors that have no interrupt number (x86), by their row in /proc/interrupts.
pub mod vector_class {
    /// Local timer interrupts.
    pub const LOC: u32 = 0;
    /// Rescheduling interrupts.
    pub const RES: u32 = 1;
    /// Function call interrupts.
    pub const CAL: u32 = 2;
    /// IRQ work interrupts.
    pub const IWI: u32 = 3;
    /// How many.
    pub const COUNT: usize = 4;
}

/// Where a sampled stack was taken: bits of a context.
pub mod stack_context {
    /// In a softirq; the low byte is its vector.
    pub const SOFTIRQ: u64 = 0x100;
    /// In a kernel thread; the low byte is its [`crate::pairing::role`].
    pub const KTHREAD: u64 = 0x200;
}

/// What happened to a module.
pub mod module_event {
    /// `module:module_load`: linked in, its init function not yet called.
    pub const LOAD: u8 = 1;
    /// `module:module_free`: gone, or its init failed.
    pub const FREE: u8 = 2;
    /// `module:module_request`: the kernel asked userspace (modprobe) for it.
    pub const REQUEST: u8 = 3;
    /// `initcall:initcall_finish`: its init function returned.
    pub const INIT: u8 = 4;
}

/// Number of softirq vectors (`NR_SOFTIRQS`, include/linux/interrupt.h; unchanged from 5.10 to 7.3).
pub const NR_SOFTIRQS: usize = 10;

/// `NET_RX_SOFTIRQ` (include/linux/interrupt.h)
pub const NET_RX: u8 = 3;

/// Length of the name fields of [`Module`]: `MODULE_NAME_LEN` on 64-bit (64 - sizeof(long)).
pub const MODULE_NAME_LEN: usize = 56;

/// Length of an interned name: `WQ_NAME_LEN` is 24 up to 6.1 and 32 from 6.12; an irq action's name
/// has no bound and is cut.
pub const NAME_LEN: usize = 64;

/// Length of `task_struct::comm`.
pub const TASK_COMM_LEN: usize = 16;

shared! {
    /// One run of a softirq vector's action (`handle_softirqs`, kernel/softirq.c), entry to exit, none of whose
    /// durations reaches 2^32 ns.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Softirq {
        /// [`kind::SOFTIRQ`]
        pub kind: u8,
        /// Vector number, below [`NR_SOFTIRQS`].
        pub vector: u8,
        /// [`flags::WAIT`]
        pub flags: u8,
        /// Low half: [`context`]. High half: [`origin`]'s kind, of the first raise.
        pub place: u8,
        /// The part of `service_ns` that others took: interrupt handlers; on PREEMPT_RT also the tasks that
        /// preempted it.
        pub nested_ns: u32,
        /// When it ended.
        pub end_ns: u64,
        /// First pending raise to entry.
        pub wait_ns: u32,
        /// Entry to exit, interrupts that fell into it included.
        pub service_ns: u32,
        /// [`origin`]'s number.
        pub origin: u32,
        /// Zero.
        pub reserved: u32,
    }
}

shared! {
    /// One run of a softirq vector's action, whatever its durations.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct SoftirqLong {
        /// [`kind::SOFTIRQ_LONG`]
        pub kind: u8,
        /// Vector number, below [`NR_SOFTIRQS`].
        pub vector: u8,
        /// [`flags::WAIT`]
        pub flags: u8,
        /// Low half: [`context`]. High half: [`origin`]'s kind, of the first raise.
        pub place: u8,
        /// [`origin`]'s number.
        pub origin: u32,
        /// When it ended.
        pub end_ns: u64,
        /// First pending raise to entry.
        pub wait_ns: u64,
        /// Entry to exit, interrupts that fell into it included.
        pub service_ns: u64,
        /// The part of `service_ns` that others took.
        pub nested_ns: u64,
    }
}

impl Softirq {
    /// The same run with 64-bit durations.
    #[must_use]
    pub const fn widen(&self) -> SoftirqLong {
        SoftirqLong {
            kind: kind::SOFTIRQ_LONG,
            vector: self.vector,
            flags: self.flags,
            place: self.place,
            origin: self.origin,
            end_ns: self.end_ns,
            wait_ns: self.wait_ns as u64,
            service_ns: self.service_ns as u64,
            nested_ns: self.nested_ns as u64,
        }
    }
}

/// [`Softirq::place`] of a context and an origin's kind.
#[inline(always)]
#[must_use]
pub const fn place(context: u8, origin: u8) -> u8 {
    context | origin << 4
}

/// The context of a [`Softirq::place`].
#[inline(always)]
#[must_use]
pub const fn context_of(place: u8) -> u8 {
    place & 15
}

/// The origin's kind of a [`Softirq::place`].
#[inline(always)]
#[must_use]
pub const fn origin_of(place: u8) -> u8 {
    place >> 4
}

shared! {
    /// One call of an interrupt action's handler (`__handle_irq_event_percpu`, kernel/irq/handle.c).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Hardirq {
        /// [`kind::HARDIRQ`]
        pub kind: u8,
        /// `irqreturn_t`: 0 `IRQ_NONE`, 1 `IRQ_HANDLED`, 2 `IRQ_WAKE_THREAD`, 3 both.
        pub ret: u8,
        /// [`flags::VECTOR`]
        pub flags: u8,
        /// Zero.
        pub reserved: u8,
        /// Interrupt number, as in /proc/interrupts; of a vector, one of [`vector_class`].
        pub irq: u32,
        /// When the handler returned.
        pub end_ns: u64,
        /// Time in the handler.
        pub service_ns: u64,
        /// The action's name: an id of the names table; 0 where it could not be read.
        pub name_id: u64,
    }
}

shared! {
    /// One execution of a work item (`process_one_work`, kernel/workqueue.c).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Work {
        /// [`kind::WORK`]
        pub kind: u8,
        /// [`flags::WAIT`], [`flags::ACTIVATE`], [`flags::REMOTE`], [`flags::NET`], [`flags::BH`]
        pub flags: u8,
        /// [`origin`]'s kind, of who queued it.
        pub origin_kind: u8,
        /// Zero.
        pub reserved: u8,
        /// [`origin`]'s number.
        pub origin: u32,
        /// When the work function returned.
        pub end_ns: u64,
        /// Queueing to start.
        pub wait_ns: u64,
        /// Queueing to activation: how long the workqueue's `max_active` held it back.
        pub activate_ns: u64,
        /// Start to end, in wall time: a work may sleep.
        pub service_ns: u64,
        /// Of that, the time it was on the CPU, without the interrupts and softirqs that fell into it.
        pub net_ns: u64,
        /// Address of the work function.
        pub function: u64,
        /// The workqueue's name: an id of the names table; 0 where the queueing was not seen.
        pub workqueue_id: u64,
    }
}

shared! {
    /// One call of a tasklet's function (`tasklet_action_common`, kernel/softirq.c).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Tasklet {
        /// [`kind::TASKLET`]
        pub kind: u8,
        /// Zero.
        pub reserved: [u8; 7],
        /// When it returned.
        pub end_ns: u64,
        /// Entry to exit, interrupts that fell into it included.
        pub service_ns: u64,
        /// The part of it that others took.
        pub nested_ns: u64,
        /// Address of the function.
        pub function: u64,
    }
}

shared! {
    /// One poll of a NAPI (`__napi_poll`, net/core/dev.c).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Napi {
        /// [`kind::NAPI`]
        pub kind: u8,
        /// [`flags::DURATION`]
        pub flags: u8,
        /// [`context`]: that of the NET_RX run it was part of, or a NAPI thread, or a task that polls itself.
        pub context: u8,
        /// Zero.
        pub reserved: u8,
        /// `napi_struct::napi_id`; 0 for none.
        pub napi_id: u32,
        /// When it returned.
        pub end_ns: u64,
        /// Packets it said it had received.
        pub work: u32,
        /// Packets it was allowed; 0 when netpoll asked.
        pub budget: u32,
        /// Its time without interrupt handlers: from the poll before it in the same run, or that run's start.
        pub duration_ns: u64,
        /// The device's name: an id of the names table; 0 for none, which is the CPU's backlog.
        pub name_id: u64,
    }
}

shared! {
    /// A kernel thread's time on a CPU, from the switch to it to the switch from it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Kthread {
        /// [`kind::KTHREAD`]
        pub kind: u8,
        /// [`flags::WAIT`], [`flags::PREEMPTED`]
        pub flags: u8,
        /// Zero.
        pub reserved: [u8; 2],
        /// Its thread id.
        pub pid: u32,
        /// When it left the CPU.
        pub end_ns: u64,
        /// Runnable to running: from its wake-up or preemption to the switch to it.
        pub wait_ns: u64,
        /// Time on the CPU, interrupts and softirqs included.
        pub service_ns: u64,
        /// The same without them.
        pub net_ns: u64,
        /// A kworker's: name of the workqueue whose work it started last; 0 for none.
        pub workqueue_id: u64,
        /// Its comm, NUL-padded.
        pub comm: [u8; TASK_COMM_LEN],
    }
}

shared! {
    /// A module came, went, or was asked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Module {
        /// [`kind::MODULE`]
        pub kind: u8,
        /// One of [`module_event`].
        pub event: u8,
        /// Zero.
        pub reserved: [u8; 2],
        /// Taint bits the module brought (`struct module::taints`; load only).
        pub taints: u32,
        /// Process that loaded, freed or requested it.
        pub pid: u32,
        /// CPU it happened on.
        pub cpu: u32,
        /// When.
        pub time_ns: u64,
        /// That process's comm, NUL-padded.
        pub comm: [u8; TASK_COMM_LEN],
        /// Module name, NUL-padded. Of a request: what was asked for, which may be an alias, cut.
        pub name: [u8; MODULE_NAME_LEN],
        /// Init only: how long the init function took.
        pub init_ns: u64,
        /// Init only: what it returned.
        pub ret: i32,
        /// Zero.
        pub reserved2: u32,
    }
}

/// The first word of a record, of its first bytes in order. A program composes it in a register and
/// stores it once: single bytes would each be a store, and the copy into the ring, which loads words,
/// would have to wait for all of them.
#[inline(always)]
#[must_use]
pub const fn head(kind: u8, second: u8, third: u8) -> u64 {
    u64::from_ne_bytes([kind, second, third, 0, 0, 0, 0, 0])
}

/// [`head`] of a record that has a 32-bit number in the word's second half.
#[inline(always)]
#[must_use]
pub const fn head_with(kind: u8, second: u8, third: u8, number: u32) -> u64 {
    let [a, b, c, d] = number.to_ne_bytes();
    u64::from_ne_bytes([kind, second, third, 0, a, b, c, d])
}

/// Two 32-bit numbers that follow each other, as one word.
#[inline(always)]
#[must_use]
pub const fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// [`head_with`] of a record whose fourth byte says something too.
#[inline(always)]
#[must_use]
pub const fn head_full(kind: u8, second: u8, third: u8, fourth: u8, number: u32) -> u64 {
    let [a, b, c, d] = number.to_ne_bytes();
    u64::from_ne_bytes([kind, second, third, fourth, a, b, c, d])
}

/// A [`Softirq`] in words, as the program writes it.
pub type SoftirqWords = [u64; 4];
/// A [`SoftirqLong`] in words.
pub type SoftirqLongWords = [u64; 5];
/// A [`Hardirq`] in words.
pub type HardirqWords = [u64; 4];
/// A [`Work`] in words.
pub type WorkWords = [u64; 8];
/// A [`Tasklet`] in words.
pub type TaskletWords = [u64; 5];
/// A [`Napi`] in words.
pub type NapiWords = [u64; 5];
/// A [`Kthread`] in words.
pub type KthreadWords = [u64; 8];

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<SoftirqWords>() == size_of::<Softirq>());
    assert!(size_of::<HardirqWords>() == size_of::<Hardirq>());
    assert!(size_of::<WorkWords>() == size_of::<Work>());
    assert!(size_of::<TaskletWords>() == size_of::<Tasklet>());
    assert!(size_of::<NapiWords>() == size_of::<Napi>());
    assert!(size_of::<KthreadWords>() == size_of::<Kthread>());
    assert!(size_of::<SoftirqLongWords>() == size_of::<SoftirqLong>());
    assert!(offset_of!(Softirq, vector) == 1 && offset_of!(Softirq, flags) == 2);
    assert!(offset_of!(Softirq, place) == 3 && offset_of!(Softirq, nested_ns) == 4);
    assert!(offset_of!(Softirq, end_ns) == 8 && offset_of!(Softirq, wait_ns) == 16);
    assert!(offset_of!(Softirq, service_ns) == 20 && offset_of!(Softirq, origin) == 24);
    assert!(offset_of!(SoftirqLong, vector) == 1 && offset_of!(SoftirqLong, flags) == 2);
    assert!(offset_of!(SoftirqLong, place) == 3 && offset_of!(SoftirqLong, origin) == 4);
    assert!(offset_of!(SoftirqLong, end_ns) == 8 && offset_of!(SoftirqLong, wait_ns) == 16);
    assert!(offset_of!(SoftirqLong, service_ns) == 24);
    assert!(offset_of!(SoftirqLong, nested_ns) == 32);
    assert!(offset_of!(Hardirq, ret) == 1 && offset_of!(Hardirq, irq) == 4);
    assert!(offset_of!(Hardirq, flags) == 2);
    assert!(offset_of!(Hardirq, end_ns) == 8 && offset_of!(Hardirq, service_ns) == 16);
    assert!(offset_of!(Hardirq, name_id) == 24);
    assert!(offset_of!(Work, flags) == 1 && offset_of!(Work, origin_kind) == 2);
    assert!(offset_of!(Work, origin) == 4 && offset_of!(Work, end_ns) == 8);
    assert!(offset_of!(Work, wait_ns) == 16 && offset_of!(Work, activate_ns) == 24);
    assert!(offset_of!(Work, service_ns) == 32 && offset_of!(Work, net_ns) == 40);
    assert!(offset_of!(Work, function) == 48 && offset_of!(Work, workqueue_id) == 56);
    assert!(offset_of!(Tasklet, end_ns) == 8 && offset_of!(Tasklet, service_ns) == 16);
    assert!(offset_of!(Tasklet, nested_ns) == 24 && offset_of!(Tasklet, function) == 32);
    assert!(offset_of!(Napi, flags) == 1 && offset_of!(Napi, context) == 2);
    assert!(offset_of!(Napi, napi_id) == 4 && offset_of!(Napi, end_ns) == 8);
    assert!(offset_of!(Napi, work) == 16 && offset_of!(Napi, budget) == 20);
    assert!(offset_of!(Napi, duration_ns) == 24 && offset_of!(Napi, name_id) == 32);
    assert!(offset_of!(Kthread, flags) == 1 && offset_of!(Kthread, pid) == 4);
    assert!(offset_of!(Kthread, end_ns) == 8 && offset_of!(Kthread, wait_ns) == 16);
    assert!(offset_of!(Kthread, service_ns) == 24 && offset_of!(Kthread, net_ns) == 32);
    assert!(offset_of!(Kthread, workqueue_id) == 40 && offset_of!(Kthread, comm) == 48);
    assert!(size_of::<Softirq>() == 32);
    assert!(size_of::<Hardirq>() == 32);
    assert!(size_of::<Work>() == 64);
    assert!(size_of::<Module>() == 112);
};
