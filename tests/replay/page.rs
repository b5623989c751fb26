//! The report as a page: what is in it, and what cannot be.

use anyhow::{Context as _, Result};
use kctx_tests::{page, program};

use crate::sample_path;

/// Elements that are opened are closed, in that order.
fn check_well_formed(page: &str) -> Result<()> {
    const EMPTY: [&str; 3] = ["meta", "!DOCTYPE", "br"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').context("a tag without an end")?;
        rest = after;
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap_or("");
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {open:?}");
        } else if !EMPTY.contains(&name) {
            open.push(name);
            if matches!(name, "script" | "style") {
                // What is in it is no markup, up to its end.
                let end = format!("</{name}>");
                let (_, after) = rest.split_once(&end).context("no end of it")?;
                rest = after;
                open.pop();
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    Ok(())
}

/// Nothing is fetched: no address, no element that has one.
fn check_self_contained(page: &str) {
    for never in [
        "http://", "https://", " src=", "<link", "<iframe", "url(", "@import", "import(",
    ] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_sample_is_one_page() -> Result<()> {
    let sample = sample_path();
    let arguments = ["report", "--format", "html", &sample.to_string_lossy()];
    let page = program::run(arguments)?.success()?.stdout;
    check_well_formed(&page)?;
    check_self_contained(&page);
    for expected in [
        "NET_RX",
        "virtio",
        "events_unbound",
        "Nothing is hot",
        "Counters that changed",
    ] {
        assert!(page.contains(expected), "no {expected}");
    }
    assert!(page.len() < 300_000, "{} bytes", page.len());
    Ok(())
}

#[test]
fn a_part_of_the_sample_says_that_it_is_one() -> Result<()> {
    let sample = sample_path();
    let sample = sample.to_string_lossy();
    let arguments = [
        "report", "--format", "html", &sample, "--cpu", "1", "--from", "100ms",
    ];
    let page = program::run(arguments)?.success()?.stdout;
    check_well_formed(&page)?;
    assert!(page.contains("This is a part of the bundle"));
    Ok(())
}

#[test]
fn hostile_names_are_text() -> Result<()> {
    let page = page::hostile()?;
    check_well_formed(&page)?;
    assert!(page.contains("&lt;img") && page.contains("\\u003cimg"));
    for never in ["<img", "<b>evil", "<i>x"] {
        assert!(!page.contains(never), "{never}");
    }
    assert_eq!(page.matches("</script>").count(), 2);
    Ok(())
}

#[test]
fn a_page_of_many_cpus_stays_small() -> Result<()> {
    let page = page::many_cpus()?;
    check_well_formed(&page)?;
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    Ok(())
}
