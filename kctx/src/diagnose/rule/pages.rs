//! docs/diagnose/: a page for each cause, made from its rule.
//!
//! `KCTX_WRITE_DOCS=1 cargo test -p kctx --lib rule::pages` writes them.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use super::Page;
use crate::diagnose::{finding::Safety, page::LookAlike};

const WRITE: &str = "KCTX_WRITE_DOCS";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/diagnose")
}

/// One page.
fn render(page: &Page, explained_by: &[&str]) -> String {
    let mut text = format!(
        "<!-- made from kctx/src/diagnose/rule: change it there -->\n# {}: {}\n\n{}\n",
        page.id,
        lower_first(page.title),
        page.means
    );
    items(
        &mut text,
        "What it is told by",
        page.signals.iter().map(|signal| (*signal).to_owned()),
    );
    text.push_str("\n## From which number on\n\n| what | threshold | source |\n|---|---|---|\n");
    for row in page.thresholds {
        let _ = writeln!(text, "| {} | {} | {} |", row.what, row.value, row.source);
    }
    items(
        &mut text,
        "What looks like it",
        page.confused_with.iter().map(look_alike),
    );
    text.push_str("\n## What to do next\n\n");
    for (at, advice) in page.next.iter().enumerate() {
        let _ = writeln!(
            text,
            "{}. {} *({})*",
            at + 1,
            advice.what,
            advice.safety.words()
        );
        if !advice.command.is_empty() {
            let _ = writeln!(text, "   ```sh\n   {}\n   ```", advice.command);
        }
    }
    items(
        &mut text,
        "What not to do",
        page.do_not.iter().map(|text| (*text).to_owned()),
    );
    if !explained_by.is_empty() {
        let causes: Vec<_> = explained_by.iter().map(|id| link(id)).collect();
        let _ = writeln!(
            text,
            "\nWhere one of these is found in the same place, this is told as its effect: {}.",
            causes.join(", ")
        );
    }
    text
}

fn items(text: &mut String, title: &str, items: impl Iterator<Item = String>) {
    let _ = writeln!(text, "\n## {title}\n");
    for item in items {
        let _ = writeln!(text, "- {item}");
    }
}

fn look_alike(other: &LookAlike) -> String {
    match other.id {
        "" => other.how.to_owned(),
        id => format!("{}: {}", link(id), other.how),
    }
}

fn link(id: &str) -> String {
    format!("[{id}]({id}.md)")
}

fn lower_first(text: &str) -> String {
    // Names keep their capitals.
    let second = text.chars().nth(1);
    if second.is_none_or(|second| second.is_ascii_uppercase()) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

fn index() -> String {
    let mut text = "<!-- made from kctx/src/diagnose/rule: change it there -->\n# What kctx diagnose can find\n\n\
                    How a diagnosis is read is in [diagnose.md](../diagnose.md).\n\n| id | cause |\n|---|---|\n"
        .to_owned();
    for (page, _) in super::pages() {
        let _ = writeln!(text, "| {} | {} |", link(page.id), page.title);
    }
    text
}

#[test]
fn the_pages_are_what_the_rules_make() {
    let pages = super::pages()
        .map(|(page, explained_by)| (format!("{}.md", page.id), render(page, explained_by)));
    let pages: Vec<_> = pages.chain([("README.md".to_owned(), index())]).collect();
    let folder = folder();
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let old = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            old == *text,
            "docs/diagnose/{name} is not what its rule makes: `{WRITE}=1 cargo test -p kctx --lib rule::pages`"
        );
    }
    let made: BTreeSet<_> = pages.iter().map(|(name, _)| name.clone()).collect();
    let there = std::fs::read_dir(&folder).unwrap();
    for file in there.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(made.contains(&file), "docs/diagnose/{file} has no rule");
    }
}

#[test]
fn pages_are_whole_and_name_what_there_is() {
    let ids: BTreeSet<_> = super::pages().map(|(page, _)| page.id).collect();
    assert_eq!(ids.len(), super::pages().count(), "an id is there twice");
    for (page, explained_by) in super::pages() {
        let Page {
            id,
            title,
            means,
            signals,
            thresholds,
            confused_with,
            next,
            do_not,
        } = *page;
        assert!(!title.is_empty() && means.ends_with('.'), "{id}");
        assert!(
            !signals.is_empty() && !thresholds.is_empty() && !confused_with.is_empty(),
            "{id}"
        );
        assert!(!next.is_empty() && !do_not.is_empty(), "{id}");
        // The first thing to do at a stranger's host is to look.
        assert_eq!(next[0].safety, Safety::ReadOnly, "{id}");
        assert!(
            next.iter()
                .all(|advice| advice.safety == Safety::ReadOnly || advice.command.is_empty()),
            "{id}: a command that changes something"
        );
        // They stop a process at each system call or fault, or interrupt all CPUs: nothing for a host that suffers.
        for heavy in ["strace", "gdb", "perf record", "ftrace", "slabtop"] {
            assert!(
                next.iter().all(|advice| !advice.command.contains(heavy)),
                "{id}: {heavy} is no step that only reads"
            );
        }
        let named = confused_with
            .iter()
            .map(|other| other.id)
            .filter(|id| !id.is_empty());
        for other in named.chain(explained_by.iter().copied()) {
            assert!(
                ids.contains(other),
                "{id} names {other}, which there is not"
            );
            assert_ne!(other, id);
        }
    }
}
