//! Evidence of this machine: what a capture brings home, and what it leaves out of it.

use anyhow::{Context as _, Result};
use kctx_tests::bundle::Bundle;
use serde_json::Value;

use crate::alone;

fn json(bundle: &Bundle, path: &str) -> Result<Value> {
    Ok(serde_json::from_str(bundle.text(path)?)?)
}

/// Hardware addresses of this machine's interfaces, but for those that say nothing.
fn own_addresses() -> Result<Vec<String>> {
    let mut addresses = Vec::new();
    for interface in std::fs::read_dir("/sys/class/net")? {
        let address = std::fs::read_to_string(interface?.path().join("address"));
        let address = address.unwrap_or_default().trim().to_owned();
        if address.len() >= 17 && address.bytes().any(|byte| !b"0f:".contains(&byte)) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Whether sixteen hex digits that begin with `ffff`, and are not all `f`, stand alone in a text.
fn holds_a_pointer(text: &str) -> bool {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let mut words = words.map(|word| word.strip_prefix("0x").unwrap_or(word));
    words.any(|word| {
        let is_hex = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex && word.starts_with("ffff") && word.bytes().any(|byte| byte != b'f')
    })
}

#[test]
fn each_file_is_in_the_index_and_each_item_is_there_or_missing_with_a_reason() -> Result<()> {
    let _alone = alone();
    let bundle = crate::capture("300ms", &[])?;
    for phase in ["before", "after"] {
        let folder = format!("evidence/{phase}/");
        let index = json(&bundle, &format!("{folder}index.json"))?;
        let index = index.as_array().context("a list")?;
        let files = bundle
            .members
            .keys()
            .filter(|path| path.starts_with(&folder));
        assert_eq!(files.count(), index.len() + 1);
        let missing = bundle.manifest.evidence_missing.iter();
        let missing: Vec<_> = missing
            .filter(|missing| missing.path.starts_with(&folder))
            .collect();
        assert!(
            missing.iter().all(|missing| !missing.reason.is_empty()),
            "{missing:?}"
        );
        let known = |item: &&kctx::capture::evidence::Item| {
            let path = format!("{folder}{}", item.path);
            let is_there = bundle
                .members
                .keys()
                .any(|member| member.starts_with(&path));
            is_there || missing.iter().any(|missing| missing.path == path)
        };
        let twice = |item: &&kctx::capture::evidence::Item| {
            phase == "before" || item.taken == kctx::capture::evidence::Taken::Twice
        };
        let items = kctx::capture::evidence::ITEMS.iter().filter(twice);
        let unknown: Vec<_> = items
            .filter(|item| !known(item))
            .map(|item| item.path)
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    Ok(())
}

#[test]
fn what_takes_privileges_was_read_before_they_were_given_up() -> Result<()> {
    let _alone = alone();
    let bundle = crate::capture("300ms", &[])?;
    assert!(bundle.text("evidence/before/kthread-stacks.txt").is_ok());
    assert!(json(&bundle, "evidence/before/bpf-programs.json")?.is_array());
    assert!(json(&bundle, "evidence/after/bpf-programs.json")?.is_array());
    // Where the kernel has nf_tables; its absence is told otherwise.
    let netfilter = json(&bundle, "evidence/before/netfilter.json");
    let missing = bundle.manifest.evidence_missing.iter();
    let refused = missing.filter(|missing| missing.reason.contains("permitted"));
    assert_eq!(refused.count(), 0, "{:?}", bundle.manifest.evidence_missing);
    if let Ok(netfilter) = netfilter {
        assert!(netfilter["rules"].is_u64());
    }
    Ok(())
}

#[test]
fn a_bundle_holds_no_raw_address_unless_asked_to() -> Result<()> {
    let _alone = alone();
    let own = own_addresses()?;
    let bundle = crate::capture("300ms", &[])?;
    assert!(bundle.manifest.redacted);
    for (path, bytes) in &bundle.members {
        let text = String::from_utf8_lossy(bytes);
        if path.starts_with("events/") {
            continue;
        }
        let raw = own.iter().find(|address| text.contains(address.as_str()));
        assert!(raw.is_none(), "{path}");
        // The manifest's checksums are words of another length.
        assert!(!holds_a_pointer(&text), "{path}");
    }
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    assert_eq!(bundle.manifest.host.boot_id.as_deref(), Some("uuid-1"));
    let raw = crate::capture("300ms", &["--no-redact"])?;
    assert!(!raw.manifest.redacted);
    assert_eq!(raw.manifest.host.boot_id.as_deref(), Some(boot_id.trim()));
    Ok(())
}
