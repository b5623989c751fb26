//! Bundles that were cut short, damaged, or are none: what is there is shown, or one line says what is
//! wrong; never a wrong number.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use kctx_tests::program::{self, Ended};
use serde_json::Value;

use crate::sample_path;

fn report(bytes: &[u8]) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("given.kctx.tar.zst");
    fs::write(&path, bytes)?;
    command(&["report", "--format", "json"], &path)
}

fn command(words: &[&str], path: &Path) -> Result<Ended> {
    let path = path.to_string_lossy();
    program::run(words.iter().copied().chain([&*path]))
}

fn check_one_line(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("kctx: cannot "), "{ended:?}");
}

fn observed(ended: &Ended) -> Result<u64> {
    let summary: Value = serde_json::from_str(&ended.stdout)?;
    let observed = summary["accounting"]["observed"].as_u64();
    observed.context("a summary says how many were observed")
}

#[test]
fn of_a_bundle_cut_short_the_whole_segments_are_reported() -> Result<()> {
    let sample = fs::read(sample_path())?;
    let whole = observed(&report(&sample)?.success()?)?;
    let mut before = 0;
    let mut counts = Vec::new();
    for percent in [2, 10, 30, 45, 60, 75, 90, 99] {
        let cut = sample.len() * percent / 100;
        let ended = report(&sample[..cut])?;
        if ended.status.code() == Some(1) {
            check_one_line(&ended);
            assert_eq!(before, 0, "less was read of more at {percent} %: {ended:?}");
            continue;
        }
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains("was cut short"), "{ended:?}");
        let count = observed(&ended)?;
        assert!((before..=whole).contains(&count), "{count} at {percent} %");
        before = count;
        counts.push(count);
    }
    // The sample has several segments, so several cuts leave some of it.
    counts.dedup();
    assert!(counts.len() >= 2, "{counts:?}");
    Ok(())
}

#[test]
fn what_is_left_of_a_cut_bundle_replays() -> Result<()> {
    let sample = fs::read(sample_path())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("cut.kctx.tar.zst");
    fs::write(&path, &sample[..sample.len() * 2 / 3])?;
    let ended = command(&["replay"], &path)?;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("NET_RX"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("was cut short"), "{ended:?}");
    Ok(())
}

#[test]
fn a_damaged_byte_is_noticed_wherever_it_is() -> Result<()> {
    let sample = fs::read(sample_path())?;
    for place in [
        0,
        4,
        40,
        500,
        9_999,
        sample.len() / 3,
        sample.len() / 2,
        sample.len() - 2000,
        sample.len() - 2,
    ] {
        let mut damaged = sample.clone();
        damaged[place] ^= 0x15;
        let ended = report(&damaged)?;
        if place < 8 && ended.status.success() {
            // zstd's header has bits that only say how much memory it may take.
            assert_eq!(ended.stdout, report(&sample)?.stdout);
            continue;
        }
        check_one_line(&ended);
        let says = ["damaged", "no kctx bundle"];
        assert!(
            says.iter().any(|words| ended.stderr.contains(words)),
            "{place}: {ended:?}"
        );
    }
    Ok(())
}

/// The sample, with one member changed on the way.
fn repacked(change: impl Fn(&str, &mut Vec<u8>)) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut sample = tar::Archive::new(zstd::Decoder::new(fs::File::open(sample_path())?)?);
    let mut packed = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
    for entry in sample.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        change(&path, &mut bytes);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        packed.append_data(&mut header, &path, &bytes[..])?;
    }
    Ok(packed.into_inner()?.finish()?)
}

/// The sample as this kctx would have written it.
fn rewritten(leave_out: &str) -> Result<Vec<u8>> {
    rewritten_with(leave_out, None)
}

