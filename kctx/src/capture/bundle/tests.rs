use super::*;
use crate::host::HostIdentity;
use proptest::prelude::*;
use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path, sync::LazyLock};

type Members = Vec<(String, Vec<u8>)>;

fn manifest() -> Manifest {
    let window = BundleWindow {
        start_unix_ns: 5,
        duration_ns: 7,
    };
    Manifest::new(HostIdentity::default(), window)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn write(path: &Path, members: &[(&str, &[u8])]) -> Written {
    let mut writer = BundleWriter::create(path, WriteLimits::default()).unwrap();
    for (member, bytes) in members {
        writer.add_file(member, bytes).unwrap();
    }
    writer.finish(manifest()).unwrap()
}

/// Reads to the end: all members, and the last answer.
fn read(bytes: &[u8], limits: ReadLimits) -> (Members, Result<Step, BundleError>) {
    let mut members = Members::new();
    let mut reader = match BundleReader::new(bytes, limits) {
        Ok(reader) => reader,
        Err(error) => return (members, Err(error)),
    };
    loop {
        match reader.step() {
            Ok(Step::Member(member)) => members.push((member.path, member.bytes)),
            other => return (members, other),
        }
    }
}

fn error(bytes: &[u8]) -> String {
    let (_, result) = read(bytes, ReadLimits::default());
    result.unwrap_err().to_string()
}

fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in members {
        let mut header = tar::Header::new_gnu();
        // Set by hand: `set_path` refuses what a hostile archive has.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

static BUNDLE: LazyLock<(Vec<u8>, Members)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    let (text, records) = ("x y z\n".repeat(500), noise(3000));
    write(
        &path,
        &[
            ("evidence/before/proc/stat", text.as_bytes()),
            ("events/000000", &records),
            ("events/000001", b""),
            ("summary.json", b"{}"),
        ],
    );
    let bytes = fs::read(&path).unwrap();
    let (members, last) = read(&bytes, ReadLimits::default());
    assert_eq!(last.unwrap(), Step::End);
    (bytes, members)
});

#[test]
fn what_is_written_is_read_back_and_matches_its_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    let written = write(&path, &[("events/000000", b"abc"), ("summary.json", b"{}")]);
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no .partial left"
    );
    let survey = survey(&path, ReadLimits::default()).unwrap();
    let manifest = survey.manifest.unwrap();
    let paths: Vec<_> = survey
        .members
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(paths, ["events/000000", "summary.json", "manifest.json"]);
    assert_eq!(
        (survey.summary, survey.truncated),
        (Some(b"{}".to_vec()), false)
    );
    // sha256sum of "abc": FIPS 180-2, appendix B.1.
    assert_eq!(
        manifest.files[0].sha256,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!(!manifest.limits["bundle_bytes"].hit);
}

#[test]
fn ordinary_tar_and_zstd_read_it() {
    let (bytes, members) = &*BUNDLE;
    let mut archive = tar::Archive::new(zstd::Decoder::new(bytes.as_slice()).unwrap());
    let mut seen = Members::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        seen.push((path, content));
    }
    assert_eq!(&seen, members);
}

#[test]
fn a_bundle_that_nothing_was_written_to_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    drop(BundleWriter::create(&path, WriteLimits::default()).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn an_unfinished_bundle_keeps_its_partial_file_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    let mut writer = BundleWriter::create(&path, WriteLimits::default()).unwrap();
    writer.add_file("evidence/before/x", b"first").unwrap();
    writer.add_segment("events/000000", b"second").unwrap();
    let partial = directory.path().join("a.kctx.tar.zst.partial");
    // Before the drop already: that is what a killed process leaves.
    let killed = fs::read(&partial).unwrap();
    drop(writer);
    for bytes in [killed, fs::read(&partial).unwrap()] {
        let (members, last) = read(&bytes, ReadLimits::default());
        assert_eq!(last.unwrap(), Step::Truncated);
        assert_eq!(members[1], ("events/000000".to_owned(), b"second".to_vec()));
    }
    assert!(!path.exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&partial), 0o600, "evidence is for its owner");
    // The same output can be captured to again.
    write(&path, &[("summary.json", b"{}")]);
    assert!(path.exists() && !partial.exists());
}

#[test]
fn records_stop_at_the_limit_and_the_rest_still_goes_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    let limits = WriteLimits { max_bytes: 20_000 };
    let mut writer = BundleWriter::create(&path, limits).unwrap();
    assert_eq!(
        writer.add_segment("events/0", &noise(15_000)).unwrap(),
        Segment::Added
    );
    // Larger than what is left, but not when compressed.
    assert_eq!(
        writer.add_segment("events/1", &[0; 9_000]).unwrap(),
        Segment::Added
    );
    assert_eq!(
        writer.add_segment("events/2", &noise(9_000)).unwrap(),
        Segment::LimitReached
    );
    assert!(writer.compressed_bytes() <= limits.max_bytes);
    // It would fit, but records with a gap would be read as records without.
    assert_eq!(
        writer.add_segment("events/3", b"x").unwrap(),
        Segment::LimitReached
    );
    writer.add_file("evidence/after/x", &noise(30_000)).unwrap();
    writer.finish(manifest()).unwrap();
    let survey = survey(&path, ReadLimits::default()).unwrap();
    assert_eq!(survey.members.len(), 4);
    let limit = survey.manifest.unwrap().limits["bundle_bytes"];
    assert_eq!((limit.limit, limit.hit, limit.dropped), (20_000, true, 2));
}

