//! Typed views of kernel memory: where a field lies comes from the kernel's own BTF, by way of globals
//! that userspace sets before the programs are loaded.

use aya_ebpf::{Global, helpers::bpf_probe_read_kernel};
use kctx_common::globals::NO_OFFSET;

#[unsafe(no_mangle)]
static SOFTIRQ_VECTORS: Global<u64> = Global::new(u64::MAX);
#[unsafe(no_mangle)]
static WORK_FUNC: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static PWQ_WQ: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static WQ_NAME: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static WQ_NAME_LEN: Global<u64> = Global::new(0);
#[unsafe(no_mangle)]
static IRQACTION_NAME: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static TASK_FLAGS: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static TASK_PID: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static TASK_COMM: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static TASK_STATE: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static TASK_SOFTIRQ_DISABLE_CNT: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static NAPI_DEV: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static NAPI_ID: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static NET_DEVICE_NAME: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static OUTLIER_NS: Global<u64> = Global::new(u64::MAX);
#[unsafe(no_mangle)]
static INITCALL_FINISH_RET: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static MODULE_LOAD_TAINTS: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static MODULE_LOAD_NAME: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static MODULE_FREE_NAME: Global<u64> = Global::new(NO_OFFSET);
#[unsafe(no_mangle)]
static MODULE_REQUEST_NAME: Global<u64> = Global::new(NO_OFFSET);

/// How a program reads a field: a `tp_btf` program loads it through its typed pointer, and the verifier
/// checks offset and size against the kernel's BTF; a `raw_tp` program asks a helper.
pub trait Memory {
    /// The 8 bytes at `base + offset`; 0 where they cannot be read.
    ///
    /// # Safety
    ///
    /// `base` is a pointer that the tracepoint gave, or that was read through one.
    unsafe fn word(base: *const u8, offset: u64) -> u64;

    /// The 4 bytes at `base + offset`; 0 where they cannot be read.
    ///
    /// # Safety
    ///
    /// As for [`Memory::word`].
    unsafe fn half(base: *const u8, offset: u64) -> u32;
}

/// `tp_btf`
pub struct Btf;

/// `raw_tp`
pub struct Raw;

impl Memory for Btf {
    #[inline(always)]
    unsafe fn word(base: *const u8, offset: u64) -> u64 {
        // SAFETY: the verifier has checked the access; a fault reads as 0 (exception table).
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast()) }
    }

    #[inline(always)]
    unsafe fn half(base: *const u8, offset: u64) -> u32 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast()) }
    }
}

impl Memory for Raw {
    #[inline(always)]
    unsafe fn word(base: *const u8, offset: u64) -> u64 {
        // SAFETY: the helper checks the address itself.
        unsafe { bpf_probe_read_kernel(base.add(offset as usize).cast()).unwrap_or(0) }
    }

    #[inline(always)]
    unsafe fn half(base: *const u8, offset: u64) -> u32 {
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel(base.add(offset as usize).cast()).unwrap_or(0) }
    }
}

/// Whether a softirq vector is to be measured. The mask is a constant to the verifier, which leaves the
/// shift out where all are.
#[inline(always)]
pub fn wanted(vector: u32) -> bool {
    let mask = SOFTIRQ_VECTORS.load();
    mask == u64::MAX || (mask >> (vector & 63)) & 1 != 0
}

/// `work_struct::func`; 0 where the offset is not known.
#[inline(always)]
pub fn work_function<M: Memory>(work: *const u8) -> u64 {
    let func = WORK_FUNC.load();
    if func == NO_OFFSET {
        return 0;
    }
    // SAFETY: the tracepoint gave the work, which is about to run.
    unsafe { M::word(work, func) }
}

/// Whether a work that is about to run is queued again already. `work_struct::data` comes first, and the lowest bit
/// of it is `WORK_STRUCT_PENDING_BIT` (include/linux/workqueue.h; unchanged from 5.10 to 7.3).
#[inline(always)]
pub fn work_is_pending<M: Memory>(work: *const u8) -> bool {
    // SAFETY: the tracepoint gave the work, which is about to run.
    unsafe { M::word(work, 0) & 1 != 0 }
}

/// `struct pool_workqueue *`
#[derive(Clone, Copy)]
pub struct PoolWorkqueue(pub *const u8);

impl PoolWorkqueue {
    /// The name of the workqueue it belongs to, as far as `WQ_NAME_LEN` goes (24 bytes up to 6.1, 32 from
    /// 6.12); `None` where the offsets are not known.
    #[inline(always)]
    pub fn name<M: Memory>(self) -> Option<[u64; 4]> {
        let (wq, name, len) = (PWQ_WQ.load(), WQ_NAME.load(), WQ_NAME_LEN.load());
        if wq == NO_OFFSET || name == NO_OFFSET || len < 24 {
            return None;
        }
        // SAFETY: the tracepoint gave the pool_workqueue, which holds its workqueue.
        unsafe {
            let wq = M::word(self.0, wq) as *const u8;
            Some([
                M::word(wq, name),
                M::word(wq, name + 8),
                M::word(wq, name + 16),
                if len >= 32 { M::word(wq, name + 24) } else { 0 },
            ])
        }
    }
}

