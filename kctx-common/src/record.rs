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
}

/// A record's `flags`.
pub mod flags {
    /// `wait_ns` was measured: the raise (softirq) or the queueing (work) was seen.
    pub const WAIT: u8 = 1 << 0;
    /// `activate_ns` was measured: the work's activation was seen.
    pub const ACTIVATE: u8 = 1 << 1;
    /// The work was queued by a CPU other than the one that ran it.
    pub const REMOTE: u8 = 1 << 2;
}

/// What happened to a module.
pub mod module_event {
    /// `module:module_load`: linked in, its init function not yet called.
    pub const LOAD: u8 = 1;
    /// `module:module_free`: gone, or its init failed.
    pub const FREE: u8 = 2;
    /// `module:module_request`: the kernel asked userspace (modprobe) for it.
    pub const REQUEST: u8 = 3;
}

/// Number of softirq vectors (`NR_SOFTIRQS`, include/linux/interrupt.h; unchanged from 5.10 to 7.3).
pub const NR_SOFTIRQS: usize = 10;

/// Length of the name fields of [`Module`]: `MODULE_NAME_LEN` on 64-bit (64 - sizeof(long)).
pub const MODULE_NAME_LEN: usize = 56;

/// Length of an interned name: `WQ_NAME_LEN` is 24 up to 6.1 and 32 from 6.12; an irq action's name
/// has no bound and is cut.
pub const NAME_LEN: usize = 64;

/// Length of `task_struct::comm`.
pub const TASK_COMM_LEN: usize = 16;

/// One run of a softirq vector's action (`handle_softirqs`, kernel/softirq.c), entry to exit, none of whose
/// durations reaches 2^32 ns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Softirq {
    /// [`kind::SOFTIRQ`]
    pub kind: u8,
    /// Vector number, below [`NR_SOFTIRQS`].
    pub vector: u8,
    /// [`flags::WAIT`]
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// The part of `service_ns` that interrupt handlers took.
    pub hardirq_ns: u32,
    /// When it ended.
    pub end_ns: u64,
    /// First pending raise to entry.
    pub wait_ns: u32,
    /// Entry to exit, interrupts that fell into it included.
    pub service_ns: u32,
}

/// One run of a softirq vector's action, whatever its durations.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct SoftirqLong {
    /// [`kind::SOFTIRQ_LONG`]
    pub kind: u8,
    /// Vector number, below [`NR_SOFTIRQS`].
    pub vector: u8,
    /// [`flags::WAIT`]
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// When it ended.
    pub end_ns: u64,
    /// First pending raise to entry.
    pub wait_ns: u64,
    /// Entry to exit, interrupts that fell into it included.
    pub service_ns: u64,
    /// The part of `service_ns` that interrupt handlers took.
    pub hardirq_ns: u64,
}

impl Softirq {
    /// The same run with 64-bit durations.
    #[must_use]
    pub const fn widen(&self) -> SoftirqLong {
        SoftirqLong {
            kind: kind::SOFTIRQ_LONG,
            vector: self.vector,
            flags: self.flags,
            reserved: [0; 5],
            end_ns: self.end_ns,
            wait_ns: self.wait_ns as u64,
            service_ns: self.service_ns as u64,
            hardirq_ns: self.hardirq_ns as u64,
        }
    }
}

/// One call of an interrupt action's handler (`__handle_irq_event_percpu`, kernel/irq/handle.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Hardirq {
    /// [`kind::HARDIRQ`]
    pub kind: u8,
    /// `irqreturn_t`: 0 `IRQ_NONE`, 1 `IRQ_HANDLED`, 2 `IRQ_WAKE_THREAD`, 3 both.
    pub ret: u8,
    /// None defined.
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// Interrupt number, as in /proc/interrupts.
    pub irq: u32,
    /// When the handler returned.
    pub end_ns: u64,
    /// Time in the handler.
    pub service_ns: u64,
    /// The action's name: an id of the names table; 0 where it could not be read.
    pub name_id: u64,
}

/// One execution of a work item (`process_one_work`, kernel/workqueue.c).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Work {
    /// [`kind::WORK`]
    pub kind: u8,
    /// [`flags::WAIT`], [`flags::ACTIVATE`], [`flags::REMOTE`]
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// When the work function returned.
    pub end_ns: u64,
    /// Queueing to start.
    pub wait_ns: u64,
    /// Queueing to activation: how long the workqueue's `max_active` held it back.
    pub activate_ns: u64,
    /// Start to end, in wall time: a work may sleep.
    pub service_ns: u64,
    /// Address of the work function.
    pub function: u64,
    /// The workqueue's name: an id of the names table; 0 where the queueing was not seen.
    pub workqueue_id: u64,
}

/// A module came, went, or was asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
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

/// A [`Softirq`] in words, as the program writes it.
pub type SoftirqWords = [u64; 3];
/// A [`SoftirqLong`] in words.
pub type SoftirqLongWords = [u64; 5];
/// A [`Hardirq`] in words.
pub type HardirqWords = [u64; 4];
/// A [`Work`] in words.
pub type WorkWords = [u64; 7];

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<SoftirqWords>() == size_of::<Softirq>());
    assert!(size_of::<HardirqWords>() == size_of::<Hardirq>());
    assert!(size_of::<WorkWords>() == size_of::<Work>());
    assert!(offset_of!(Softirq, vector) == 1 && offset_of!(Softirq, flags) == 2);
    assert!(offset_of!(Softirq, hardirq_ns) == 4 && offset_of!(Softirq, end_ns) == 8);
    assert!(offset_of!(Softirq, wait_ns) == 16 && offset_of!(Softirq, service_ns) == 20);
    assert!(size_of::<SoftirqLongWords>() == size_of::<SoftirqLong>());
    assert!(offset_of!(SoftirqLong, vector) == 1 && offset_of!(SoftirqLong, flags) == 2);
    assert!(offset_of!(SoftirqLong, end_ns) == 8 && offset_of!(SoftirqLong, wait_ns) == 16);
    assert!(offset_of!(SoftirqLong, service_ns) == 24);
    assert!(offset_of!(SoftirqLong, hardirq_ns) == 32);
    assert!(offset_of!(Hardirq, ret) == 1 && offset_of!(Hardirq, irq) == 4);
    assert!(offset_of!(Hardirq, end_ns) == 8 && offset_of!(Hardirq, service_ns) == 16);
    assert!(offset_of!(Hardirq, name_id) == 24);
    assert!(offset_of!(Work, flags) == 1 && offset_of!(Work, end_ns) == 8);
    assert!(offset_of!(Work, wait_ns) == 16 && offset_of!(Work, activate_ns) == 24);
    assert!(offset_of!(Work, service_ns) == 32 && offset_of!(Work, function) == 40);
    assert!(offset_of!(Work, workqueue_id) == 48);
    assert!(size_of::<Softirq>() == 24);
    assert!(size_of::<Hardirq>() == 32);
    assert!(size_of::<Work>() == 56);
    assert!(size_of::<Module>() == 96);
};