/// The same with one more member.
fn rewritten_with(leave_out: &str, more: Option<(&str, &[u8])>) -> Result<Vec<u8>> {
    use kctx::capture::bundle::{
        BundleReader, BundleWindow, BundleWriter, Manifest, ReadLimits, Step, WriteLimits,
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("new.kctx.tar.zst");
    let mut reader = BundleReader::open(&sample_path(), ReadLimits::default())?;
    let mut writer = BundleWriter::create(&path, WriteLimits::default())?;
    while let Step::Member(member) = reader.step()? {
        if member.path != "manifest.json" && member.path != leave_out {
            writer.add_file(&member.path, &member.bytes)?;
        }
    }
    if let Some((path, bytes)) = more {
        writer.add_file(path, bytes)?;
    }
    let host = kctx::host::HostIdentity::default();
    writer.finish(Manifest::new(host, BundleWindow::default()))?;
    Ok(fs::read(&path)?)
}

#[test]
fn a_member_that_is_not_what_the_manifest_says_is_named_and_the_rest_is_read() -> Result<()> {
    let whole = report(&fs::read(sample_path())?)?.success()?;
    assert!(report(&repacked(|_, _| ())?)?.status.success());
    for member in ["evidence/before/uname", "summary.json", "events/000002.seg"] {
        let changed = repacked(|path, bytes| {
            if path == member {
                let last = bytes.len() - 2;
                bytes[last] ^= 1;
            }
        })?;
        let ended = report(&changed)?;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let told = format!("kctx: damaged: {member} is not what was written");
        assert!(ended.stderr.lines().any(|line| line == told), "{ended:?}");
        // The recorded summary, or the same made of the records.
        assert_eq!(observed(&ended)?, observed(&whole)?, "{member}");
    }
    Ok(())
}

/// The report for people says where it has a hole, and an export has what is whole: more than up to the hole.
fn check_handed_out(bundle: &[u8], percent: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("given.kctx.tar.zst");
    let mut bytes = bundle.to_vec();
    let place = bytes.len() * percent / 100;
    bytes[place] ^= 0x10;
    fs::write(&path, bytes)?;
    for format in ["text", "html"] {
        let ended = command(&["report", "--format", format], &path)?.success()?;
        assert!(ended.stdout.contains("damaged: "), "{format}");
    }
    let ended = command(&["export", "--format", "jsonl"], &path)?.success()?;
    assert!(ended.stderr.contains("is damaged; this is what is whole"));
    let last = ended.stdout.lines().last().context("lines")?;
    let last: Value = serde_json::from_str(last)?;
    assert_eq!(last["type"], "window_end", "{last}");
    Ok(())
}

#[test]
fn a_bundle_with_more_evidence_than_is_kept_says_so_and_is_reported() -> Result<()> {
    // Each of them takes more memory than its line: 18 MB would become half a gigabyte.
    let tree: String = (0..2_500_000).map(|file| format!("{file:x}\t\n")).collect();
    let more = Some(("evidence/after/tree/x.tsv", tree.as_bytes()));
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("large.kctx.tar.zst");
    fs::write(&path, rewritten_with("", more)?)?;
    let ended = command(&["report"], &path)?.success()?;
    let noted = |line: &str| {
        line.contains("files of its evidence are left out here: kctx reads up to 256 MiB")
    };
    assert!(ended.stderr.lines().any(noted), "{ended:?}");
    assert!(ended.stdout.contains("NET_RX"));
    Ok(())
}

#[test]
fn records_before_and_after_a_broken_place_are_reported() -> Result<()> {
    let whole = observed(&report(&fs::read(sample_path())?)?)?;
    let with_summary = rewritten("")?;
    let without = rewritten("summary.json")?;
    assert_eq!(observed(&report(&without)?)?, whole);
    let mut counts = Vec::new();
    for percent in [10, 40, 70] {
        let broken = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let place = bytes.len() * percent / 100;
            bytes[place] ^= 0x10;
            report(&bytes)
        };
        let ended = broken(&with_summary)?;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        check_handed_out(&with_summary, percent)?;
        assert_eq!(observed(&ended)?, whole, "the summary is whole");
        assert!(
            ended.stderr.contains(" is damaged; this is what is whole"),
            "{ended:?}"
        );
        let ended = broken(&without)?;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.contains("lost its summary"), "{ended:?}");
        let (_, said) = ended
            .stderr
            .split_once("made from the ")
            .context("how many")?;
        counts.push(said.split(' ').next().unwrap_or_default().parse::<u64>()?);
    }
    assert!(
        counts.iter().all(|count| (1..whole).contains(count)),
        "{counts:?} of {whole}"
    );
    Ok(())
}

#[test]
fn the_json_says_what_is_whole_and_a_replay_plays_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("damaged.kctx.tar.zst");
    let json = |bytes: &[u8]| -> Result<serde_json::Value> {
        fs::write(&path, bytes)?;
        let ended = command(&["report", "--format", "json"], &path)?.success()?;
        Ok(serde_json::from_str(&ended.stdout)?)
    };
    let whole = json(&fs::read(sample_path())?)?;
    assert!(whole.get("damaged").is_none());
    let mut bytes = rewritten("summary.json")?;
    let place = bytes.len() * 40 / 100;
    bytes[place] ^= 0x10;
    let damaged = json(&bytes)?["damaged"].clone();
    assert_eq!(damaged["summary_is_whole"], false);
    let records = damaged["records"].as_u64().context("records")?;
    assert!(records > 0);
    let not_whole = damaged["not_whole"].as_array().context("what")?;
    assert!(!not_whole.is_empty());
    let ended = command(&["replay"], &path)?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!ended.stdout.is_empty(), "a window is shown");
    for what in not_whole.iter().filter_map(|what| what.as_str()) {
        let told = format!("kctx: damaged: {what}");
        assert!(ended.stderr.lines().any(|line| line == told), "{ended:?}");
    }
    let last = ended.stderr.lines().last().context("a last line")?;
    assert!(
        last.ends_with("is damaged: only what is whole was replayed"),
        "{last}"
    );
    // With a summary that is whole it is that of all that was measured.
    let mut bytes = rewritten("")?;
    let place = bytes.len() * 40 / 100;
    bytes[place] ^= 0x10;
    let value = json(&bytes)?;
    assert_eq!(value["damaged"]["summary_is_whole"], true);
    assert_eq!(value["accounting"], whole["accounting"]);
    Ok(())
}

