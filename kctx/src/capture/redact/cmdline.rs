//! The kernel's command line, and what else looks like a password.

use std::borrow::Cow;

use super::pseudonyms::Pseudonyms;

/// Keys whose values are kept: they say how CPUs, interrupts, timers and memory are set up. `*` at the end stands for
/// any ending.
const KEPT: &[&str] = &[
    "acpi_irq_*",
    "clocksource",
    "console",
    "cpuidle*",
    "default_hugepagesz",
    "elevator",
    "haltpoll*",
    "hugepages",
    "hugepagesz",
    "idle",
    "intel_idle*",
    "intel_iommu",
    "intel_pstate",
    "iommu*",
    "irqaffinity",
    "isolcpus",
    "kthread_cpus",
    "log_buf_len",
    "loglevel",
    "maxcpus",
    "mem",
    "mitigations",
    "nmi_watchdog",
    "noapic",
    "nohz*",
    "nr_cpus",
    "numa*",
    "panic*",
    "pci",
    "pcie_aspm",
    "possible_cpus",
    "preempt",
    "processor*",
    "psi",
    "quiet",
    "rcu*",
    "rcutree*",
    "reboot",
    "sched_*",
    "skew_tick",
    "spectre_v2",
    "swiotlb",
    "threadirqs",
    "transparent_hugepage",
    "tsc",
    "watchdog*",
    "workqueue*",
];

/// Parts of keys whose values are nobody's business, wherever they stand.
const SECRET: &[&str] = &[
    "passw",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "credential",
    "passphrase",
];

/// A whole command line. After ` -- ` come the arguments of init: of those the names stay.
pub(super) fn redacted(text: &str, pseudonyms: &mut Pseudonyms) -> String {
    let mut of_init = false;
    by_words(text, |word| match word.split_once('=') {
        Some((key, value)) if of_init || !is_kept(key) => {
            (!value.is_empty()).then(|| format!("{key}={}", pseudonyms.secret()))
        }
        None if of_init && !word.is_empty() && !word.starts_with('-') => {
            Some(pseudonyms.secret().to_owned())
        }
        _ => {
            of_init |= word == "--";
            None
        }
    })
}

/// A text in which words are replaced by what `replacement` says, `None`: by themselves. Quotes hold words together: when a
/// word that is replaced leaves one open, what follows goes too, until it is closed.
fn by_words(text: &str, mut replacement: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut goes_on = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let leaves_open = word.matches('"').count() % 2 == 1;
        if goes_on {
            goes_on = !leaves_open;
        } else {
            match replacement(word) {
                Some(replacement) => {
                    out.push_str(&replacement);
                    goes_on = leaves_open;
                }
                None => out.push_str(word),
            }
        }
        // Lines stay lines.
        if !goes_on || piece.ends_with('\n') {
            out.push_str(&piece[word.len()..]);
        }
    }
    out
}

/// Module parameters are kept by the module's or the parameter's own key.
fn is_kept(key: &str) -> bool {
    let key = key.trim_matches('"');
    KEPT.iter().any(|kept| match kept.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => key == *kept,
    })
}

/// A line of a log: the command line that the kernel tells at its start, and values of keys that say they are secret.
pub(super) fn in_log<'a>(line: &'a str, pseudonyms: &mut Pseudonyms) -> Cow<'a, str> {
    // "Command line:" on x86, "Kernel command line:" on all.
    if let Some(at) = line.find("ommand line: ") {
        let (head, rest) = line.split_at(at + "ommand line: ".len());
        return Cow::Owned(format!("{head}{}", redacted(rest, pseudonyms)));
    }
    if !line.contains('=') {
        return Cow::Borrowed(line);
    }
    let lower = line.to_ascii_lowercase();
    if !SECRET.iter().any(|part| lower.contains(part)) {
        return Cow::Borrowed(line);
    }
    Cow::Owned(by_words(line, |word| match word.split_once('=') {
        Some((key, value)) if is_secret(key) && !value.is_empty() => {
            Some(format!("{key}={}", pseudonyms.secret()))
        }
        _ => None,
    }))
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET.iter().any(|part| key.contains(part))
}
