//! Whether kctx is well, as orchestrators ask: alive, and ready to be scraped.

use std::time::Duration;

/// Windows that may be late before kctx counts as stuck.
const LATE_WINDOWS: u32 = 10;
/// And no less than this: a busy host may be slow.
const LATE_AT_LEAST: Duration = Duration::from_secs(30);

/// After how long without a window something is wrong, with windows of this length.
#[must_use]
pub(super) fn patience(window: Duration) -> Duration {
    window.saturating_mul(LATE_WINDOWS).max(LATE_AT_LEAST)
}

/// What is wrong, with the last window (or, without one, the start) this long ago.
pub(super) fn alive(since_last: Duration, patience: Option<Duration>) -> Result<(), String> {
    match patience {
        Some(patience) if since_last > patience => Err(format!(
            "no window was closed for {} s",
            since_last.as_secs()
        )),
        _ => Ok(()),
    }
}

/// Whether there is something to scrape.
pub(super) fn ready(windows: u64) -> Result<(), String> {
    if windows == 0 {
        return Err("no window was closed yet".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_relative_to_the_window() {
        assert_eq!(patience(Duration::from_secs(1)), Duration::from_secs(30));
        assert_eq!(patience(Duration::from_secs(60)), Duration::from_secs(600));
        let limit = Some(Duration::from_secs(30));
        assert_eq!(alive(Duration::from_secs(30), limit), Ok(()));
        let late = alive(Duration::from_secs(31), limit).unwrap_err();
        assert_eq!(late, "no window was closed for 31 s");
        // A replay that is over gets no more windows.
        assert_eq!(alive(Duration::MAX, None), Ok(()));
    }

    #[test]
    fn without_a_window_there_is_nothing_to_scrape() {
        assert!(ready(0).is_err());
        assert_eq!(ready(1), Ok(()));
    }
}