#[test]
fn nothing_is_written_where_a_hostile_member_points() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("written");
    let mut sample = tar::Archive::new(zstd::Decoder::new(fs::File::open(sample_path())?)?);
    let mut packed = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1)?);
    let mut hostile = |path: &str, kind: tar::EntryType, bytes: &[u8]| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        Ok(packed.append(&header, bytes)?)
    };
    hostile(&target.to_string_lossy(), tar::EntryType::Regular, b"x")?;
    hostile("../../written", tar::EntryType::Regular, b"x")?;
    hostile("events/link.seg", tar::EntryType::Symlink, b"")?;
    for entry in sample.entries()? {
        let mut entry = entry?;
        let header = entry.header().clone();
        packed.append(&header, &mut entry)?;
    }
    let ended = report(&packed.into_inner()?.finish()?)?;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let whole = report(&fs::read(sample_path())?)?;
    let [mut got, whole] = [&ended, &whole].map(|ended| serde_json::from_str(&ended.stdout));
    let damaged = got
        .as_mut()
        .ok()
        .and_then(|got: &mut Value| got.as_object_mut()?.remove("damaged"));
    assert_eq!(damaged.context("it says so")?["summary_is_whole"], true);
    assert!(got? == whole?, "the rest is as it was");
    assert!(
        ended.stderr.contains("cannot be a member of a bundle"),
        "{ended:?}"
    );
    assert!(!target.exists());
    Ok(())
}

#[test]
fn a_bundle_of_another_version_is_refused_by_its_schema() -> Result<()> {
    let later = repacked(|path, bytes| {
        if path == "manifest.json" {
            let text = String::from_utf8_lossy(bytes).replace("kctx.bundle.v1", "kctx.bundle.v9");
            *bytes = text.into_bytes();
        }
    })?;
    let ended = report(&later)?;
    check_one_line(&ended);
    assert!(ended.stderr.contains("kctx.bundle.v9"), "{ended:?}");
    Ok(())
}

#[test]
fn a_bundle_of_an_older_kctx_is_refused_in_one_line() -> Result<()> {
    use kctx::capture::bundle::{BundleWindow, BundleWriter, Manifest, WriteLimits};
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("old.kctx.tar.zst");
    let mut writer = BundleWriter::create(&path, WriteLimits::default())?;
    writer.add_segment("events/000000.seg", b"KCTXEVT\x01\x01\x01")?;
    writer.add_file("summary.json", b"{}")?;
    let host = kctx::host::HostIdentity::default();
    writer.finish(Manifest::new(host, BundleWindow::default()))?;
    for words in [&["report"][..], &["replay"]] {
        let ended = command(words, &path)?;
        check_one_line(&ended);
        assert!(
            ended.stderr.contains("written by an older kctx"),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("damaged"), "{ended:?}");
    }
    Ok(())
}

#[test]
fn what_is_no_bundle_is_refused_in_one_line() -> Result<()> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    archive.append_data(&mut header, "hello.txt", &b"hello"[..])?;
    let tar_of_others = zstd::encode_all(&archive.into_inner()?[..], 1)?;
    let text = zstd::encode_all(&b"just text, no archive"[..], 1)?;
    for (foreign, says) in [
        (&b""[..], "it is empty"),
        (&b"\x1f\x8b\x08 and so on"[..], "not zstd"),
        (&b"{\"schema\": \"kctx.summary.v1\"}"[..], "not zstd"),
        (&text[..], "no kctx bundle"),
        (&tar_of_others[..], "without manifest.json"),
    ] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("foreign");
        fs::write(&path, foreign)?;
        for words in [
            &["report"][..],
            &["report", "--format", "json"],
            &["replay"],
        ] {
            let ended = command(words, &path)?;
            check_one_line(&ended);
            assert!(ended.stderr.contains(says), "{words:?} {says}: {ended:?}");
        }
    }
    Ok(())
}

#[test]
fn what_is_no_file_is_refused_in_one_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (path, says) in [
        (folder.path().to_owned(), "directory"),
        (folder.path().join("missing"), "No such file"),
    ] {
        for words in [&["report"][..], &["replay"]] {
            let ended = command(words, &path)?;
            check_one_line(&ended);
            assert!(ended.stderr.contains(says), "{ended:?}");
        }
    }
    Ok(())
}
