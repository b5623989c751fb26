//! What kctx itself costs, in the live view's and the report's words.

use super::human::{bytes, count, cut, duration, share};
use crate::{
    aggregate::window::Window,
    meter::{Basis, BpfCost, OwnCost},
};

/// Threads and families that are named, the most expensive ones.
const NAMED: usize = 4;

/// Widest reason or name: a recording may bring any text.
const TEXT_WIDTH: usize = 64;

/// In a few words, where the stream tells: `kctx 0.35 % + ~0.80 % in the kernel, 24.1 MiB`.
pub(super) fn brief(window: &Window) -> Option<String> {
    let cost = window.own_cost.as_ref()?;
    Some(brief_of(cost, window.duration_ns))
}

/// The same of a summary's cost.
pub(crate) fn brief_of(cost: &OwnCost, window_ns: u64) -> String {
    let mut text = format!("kctx {}", share(cost.cpu_ns(), window_ns));
    if let Some(kernel) = in_kernel(&cost.bpf, window_ns) {
        text.push_str(&format!(" + {kernel} in the kernel"));
    }
    if let Some(memory) = cost.memory_bytes {
        text.push_str(&format!(", {}", bytes(memory)));
    }
    text
}

/// All of it in a sentence, where the stream tells.
pub(super) fn sentence(window: &Window) -> Option<String> {
    let cost = window.own_cost.as_ref()?;
    let streamed = window.accounting.by_family.iter();
    let streamed = streamed.fold(0, |sum: u64, family| sum.saturating_add(family.streamed));
    let per_second = u128::from(streamed) * 1_000_000_000 / u128::from(window.duration_ns.max(1));
    let mut parts = of(cost, window.duration_ns);
    parts.push(format!(
        "{} records/s",
        count(u64::try_from(per_second).unwrap_or(u64::MAX))
    ));
    parts.push(format!(
        "fullest ring {:.1} %",
        f64::from(cost.fullest_ring_ppm) / 1e4
    ));
    Some(format!("kctx {}", parts.join(", ")))
}

/// Userspace, kernel, memory.
pub(super) fn of(cost: &OwnCost, window_ns: u64) -> Vec<String> {
    let mut threads: Vec<_> = cost.threads.iter().filter(|one| one.cpu_ns > 0).collect();
    threads.sort_by_key(|one| std::cmp::Reverse(one.cpu_ns));
    let named: Vec<_> = (threads.iter().take(NAMED))
        .map(|one| {
            let name = one.thread.strip_prefix("kctx-").unwrap_or(&one.thread);
            format!("{} {}", cut(name, 16), share(one.cpu_ns, window_ns))
        })
        .collect();
    let mut userspace = format!("{} of a CPU", share(cost.cpu_ns(), window_ns));
    if !named.is_empty() {
        userspace.push_str(&format!(" ({})", named.join(", ")));
    }
    let mut parts = vec![userspace, kernel(&cost.bpf, window_ns)];
    parts.extend(cost.memory_bytes.map(bytes));
    parts
}

fn kernel(bpf: &BpfCost, window_ns: u64) -> String {
    let (Some(total), Some(kernel)) = (bpf.total(), in_kernel(bpf, window_ns)) else {
        let reason = bpf.reason.as_deref().unwrap_or("nobody says why");
        return format!("in the kernel not known ({})", cut(reason, TEXT_WIDTH));
    };
    let mut details = Vec::new();
    if let Some(busiest) = bpf.busiest() {
        details.push(format!(
            "cpu{} {}",
            busiest.cpu,
            share(busiest.run_ns, window_ns)
        ));
    }
    if let Some(mean) = total.run_ns.checked_div(total.runs) {
        details.push(format!("{} runs of {}", count(total.runs), duration(mean)));
    }
    match bpf.unsampled.len() {
        0 => {}
        1..=3 => {
            let families: Vec<_> = bpf.unsampled.iter().map(|one| one.as_str()).collect();
            details.push(format!("without {}", families.join(", ")));
        }
        more => details.push(format!("without {more} families")),
    }
    match details.is_empty() {
        true => format!("{kernel} in the kernel"),
        false => format!("{kernel} in the kernel ({})", details.join(", ")),
    }
}

/// The programs' share of one CPU, `~` before what is scaled.
fn in_kernel(bpf: &BpfCost, window_ns: u64) -> Option<String> {
    let total = bpf.total()?;
    let about = if bpf.basis == Basis::Scaled { "~" } else { "" };
    Some(format!("{about}{}", share(total.run_ns, window_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregate::window::Family, report::fixture};

    #[test]
    fn all_of_it_is_one_sentence() {
        let window = fixture::window();
        assert_eq!(
            sentence(&window).unwrap(),
            "kctx 0.35 % of a CPU (pipeline 0.20 %, drain 0.12 %, main 0.03 %), ~0.80 % in the kernel (cpu1 0.60 %, \
             20,000 runs of 400 ns, without tasklet), 24.0 MiB, 454 records/s, fullest ring 2.5 %"
        );
        assert_eq!(
            brief(&window).unwrap(),
            "kctx 0.35 % + ~0.80 % in the kernel, 24.0 MiB"
        );
        assert_eq!(sentence(&Window::default()), None);
        assert_eq!(brief(&Window::default()), None);
    }

    #[test]
    fn what_is_not_known_says_why() {
        let mut window = fixture::window();
        let cost = window.own_cost.as_mut().unwrap();
        cost.bpf = BpfCost {
            reason: Some("no CAP_SYS_ADMIN\x1b[2J".to_owned()),
            ..BpfCost::default()
        };
        cost.memory_bytes = None;
        let text = sentence(&window).unwrap();
        assert!(
            text.contains("in the kernel not known (no CAP_SYS_ADMIN\\u{1b}[2J), 454 records/s"),
            "{text}"
        );
        assert_eq!(brief(&window).unwrap(), "kctx 0.35 %");
    }

    #[test]
    fn what_the_kernel_counted_is_no_estimate() {
        let mut window = fixture::window();
        let cost = window.own_cost.as_mut().unwrap();
        cost.bpf.basis = Basis::Counted;
        cost.bpf.unsampled = vec![Family::Module];
        assert!(brief(&window).unwrap().contains("+ 0.80 %"));
    }
}
