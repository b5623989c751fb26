//! Captures that come to their bounds: what was taken until then can be read, one line says why, and the status is not 0.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kctx_tests::{
    bundle::Bundle,
    load,
    program::{self, Ended, Running},
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::{Output, alone, in_vm};

const IN_TIME: Duration = Duration::from_secs(30);

/// A file system of its own with so much room; gone when dropped.
pub(crate) struct Small(tempfile::TempDir);

impl Small {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn mount(size: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        ensure!(mount.arg(folder.path()).status()?.success(), "no tmpfs");
        Ok(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn capture(path: &Path, more: &[&str]) -> Result<Running> {
    let path = path.to_string_lossy();
    let mut arguments = vec!["capture", "-o", &path];
    arguments.extend(more);
    Running::kctx(arguments)
}

fn report(path: &Path) -> Result<Ended> {
    program::run(["report", "--format", "json", &path.to_string_lossy()])?.success()
}

fn check_one_line(ended: &Ended, says: &str) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("kctx: ") && last.contains(says),
        "{ended:?}"
    );
}

#[test]
fn what_fits_a_full_disk_can_be_read() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let small = Small::mount("1500k")?;
    let path = small.path().join("full.kctx.tar.zst");
    let ended = capture(&path, &["--window", "60s"])?.wait(IN_TIME * 3)?;
    check_one_line(&ended, "No space left on device");
    assert!(
        ended
            .stderr
            .contains("the capture was cut short; kctx report "),
        "{ended:?}"
    );
    let said = report(&path.with_extension("zst.partial"))?;
    assert!(said.stderr.contains("was cut short"), "{said:?}");
    Ok(())
}

#[test]
fn few_descriptors_at_the_start_are_no_hindrance() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let before = getrlimit(Resource::Nofile);
    // What kctx inherits; it has more maps, programs and links than that.
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(48),
            ..before
        },
    )?;
    let started = capture(&output.path(), &["--window", "200ms"]);
    setrlimit(Resource::Nofile, before)?;
    started?.wait(IN_TIME)?.success()?;
    let probes = Bundle::read(&output.path())?.summary.probes;
    let open_files = |reason: &String| reason.contains("open files");
    for probe in probes {
        assert!(!probe.reason.as_ref().is_some_and(open_files), "{probe:?}");
    }
    Ok(())
}

#[test]
fn a_bundle_whose_folder_is_gone_is_kept_elsewhere() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let folder = output.path().with_file_name("gone");
    fs::create_dir(&folder)?;
    let mut capture = capture(&folder.join("a.kctx.tar.zst"), &["--window", "1s"])?;
    capture.wait_until_open()?;
    fs::remove_dir_all(&folder)?;
    let ended = capture.wait(IN_TIME)?;
    check_one_line(&ended, "its folder is gone; the bundle is in ");
    let (_, kept) = ended.stderr.trim_end().rsplit_once(' ').unwrap_or_default();
    let bundle = Bundle::read(Path::new(kept));
    fs::remove_file(kept)?;
    assert!(bundle?.summary.window.duration_ns > 900_000_000);
    Ok(())
}

#[test]
fn of_a_killed_capture_the_records_until_then_can_be_read() -> Result<()> {
    let _alone = alone();
    let _udp = load::slow_udp(Duration::from_millis(5))?;
    let output = Output::new()?;
    let mut capture = capture(&output.path(), &["--window", "60s"])?;
    capture.wait_until_open()?;
    // A segment is written when it is large, or some seconds old.
    let partial = output.path().with_extension("zst.partial");
    let size = || fs::metadata(&partial).map_or(0, |file| file.len());
    let (began, before) = (Instant::now(), size());
    while size() <= before + 4096 && began.elapsed() < IN_TIME {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(if in_vm() { 20 } else { 6 }));
    capture.signal(Signal::KILL)?;
    capture.wait(IN_TIME)?;
    let said = report(&partial)?;
    assert!(said.stderr.contains("was cut short"), "{said:?}");
    let summary: serde_json::Value = serde_json::from_str(&said.stdout)?;
    assert!(summary["window"]["duration_ns"].as_u64() > Some(3_000_000_000));
    Ok(())
}

#[test]
fn a_capture_that_takes_too_much_memory_ends_and_says_so() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    fs::write(&config, "[capture]\nmax_memory = \"8MiB\"\n")?;
    let config = config.to_string_lossy();
    let ended = capture(&output.path(), &["--window", "60s", "--config", &config])?;
    check_one_line(&ended.wait(IN_TIME)?, "[capture] max_memory");
    let manifest = Bundle::read(&output.path())?.manifest;
    assert!(manifest.interrupted);
    assert!(manifest.limits["memory_bytes"].hit);
    assert!(manifest.limits["window_ns"].hit);
    Ok(())
}

#[test]
fn stacks_beyond_those_that_are_told_apart_are_one_row() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    fs::write(&config, "[stacks]\nfrequency = 999\nmost = 10\n")?;
    let config = config.to_string_lossy();
    let ended = capture(&output.path(), &["--window", "2s", "--config", &config])?;
    let ended = ended.wait(IN_TIME)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let bundle = Bundle::read(&output.path())?;
    let rows = &bundle.summary.stack;
    let others = rows.iter().filter(|row| row.context == "others");
    assert_eq!(others.count(), 1, "{rows:?}");
    // Two that differ only in places within the same functions are one row.
    assert!((2..=11).contains(&rows.len()), "{rows:?}");
    let limit = &bundle.manifest.limits["stacks"];
    assert!(limit.hit && limit.limit == 10, "{limit:?}");
    Ok(())
}

/// Bytes that each record takes under a network load, all but the evidence.
#[test]
fn a_record_takes_four_bytes_at_most() -> Result<()> {
    let _alone = alone();
    let _udp = load::udp()?;
    let output = Output::new()?;
    capture(&output.path(), &["--window", "3s"])?
        .wait(IN_TIME)?
        .success()?;
    let bundle = Bundle::read(&output.path())?;
    let mut packed = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3)?);
    for (path, bytes) in &bundle.members {
        if path.starts_with("evidence/") {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            packed.append_data(&mut header, path, &bytes[..])?;
        }
    }
    let evidence = packed.into_inner()?.finish()?.len() as u64;
    let bytes = fs::metadata(output.path())?.len().saturating_sub(evidence);
    let records = bundle.summary.accounting.total.streamed;
    let each = bytes as f64 / records as f64;
    println!("{each:.2} bytes a record, of {records}");
    let enough = if in_vm() { 30_000 } else { 100_000 };
    assert!(records > enough && each <= 4.0, "{each} of {records}");
    Ok(())
}
