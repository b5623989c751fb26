use std::{io::Cursor, sync::LazyLock};

use proptest::prelude::*;

use super::*;
use crate::{
    capture::{
        bundle::{BundleWindow, BundleWriter, WriteLimits, reader::ZSTD_MAGIC},
        events::Encoder,
    },
    host::HostIdentity,
    source::Control,
};

/// Text that hardly compresses, so that each member has bytes of its own in the file.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b' ' + (state % 90) as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn segment(names: u64) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for id in 0..names {
        let text = String::from_utf8(text(id + names, 60)).unwrap();
        encoder.control(&Control::Name { id, text });
    }
    encoder.finish()
}

type Members = Vec<(String, Vec<u8>)>;

/// A bundle with a frame for each segment, and its members.
static BUNDLE: LazyLock<(Vec<u8>, Members)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kctx.tar.zst");
    let mut writer = BundleWriter::create(&path, WriteLimits::default()).unwrap();
    let members: Members = vec![
        ("evidence/before/proc/stat".to_owned(), text(1, 9_000)),
        ("events/000000.seg".to_owned(), segment(4_000)),
        ("events/000001.seg".to_owned(), segment(4_001)),
        ("events/000002.seg".to_owned(), segment(4_002)),
        ("summary.json".to_owned(), b"{}".to_vec()),
    ];
    for (path, bytes) in &members {
        writer.add_file(path, bytes).unwrap();
    }
    let window = BundleWindow::default();
    writer
        .finish(Manifest::new(HostIdentity::default(), window))
        .unwrap();
    (std::fs::read(&path).unwrap(), members)
});

fn salvaged(bytes: &[u8]) -> Option<(Members, Vec<String>)> {
    let limits = ReadLimits::default();
    let salvage = Salvage::of(Cursor::new(bytes), limits).unwrap()?;
    let mut members = Members::new();
    let mut walk = Walk::new(Cursor::new(bytes), limits).unwrap().unwrap();
    while let Some(event) = walk.next().unwrap() {
        if let Event::Member(number, member) = event
            && salvage.whole.contains(&number)
        {
            members.push((member.path, member.bytes));
        }
    }
    Some((members, salvage.damage()))
}

fn zstd_of_tar(members: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    zstd::bulk::compress(&builder.into_inner().unwrap(), 1).unwrap()
}

#[test]
fn a_whole_bundle_is_all_whole() {
    let (bytes, members) = &*BUNDLE;
    let (got, damage) = salvaged(bytes).unwrap();
    assert_eq!(&got, members);
    assert_eq!(damage, [""; 0]);
}

#[test]
fn segments_before_and_after_a_broken_one_are_whole() {
    let (bytes, members) = &*BUNDLE;
    // Each segment has a frame of its own of some 200 KB; the first lies behind the evidence.
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 4;
    let (got, damage) = salvaged(&damaged).unwrap();
    let paths: Vec<&str> = got.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.contains(&"events/000000.seg"), "{paths:?}");
    assert!(paths.contains(&"events/000002.seg"), "{paths:?}");
    assert!(!paths.contains(&"events/000001.seg"), "{paths:?}");
    assert!(paths.contains(&"summary.json"), "{paths:?}");
    assert!(got.iter().all(|member| members.contains(member)));
    let told = damage.join("\n");
    assert!(told.contains("events/000001.seg is lost"), "{told}");
}

#[test]
fn without_a_manifest_frames_that_held_are_believed() {
    let (bytes, members) = &*BUNDLE;
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 4;
    damaged.truncate(bytes.len() - 700);
    let (got, damage) = salvaged(&damaged).unwrap();
    assert!(got.iter().any(|(path, _)| path == "events/000000.seg"));
    assert!(!got.iter().any(|(path, _)| path == "events/000001.seg"));
    assert!(got.iter().all(|member| members.contains(member)));
    assert!(
        damage.iter().any(|line| line.contains("its end is lost")),
        "{damage:?}"
    );
}

