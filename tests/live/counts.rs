//! The counts against /proc/softirqs and /proc/interrupts, which the bundle's evidence holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io::Write as _,
    path::Path,
};

use anyhow::Result;
use kctx_tests::{bundle::Bundle, kernel, left_out::left_out, load};

use crate::{alone, capture, conservation::check_conservation, in_vm, two_cpus, without_btf};

/// What may fall between the window's edges and the reading of the kernel's books: a few events, and a
/// share of them all.
fn edges() -> (f64, f64) {
    if in_vm() {
        // Emulated CPUs take turns: between the reading and the edge another can have a whole turn.
        (600.0, 0.02)
    } else {
        (12.0, 0.005)
    }
}

/// Another task can hold the CPU at just that edge. That befalls one capture, an error in counting all.
const ATTEMPTS: usize = 5;

/// Where kctx and the kernel's books are further apart than they may be.
fn apart<K: Ord + Clone + Debug>(books: &BTreeMap<K, u64>, ours: &BTreeMap<K, u64>) -> Vec<String> {
    let (few, share) = edges();
    let keys: BTreeSet<&K> = books.keys().chain(ours.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let book = books.get(key).copied().unwrap_or(0);
            let our = ours.get(key).copied().unwrap_or(0);
            let allowed = few + share * book as f64;
            (book.abs_diff(our) as f64 > allowed)
                .then(|| format!("{key:?}: the kernel counts {book}, kctx {our}"))
        })
        .collect()
}

pub(crate) fn until_close(attempt: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    let mut apart = Vec::new();
    for _ in 0..ATTEMPTS {
        apart = attempt()?;
        if apart.is_empty() {
            return Ok(());
        }
        eprintln!("apart: {apart:?}");
    }
    panic!("further apart than the edges explain, {ATTEMPTS} times: {apart:?}")
}

fn softirqs_apart(bundle: &Bundle) -> Result<Vec<String>> {
    let read = |phase| kernel::softirqs(bundle.text(&format!("evidence/{phase}/proc/softirqs"))?);
    let books = kernel::growth(&read("before")?, &read("after")?);
    let mut ours = BTreeMap::new();
    for row in &bundle.summary.softirq {
        *ours.entry((row.vector.clone(), row.cpu)).or_default() += row.count;
    }
    Ok(apart(&books, &ours))
}

#[test]
fn softirqs_are_counted_as_the_kernel_counts_them() -> Result<()> {
    let _alone = alone();
    until_close(|| {
        let udp = load::udp()?;
        let bundle = capture("2s", &[])?;
        assert!(udp.rounds() > 1000, "the load did not run");
        let received: u64 = (bundle.summary.softirq.iter())
            .filter(|row| row.vector == "NET_RX")
            .map(|row| row.count)
            .sum();
        assert!(received > 1000, "the load is not there: {received} NET_RX");
        softirqs_apart(&bundle)
    })
}

#[test]
fn times_of_softirqs_make_sense() -> Result<()> {
    let _alone = alone();
    let udp = load::udp()?;
    let bundle = capture("1s", &[])?;
    drop(udp);
    let window = bundle.summary.window.duration_ns;
    assert!((1_000_000_000..2_000_000_000).contains(&window), "{window}");
    for row in &bundle.summary.softirq {
        assert!(row.service_net.sum_ns <= row.service.sum_ns, "{row:?}");
        assert!(row.service.sum_ns <= window, "{row:?}");
        assert_eq!(row.service.count, row.count);
        assert_eq!(row.service_net.count, row.count);
        assert_eq!(row.wait.count + row.wait_unknown, row.count);
        if row.count > 0 {
            assert!(row.service.p50_ns > 0 && row.service.max_ns >= row.service.p999_ns);
        }
        // A raise before the probes were attached is not seen; any later one is, unless it comes between the kernel's
        // look at what is pending and the vector's turn: on an emulated CPU that takes long.
        let (few, share) = if in_vm() { (3, 10) } else { (1, 1000) };
        assert!(row.wait_unknown <= few + row.count / share, "{row:?}");
        // Loopback runs the softirq in the task that raised it, at the end of its own section.
        if row.vector == "NET_RX" && row.count > 10_000 {
            assert!(row.wait.p50_ns < 100_000, "{row:?}");
        }
    }
    for cpu in &bundle.summary.cpu {
        assert!(cpu.hardirq_ns + cpu.softirq_ns <= window, "{cpu:?}");
    }
    Ok(())
}

