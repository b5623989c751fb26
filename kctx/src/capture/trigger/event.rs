//! Whether something happened in a window that a rule waits for.

use super::rule::Event;
use crate::aggregate::window::{LogRow, ModuleEvent, Window};

/// What lines of the kernel's log begin with when it goes wrong: an oops or a BUG (`__die`, `bug_handler`; arch/x86 and
/// lib/bug.c), a panic, lockups (kernel/watchdog.c), hung tasks, stalls (kernel/rcu/tree_stall.h), and a workqueue's
/// (kernel/workqueue.c).
const FATAL: [&str; 12] = [
    "BUG:",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "Unable to handle kernel",
    "Internal error:",
    "general protection fault",
    "watchdog: BUG:",
    "watchdog: Watchdog detected hard LOCKUP",
    "NMI watchdog: Watchdog detected hard LOCKUP",
    "rcu: INFO:",
    "INFO: task ",
];

/// And when it warns (`__warn`, kernel/panic.c).
const WARNING: &str = "WARNING:";

/// What happened of that, in words: the first such thing of the window.
#[must_use]
pub fn saw(event: &Event, window: &Window) -> Option<String> {
    match event {
        Event::Taint(flags) => {
            let change = window.taint.iter().find(|change| {
                flags.is_empty() || change.added.chars().any(|letter| flags.contains(letter))
            })?;
            Some(format!(
                "the taint went from {} to {} ({})",
                change.before, change.after, change.added
            ))
        }
        Event::KernelLog { warnings } => {
            let mut lines = window.log.lines.iter();
            let line = lines.find(|line| is_grave(line, *warnings))?;
            Some(format!("the kernel logged: {}", line.text))
        }
        Event::ModuleLoad(pattern) => {
            let row = (window.module.iter())
                .filter(|row| row.event == ModuleEvent::Load)
                .find(|row| pattern.matches(&row.name))?;
            Some(format!(
                "{} (process {}) loaded {}",
                row.comm, row.pid, row.name
            ))
        }
    }
}

fn is_grave(line: &LogRow, warnings: bool) -> bool {
    FATAL.iter().any(|start| line.text.starts_with(start))
        || (warnings && line.text.starts_with(WARNING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::window::{LogRows, ModuleRow, TaintRow};
    use glob::Pattern;

    fn logged(text: &str) -> Window {
        Window {
            log: LogRows {
                lines: vec![LogRow {
                    text: text.to_owned(),
                    ..LogRow::default()
                }],
                ..LogRows::default()
            },
            ..Window::default()
        }
    }

    #[test]
    fn grave_lines_are_told_from_others() {
        let oops = Event::KernelLog { warnings: false };
        let warning = Event::KernelLog { warnings: true };
        for text in [
            "BUG: unable to handle page fault for address: ffff8880",
            "watchdog: BUG: soft lockup - CPU#1 stuck for 26s!",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "INFO: task kworker/0:1:7 blocked for more than 120 seconds.",
        ] {
            assert!(saw(&oops, &logged(text)).is_some(), "{text}");
            assert!(saw(&warning, &logged(text)).is_some(), "{text}");
        }
        let warned = logged("WARNING: CPU: 1 PID: 7 at net/core/dev.c:1 f+0x1/0x2");
        assert_eq!(saw(&oops, &warned), None);
        assert!(saw(&warning, &warned).unwrap().contains("net/core/dev.c"));
        let harmless = logged("eth0: link is up, no BUG: here");
        assert_eq!(saw(&warning, &harmless), None);
    }

    #[test]
    fn a_taint_is_told_by_its_letters() {
        let window = Window {
            taint: vec![TaintRow {
                time_unix_ns: 1,
                before: 0,
                after: 512,
                added: "W".to_owned(),
            }],
            ..Window::default()
        };
        let by = |flags: &str| saw(&Event::Taint(flags.to_owned()), &window);
        assert_eq!(by("").unwrap(), "the taint went from 0 to 512 (W)");
        assert!(by("DW").is_some());
        assert_eq!(by("D"), None);
    }

    #[test]
    fn a_module_is_told_by_its_name_and_by_its_load_alone() {
        let row = |event| ModuleRow {
            event,
            name: "nvidia_uvm".to_owned(),
            time_unix_ns: 1,
            taints: String::new(),
            pid: 7,
            comm: "modprobe".to_owned(),
            cpu: 0,
            init_ns: None,
            ret: None,
            requested_by: None,
        };
        let window = |event| Window {
            module: vec![row(event)],
            ..Window::default()
        };
        let load = |pattern: &str, event| {
            saw(
                &Event::ModuleLoad(Pattern::new(pattern).unwrap()),
                &window(event),
            )
        };
        let words = load("nvidia*", ModuleEvent::Load).unwrap();
        assert_eq!(words, "modprobe (process 7) loaded nvidia_uvm");
        assert_eq!(load("nvidia", ModuleEvent::Load), None);
        assert_eq!(load("nvidia*", ModuleEvent::Request), None);
    }
}