#[test]
fn outputs_that_cannot_be_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let create = |path: &Path| {
        let writer = BundleWriter::create(path, WriteLimits::default());
        writer.err().unwrap().to_string()
    };
    assert!(create(directory.path()).contains("it is a directory"));
    assert!(create(Path::new("/")).contains("it names no file"));
    assert!(create(Path::new("/dev/null")).contains("not a regular file"));
    let missing = directory.path().join("no/such/f.kctx.tar.zst");
    assert!(
        create(&missing).starts_with("cannot write"),
        "{}",
        create(&missing)
    );
    let output = directory.path().join("b");
    let _first = BundleWriter::create(&output, WriteLimits::default()).unwrap();
    assert!(create(&output).contains("being written by another capture"));
    let linked = directory.path().join("c");
    std::os::unix::fs::symlink("/nowhere", directory.path().join("c.partial")).unwrap();
    assert!(create(&linked).starts_with("cannot write"));
}

#[test]
fn member_paths_that_could_leave_a_directory_are_refused_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer =
        BundleWriter::create(&directory.path().join("a"), WriteLimits::default()).unwrap();
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a\nb",
        "manifest.json",
    ] {
        assert!(writer.add_file(path, b"").is_err(), "{path:?}");
    }
    for path in ["/etc/passwd", "../x", "events/\x1b[2J"] {
        let message = error(&zstd_of(&tar_of(&[(path, b"x")])));
        assert!(message.contains("cannot be the path"), "{message}");
    }
}

#[test]
fn foreign_files_are_named_for_what_they_are() {
    assert!(error(b"").contains("it is empty"));
    assert!(error(b"PK\x03\x04zip").contains("not zstd-compressed"));
    assert!(error(&zstd_of(&[b'x'; 2000])).contains("no tar archive"));
    assert!(error(&zstd_of(b"short")).contains("ends within a tar header"));
    let foreign = zstd_of(&tar_of(&[("README", b"hello")]));
    assert!(error(&foreign).contains("without manifest.json and events"));
    let other = zstd_of(&tar_of(&[("manifest.json", b"{\"name\":\"app\"}")]));
    assert!(error(&other).contains("not that of kctx"));
    let newer = zstd_of(&tar_of(&[(
        "manifest.json",
        b"{\"schema\":\"kctx.bundle.v9\"}",
    )]));
    assert!(error(&newer).contains("kctx.bundle.v9"));
    let Err(directory) = BundleReader::open(Path::new("/"), ReadLimits::default()) else {
        panic!("a directory was opened");
    };
    assert!(directory.to_string().contains("it is a directory"));
}

#[test]
fn a_changed_or_absent_member_is_named() {
    let (_, members) = &*BUNDLE;
    let pack = |members: &Members| {
        let members: Vec<_> = members
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
            .collect();
        zstd_of(&tar_of(&members))
    };
    let (_, last) = read(&pack(members), ReadLimits::default());
    assert_eq!(last.unwrap(), Step::End, "packing anew changes nothing");
    let mut changed = members.clone();
    changed[1].1[7] ^= 1;
    let message = error(&pack(&changed));
    assert!(
        message.contains("events/000000 does not match"),
        "{message}"
    );
    let mut absent = members.clone();
    absent.remove(3);
    assert!(error(&pack(&absent)).contains("summary.json is in its manifest but not"));
    let mut twice = members.clone();
    twice.insert(1, members[0].clone());
    assert!(error(&pack(&twice)).contains("holds that file twice"));
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let bomb = zstd_of(&tar_of(&[("events/0", &vec![0; 4 << 20])]));
    assert!(bomb.len() < 2000);
    let (mut member, mut total, mut count) = (
        ReadLimits::default(),
        ReadLimits::default(),
        ReadLimits::default(),
    );
    (member.member_bytes, total.total_bytes, count.members) = (1 << 20, 1 << 20, 0);
    for limits in [member, total, count] {
        let (members, last) = read(&bomb, limits);
        assert!(members.is_empty());
        assert!(
            last.unwrap_err()
                .to_string()
                .contains("larger than is safe")
        );
    }
}

#[test]
fn cut_anywhere_it_gives_the_members_before_the_cut() {
    let (bytes, members) = &*BUNDLE;
    let mut most = 0;
    for length in 1..bytes.len() {
        let (got, last) = read(&bytes[..length], ReadLimits::default());
        assert_eq!(last.unwrap(), Step::Truncated, "cut at {length}");
        assert_eq!(got, members[..got.len()], "cut at {length}");
        assert!(got.len() >= most, "a longer file gave less at {length}");
        most = got.len();
    }
    assert_eq!(most, members.len());
}

proptest! {
    #[test]
    fn damage_never_panics_and_never_passes_for_whole(
        position in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let (bytes, members) = &*BUNDLE;
        let mut damaged = bytes.clone();
        damaged[position.index(bytes.len())] ^= 1 << bit;
        let (got, last) = read(&damaged, ReadLimits::default());
        if matches!(last, Ok(Step::End)) {
            prop_assert_eq!(&got, members);
        }
    }

    #[test]
    fn any_tar_is_survived(content in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&content, ReadLimits::default());
        let _ = read(&zstd_of(&content), ReadLimits::default());
        let mut tar = tar_of(&[("events/0", b"x")]);
        tar.splice(512..512, content);
        let _ = read(&zstd_of(&tar), ReadLimits::default());
    }
}
