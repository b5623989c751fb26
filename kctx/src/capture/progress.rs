//! What a capture is doing, for the line on a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytesize::ByteSize;

/// What is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The programs are being attached.
    Attaching,
    /// The evidence before the window.
    EvidenceBefore,
    /// The window itself.
    Window,
    /// The evidence after the window.
    EvidenceAfter,
    /// What is left is being written.
    Writing,
}

/// Where a capture is. Each figure has one writer.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    stage: AtomicU8,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The window's length.
    pub window: Duration,
    /// The most that the bundle may take.
    pub max_bytes: u64,
    /// How long a sample of evidence may take.
    pub evidence_time: Duration,
}

impl Progress {
    /// A stage begins.
    pub fn enter(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Relaxed);
    }

    /// More records came, and so many bytes are in the bundle.
    pub fn count(&self, records: u64, bytes: u64) {
        self.0.records.fetch_add(records, Relaxed);
        self.0.bytes.store(bytes, Relaxed);
    }

    /// What is being taken.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stages = [
            Stage::Attaching,
            Stage::EvidenceBefore,
            Stage::Window,
            Stage::EvidenceAfter,
            Stage::Writing,
        ];
        let stage = usize::from(self.0.stage.load(Relaxed));
        stages.get(stage).copied().unwrap_or(Stage::Writing)
    }

    /// The line: what is being taken, and how much is left. `in_window`: since the window began.
    #[must_use]
    pub fn line(&self, plan: &Plan, in_window: Duration) -> String {
        let figures = || {
            let (records, bytes) = (self.0.records.load(Relaxed), self.0.bytes.load(Relaxed));
            let (bytes, most) = (ByteSize(bytes), ByteSize(plan.max_bytes));
            format!("{records} records, {bytes} of {most} at most")
        };
        let at_most = plan.evidence_time.as_secs_f64();
        match self.stage() {
            Stage::Attaching => "attaching".to_owned(),
            Stage::EvidenceBefore => format!("evidence before the window ({at_most:.0} s at most)"),
            Stage::Window => {
                let left = plan.window.saturating_sub(in_window).as_secs_f64();
                format!("records: {left:.1} s left; {}", figures())
            }
            Stage::EvidenceAfter => {
                format!(
                    "evidence after the window ({at_most:.0} s at most); {}",
                    figures()
                )
            }
            Stage::Writing => format!("writing; {}", figures()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_taken_and_what_is_left() {
        let progress = Progress::default();
        let plan = Plan {
            window: Duration::from_secs(10),
            max_bytes: 256 << 20,
            evidence_time: Duration::from_secs(3),
        };
        assert_eq!(progress.line(&plan, Duration::ZERO), "attaching");
        progress.enter(Stage::EvidenceBefore);
        assert_eq!(
            progress.line(&plan, Duration::ZERO),
            "evidence before the window (3 s at most)"
        );
        progress.enter(Stage::Window);
        progress.count(1000, 5 << 20);
        progress.count(234, 6 << 20);
        assert_eq!(
            progress.line(&plan, Duration::from_millis(3500)),
            "records: 6.5 s left; 1234 records, 6.0 MiB of 256.0 MiB at most"
        );
        // A window that is over while its last records are still coming.
        let line = progress.line(&plan, Duration::from_secs(11));
        assert!(line.starts_with("records: 0.0 s left"), "{line}");
        progress.enter(Stage::Writing);
        assert!(
            progress
                .line(&plan, plan.window)
                .starts_with("writing; 1234")
        );
    }
}