/// By interrupt and CPU. A shared line's interrupt calls every action: each must be there as often.
fn hardirqs_apart(bundle: &Bundle) -> Result<Vec<String>> {
    let read =
        |phase| kernel::interrupts(bundle.text(&format!("evidence/{phase}/proc/interrupts"))?);
    let books = kernel::growth(&read("before")?, &read("after")?);
    let mut by_action: BTreeMap<&str, BTreeMap<(u32, u32), u64>> = BTreeMap::new();
    for row in &bundle.summary.hardirq {
        if let Some(irq) = row.irq {
            let action = by_action.entry(&row.name).or_default();
            *action.entry((irq, row.cpu)).or_default() += row.count + row.unhandled;
        }
    }
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for ours in by_action.values() {
        let irqs: BTreeSet<u32> = ours.keys().map(|(irq, _)| *irq).collect();
        let books = books.iter().filter(|((irq, _), _)| irqs.contains(irq));
        all.extend(apart(&books.map(|(key, n)| (*key, *n)).collect(), ours));
        seen.extend(irqs);
    }
    let unseen = books.iter().filter(|((irq, _), _)| !seen.contains(irq));
    all.extend(apart(
        &unseen.map(|(key, n)| (*key, *n)).collect(),
        &BTreeMap::new(),
    ));
    all.extend(vectors_apart(bundle)?);
    Ok(all)
}

/// The vectors that have probes, by their rows in /proc/interrupts.
fn vectors_apart(bundle: &Bundle) -> Result<Vec<String>> {
    const VECTORS: [&str; 4] = ["LOC", "RES", "CAL", "IWI"];
    let read = |phase| {
        kernel::named_interrupts(bundle.text(&format!("evidence/{phase}/proc/interrupts"))?)
    };
    let mut books = kernel::growth(&read("before")?, &read("after")?);
    books.retain(|(name, _), _| VECTORS.contains(&name.as_str()));
    let mut ours = BTreeMap::new();
    for row in bundle
        .summary
        .hardirq
        .iter()
        .filter(|row| row.irq.is_none())
    {
        *ours.entry((row.name.clone(), row.cpu)).or_default() += row.count;
    }
    Ok(apart(&books, &ours))
}

/// A storm of interrupts that have no number: each is counted, and the CPU's time is still whole.
#[test]
fn a_storm_of_function_calls_is_counted() -> Result<()> {
    let _alone = alone();
    let Some((to, from)) = two_cpus()? else {
        return Ok(());
    };
    if !cfg!(target_arch = "x86_64") {
        left_out("such calls have no vector of their own here");
        return Ok(());
    }
    until_close(|| {
        let busy = load::spinner(to)?;
        let storm = load::function_calls(from)?;
        let bundle = capture("1s", &[])?;
        drop((storm, busy));
        let calls: u64 = (bundle.summary.hardirq.iter())
            .filter(|row| row.name == "CAL" && row.cpu == to)
            .map(|row| row.count)
            .sum();
        println!("{calls} function calls on CPU {to}");
        assert!(in_vm() || calls > 1000, "no storm: {calls} function calls");
        check_conservation(&bundle.summary);
        vectors_apart(&bundle)
    })
}

#[test]
fn hardirqs_are_counted_as_the_kernel_counts_them() -> Result<()> {
    let _alone = alone();
    let folder = std::env::temp_dir();
    until_close(|| {
        let bundle = if in_vm() {
            // No disk, but the console's interrupts: one for every few characters.
            let console = load::console()?;
            let bundle = capture("1500ms", &[])?;
            drop(console);
            println!();
            bundle
        } else if load::has_block_device(&folder)? {
            let disk = load::disk(&folder)?;
            let bundle = capture("1500ms", &[])?;
            assert!(disk.rounds() > 10, "the disk is too slow for a load");
            bundle
        } else {
            let folder = folder.display();
            println!("{folder} is on no block device: only the interrupts that come by themselves");
            capture("1500ms", &[])?
        };
        let handled: u64 = bundle.summary.hardirq.iter().map(|row| row.count).sum();
        std::io::stdout().flush()?;
        if in_vm() || load::has_block_device(Path::new(&folder))? {
            assert!(handled > 20, "the load is not there: {handled} interrupts");
        }
        for row in &bundle.summary.hardirq {
            assert_eq!(row.service.count, row.count, "{row:?}");
            // Without BTF the name is not known, and never guessed.
            let unnamed = without_btf() && row.irq.is_some();
            assert_eq!(row.name == "?", unnamed, "{row:?}");
        }
        hardirqs_apart(&bundle)
    })
}
