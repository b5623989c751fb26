//! How severe a record is, as OTLP has it.

use crate::host::kmsg::LEVEL_NAMES;

/// A severity: OTLP's number, and the word of where the record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severity {
    /// `SeverityNumber` (OpenTelemetry logs data model, "Severity Fields").
    pub number: u8,
    /// `SeverityText`.
    pub text: &'static str,
}

impl Severity {
    /// Something happened that is usual.
    pub const INFO: Self = Self {
        number: 9,
        text: "INFO",
    };

    /// Something to look at.
    pub const WARN: Self = Self {
        number: 13,
        text: "WARN",
    };

    /// Something failed.
    pub const ERROR: Self = Self {
        number: 17,
        text: "ERROR",
    };

    /// Of a level of the kernel's log, 0 to 7, which are syslog's (OpenTelemetry logs data model appendix, "Appendix B:
    /// SeverityNumber example mappings", column Syslog).
    #[must_use]
    pub fn of_level(level: u8) -> Self {
        let at = usize::from(level.min(7));
        let number = [21, 19, 18, 17, 13, 10, 9, 5][at];
        Self {
            number,
            text: LEVEL_NAMES[at],
        }
    }
}
