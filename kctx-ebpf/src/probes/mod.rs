//! The programs, one file a family.

/// A hot program, as `tp_btf` and as `raw_tp`, from one body over the tracepoint's arguments.
macro_rules! twin {
    ($tracepoint:literal, $btf:ident, $raw:ident, $body:ident($($index:literal: $type:ty),*)) => {
        #[aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        #[allow(unused_variables, reason = "not every body takes arguments")]
        pub fn $btf(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            $body::<$crate::kernel::Btf>($(ctx.arg::<$type>($index)),*);
            0
        }

        #[aya_ebpf::macros::raw_tracepoint(tracepoint = $tracepoint)]
        #[allow(unused_variables, reason = "not every body takes arguments")]
        pub fn $raw(ctx: aya_ebpf::programs::RawTracePointContext) -> i32 {
            $body::<$crate::kernel::Raw>($(ctx.arg::<$type>($index)),*);
            0
        }
    };
}

mod cpuhp;
mod hardirq;
mod kthread;
mod module;
mod napi;
mod softirq;
mod stack;
mod tasklet;
mod vector;
mod workqueue;
