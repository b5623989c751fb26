//! kctx's command line: what it prints, where, and with which status.

mod diagnose;
mod handout;
mod help;
mod otlp;
mod recording;
mod scrape;
mod tls;
mod top;
mod unprivileged;
mod usage;
mod writing;

use std::path::PathBuf;

use kctx_tests::program::Ended;

/// The recorded bundle.
fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/sample.kctx.tar.zst")
}

/// Failed: nothing on standard output, and one line on standard error that says all of `says`.
fn check_failed(ended: &Ended, says: &[&str]) {
    check_one_line(ended, 1, says);
}

/// Wrong usage: the same with another status.
fn check_usage(ended: &Ended, says: &[&str]) {
    check_one_line(ended, 2, says);
}

fn check_one_line(ended: &Ended, status: i32, says: &[&str]) {
    assert_eq!(ended.status.code(), Some(status), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("kctx: "), "{ended:?}");
    check_says(ended, says);
}

fn check_says(ended: &Ended, says: &[&str]) {
    for words in says {
        assert!(ended.stderr.contains(words), "no {words:?}: {ended:?}");
    }
}