#[test]
fn hostile_members_are_left_where_they_are() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let good = segment(3);
    let huge = {
        let mut header = tar::Header::new_gnu();
        header.set_path("events/9.seg").unwrap();
        header.set_size(1 << 60);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let file = zstd_of_tar(&[
        ("/etc/passwd", Regular, b"x"),
        ("../../up", Regular, b"x"),
        ("events/a/../../../b", Regular, b"x"),
        ("events/link", Symlink, b""),
        ("events", Directory, b""),
        ("events/0.seg", Regular, &good),
        ("events/0.seg", Regular, b"other"),
        ("events/1.seg", Regular, b"KCTXEVT\x03\x07\xff\xff\xff"),
        // Stands for itself: what is in a file is never taken for a header.
        ("evidence/after/x", Regular, &huge),
        ("elsewhere", Regular, b"x"),
    ]);
    let (got, damage) = salvaged(&file).unwrap();
    let paths: Vec<&str> = got.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["events/0.seg", "evidence/after/x"]);
    assert_eq!(got[0].1, good);
    let told = damage.join("\n");
    for what in [
        "/etc/passwd",
        "../../up",
        "events/link",
        "is there twice",
        "events/1.seg",
    ] {
        assert!(told.contains(what), "{what}: {told}");
    }
    // A size that nobody has.
    let mut tar = huge;
    tar.extend(zstd::decode_all(&file[..]).unwrap());
    let (got, damage) = salvaged(&zstd::bulk::compress(&tar, 1).unwrap()).unwrap();
    assert_eq!(got.len(), 2);
    assert!(
        damage.join("\n").contains("more than is safe to read"),
        "{damage:?}"
    );
}

#[test]
fn what_unpacks_to_too_much_ends() {
    let bomb = zstd_of_tar(&[
        ("events/0.seg", tar::EntryType::Regular, &segment(2)),
        ("events/1.seg", tar::EntryType::Regular, &vec![0; 8 << 20]),
    ]);
    let limits = ReadLimits {
        total_bytes: 1 << 20,
        ..ReadLimits::default()
    };
    // Its only frame did not hold, so nothing in it is believed.
    assert!(Salvage::of(Cursor::new(bomb), limits).unwrap().is_none());
    assert!(
        Salvage::of(Cursor::new(b"no bundle at all"), limits)
            .unwrap()
            .is_none()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_given_is_what_was_written(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (bytes, members) = &*BUNDLE;
        let mut damaged = bytes.clone();
        for (place, bit) in &flips {
            damaged[place.index(bytes.len())] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            damaged.truncate(cut.index(bytes.len()));
        }
        // What was changed in a frame that was then cut short, nothing vouches against.
        let cut_frame = match cut {
            Some(_) => (bytes[..damaged.len()].windows(ZSTD_MAGIC.len()))
                .rposition(|at| at == ZSTD_MAGIC)
                .unwrap_or(0)..damaged.len(),
            None => 0..0,
        };
        let vouched = (flips.iter()).all(|(at, _)| !cut_frame.contains(&at.index(bytes.len())));
        if let Some((got, damage)) = salvaged(&damaged) {
            prop_assert!(!vouched || got.iter().all(|member| members.contains(member)));
            prop_assert!(got.len() == members.len() || !damage.is_empty());
        }
        // Three flips break at most three of five frames.
        if cut.is_none() {
            prop_assert!(salvaged(&damaged).is_some());
        }
    }

    #[test]
    fn any_file_is_survived(content in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = salvaged(&content);
        let _ = salvaged(&zstd::bulk::compress(&content, 1).unwrap());
        let (bytes, _) = &*BUNDLE;
        let mut mixed = bytes[..5000].to_vec();
        mixed.extend(&content);
        mixed.extend(&bytes[bytes.len() - 5000..]);
        let _ = salvaged(&mixed);
    }
}