/// `PF_KTHREAD` (include/linux/sched.h; unchanged from 5.10 to 7.3)
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_WQ_WORKER` (likewise)
const PF_WQ_WORKER: u32 = 0x0000_0020;

/// `SOFTIRQ_OFFSET` (include/linux/preempt.h): set while softirqs are served, and not by disabling bottom halves.
const SOFTIRQ_OFFSET: u32 = 0x100;

/// `struct task_struct *`
#[derive(Clone, Copy)]
pub struct Task(pub *const u8);

impl Task {
    /// Whether the kernel's BTF told where the fields are.
    #[inline(always)]
    pub fn known() -> bool {
        TASK_FLAGS.load() != NO_OFFSET
            && TASK_PID.load() != NO_OFFSET
            && TASK_COMM.load() != NO_OFFSET
            && TASK_STATE.load() != NO_OFFSET
    }

    /// Its thread id, if it is a kernel thread; 0 for a user task and for idle, which has `PF_KTHREAD` too.
    #[inline(always)]
    pub fn kthread_pid<M: Memory>(self) -> u32 {
        // SAFETY: the tracepoint gave the task.
        unsafe {
            if M::half(self.0, TASK_FLAGS.load()) & PF_KTHREAD == 0 {
                return 0;
            }
            M::half(self.0, TASK_PID.load())
        }
    }

    /// Whether it is a kworker or a rescuer.
    #[inline(always)]
    pub fn is_worker<M: Memory>(self) -> bool {
        // SAFETY: as above.
        unsafe { M::half(self.0, TASK_FLAGS.load()) & PF_WQ_WORKER != 0 }
    }

    /// `TASK_RUNNING`: a task that is switched from in this state can go on at once.
    #[inline(always)]
    pub fn is_running<M: Memory>(self) -> bool {
        // SAFETY: as above. Before 5.14 a long, of which these are the low bytes.
        unsafe { M::half(self.0, TASK_STATE.load()) == 0 }
    }

    /// Whether it is in the middle of softirqs: a task that is switched from can be on PREEMPT_RT alone, where
    /// each has a count of its own (`task_struct::softirq_disable_cnt`).
    #[inline(always)]
    pub fn is_serving_softirq<M: Memory>(self) -> bool {
        let count = TASK_SOFTIRQ_DISABLE_CNT.load();
        // SAFETY: as above.
        count != NO_OFFSET && unsafe { M::half(self.0, count) & SOFTIRQ_OFFSET != 0 }
    }

    /// Its comm.
    #[inline(always)]
    pub fn comm<M: Memory>(self) -> [u64; 2] {
        let comm = TASK_COMM.load();
        // SAFETY: as above; TASK_COMM_LEN is 16.
        unsafe { [M::word(self.0, comm), M::word(self.0, comm + 8)] }
    }
}

/// `struct napi_struct *`
#[derive(Clone, Copy)]
pub struct NapiStruct(pub *const u8);

impl NapiStruct {
    /// The name of its device (`IFNAMSIZ` is 16); `None` where the offsets are not known, or for a CPU's
    /// backlog, which has no device.
    #[inline(always)]
    pub fn device<M: Memory>(self) -> Option<[u64; 2]> {
        let (dev, name) = (NAPI_DEV.load(), NET_DEVICE_NAME.load());
        if dev == NO_OFFSET || name == NO_OFFSET {
            return None;
        }
        // SAFETY: the tracepoint gave the NAPI, which holds its device while it is polled; without one
        // the words read as 0.
        unsafe {
            let dev = M::word(self.0, dev) as *const u8;
            let words = [M::word(dev, name), M::word(dev, name + 8)];
            (words[0] != 0).then_some(words)
        }
    }

    /// Its number, which sockets and netlink know it by; 0 for none.
    #[inline(always)]
    pub fn id<M: Memory>(self) -> u32 {
        let id = NAPI_ID.load();
        if id == NO_OFFSET {
            return 0;
        }
        // SAFETY: as above.
        unsafe { M::half(self.0, id) }
    }
}

/// From this duration on, a record goes through the ring even where the governor keeps its family from it.
#[inline(always)]
pub fn outlier_ns() -> u64 {
    OUTLIER_NS.load()
}

/// `struct irqaction *`
#[derive(Clone, Copy)]
pub struct IrqAction(pub *const u8);

impl IrqAction {
    /// Address of its name, a string; 0 where the offset is not known.
    #[inline(always)]
    pub fn name<M: Memory>(self) -> u64 {
        let name = IRQACTION_NAME.load();
        if name == NO_OFFSET {
            return 0;
        }
        // SAFETY: the tracepoint gave the irqaction, which is in use.
        unsafe { M::word(self.0, name) }
    }
}

/// Offsets in the classic `module:*` tracepoints' records.
pub mod module {
    use super::*;

    /// `taints` and the `__data_loc` of `name`.
    #[inline(always)]
    pub fn load() -> (u64, u64) {
        (MODULE_LOAD_TAINTS.load(), MODULE_LOAD_NAME.load())
    }

    /// The `__data_loc` of `name`.
    #[inline(always)]
    pub fn free() -> u64 {
        MODULE_FREE_NAME.load()
    }

    /// The `__data_loc` of `name`.
    #[inline(always)]
    pub fn request() -> u64 {
        MODULE_REQUEST_NAME.load()
    }

    /// `ret` of `initcall_finish`.
    #[inline(always)]
    pub fn init_ret() -> u64 {
        INITCALL_FINISH_RET.load()
    }
}
