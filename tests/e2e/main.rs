//! kctx's command line: what it prints, where, and with which status.

mod help;
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
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("kctx: "), "{ended:?}");
    check_says(ended, says);
}

/// Wrong usage: nothing on standard output, and a first line on standard error that says all of `says`.
fn check_usage(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    let first = ended.stderr.lines().next().unwrap_or_default();
    for words in says {
        assert!(
            first.contains(words),
            "no {words:?} in the first line: {ended:?}"
        );
    }
}

fn check_says(ended: &Ended, says: &[&str]) {
    for words in says {
        assert!(ended.stderr.contains(words), "no {words:?}: {ended:?}");
    }
}
