use std::{fs, io::Write as _, path::Path};

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A machine whose log is a file: each look finds the one record that was written since the last.
fn machine() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let kernel = directory.path().join("proc/sys/kernel");
    fs::create_dir_all(kernel).unwrap();
    fs::create_dir(directory.path().join("dev")).unwrap();
    fs::write(directory.path().join("dev/kmsg"), "").unwrap();
    taint(directory.path(), "0\n");
    directory
}

fn taint(root: &Path, value: &str) {
    fs::write(root.join("proc/sys/kernel/tainted"), value).unwrap();
}

fn log(root: &Path, record: &str) {
    let mut file = fs::OpenOptions::new();
    let mut file = file.append(true).open(root.join("dev/kmsg")).unwrap();
    file.write_all(record.as_bytes()).unwrap();
}

fn open(root: &Path) -> Watch {
    Watch::open(&HostRoot::new(root), LogBounds::default())
}

fn log_of(closed: &Closed) -> Option<&LogRows> {
    closed.controls.iter().find_map(|control| match control {
        Control::Log(log) => Some(&**log),
        _ => None,
    })
}

#[test]
fn what_cannot_be_read_is_a_probe_that_is_not_attached() {
    let machine = machine();
    let attached = |watch: &Watch| -> Vec<(String, bool)> {
        let probes = watch.probes().iter();
        probes.map(|p| (p.name.clone(), p.attached)).collect()
    };
    let names = ["log:/dev/kmsg", "taint:/proc/sys/kernel/tainted"].map(str::to_owned);
    let both = |is| names.clone().map(|name| (name, is));
    assert_eq!(attached(&open(machine.path())), both(true));
    let nothing = tempfile::tempdir().unwrap();
    let mut watch = open(nothing.path());
    assert_eq!(attached(&watch), both(false));
    let reason = watch.probes()[0].reason.clone().unwrap();
    assert!(reason.starts_with("/dev/kmsg: No such file"), "{reason}");
    // It goes on without.
    watch.start(SECOND);
    let closed = watch.close(2 * SECOND, Next::Nothing);
    assert!(closed.controls.is_empty() && closed.taint.is_none());
}

#[test]
fn what_came_before_the_window_is_not_in_it() {
    let machine = machine();
    let mut watch = open(machine.path());
    log(machine.path(), "4,1,1,-;while attaching\n");
    taint(machine.path(), "512\n");
    watch.start(10 * SECOND);
    let closed = watch.close(11 * SECOND, Next::Nothing);
    assert!(closed.controls.is_empty(), "{:?}", closed.controls);
    assert_eq!(closed.taint, Some(512));
}

#[test]
fn a_line_lies_in_the_window_and_between_the_polls() {
    let machine = machine();
    let mut watch = open(machine.path());
    watch.start(10 * SECOND);
    // By printk's clock before the window, and after it.
    log(machine.path(), "4,1,9000000,-;first\n");
    assert_eq!(watch.poll(10 * SECOND + SECOND / 4), None);
    log(machine.path(), "3,2,99000000,-;second\n");
    taint(machine.path(), "4096\n");
    let closed = watch.close(11 * SECOND, Next::Window);
    let times: Vec<_> = (log_of(&closed).unwrap().lines.iter())
        .map(|line| (line.text.as_str(), line.time_unix_ns))
        .collect();
    assert_eq!(times, [("first", 10 * SECOND), ("second", 11 * SECOND)]);
    let change = Control::Taint {
        monotonic_ns: 11 * SECOND,
        before: 0,
        after: 4096,
    };
    assert_eq!(closed.controls[0], change);
    assert!(watch.close(12 * SECOND, Next::Window).controls.is_empty());
}

#[test]
fn what_is_left_at_the_end_of_all_is_told() {
    for (next, overruns) in [(Next::Window, None), (Next::Nothing, Some(1))] {
        let machine = machine();
        let mut watch = open(machine.path());
        watch.start(SECOND);
        // More reads than a last look has, and nothing in them.
        let path = machine.path().join("dev/kmsg");
        let kmsg = fs::File::options().write(true).open(path).unwrap();
        kmsg.set_len(100 << 20).unwrap();
        let closed = watch.close(2 * SECOND, next);
        assert_eq!(log_of(&closed).map(|log| log.overruns), overruns);
    }
}

#[test]
fn an_error_is_counted_and_an_unreadable_taint_has_no_value() {
    let machine = machine();
    let mut watch = open(machine.path());
    watch.start(SECOND);
    watch.failed(&std::io::Error::other("gone"));
    taint(machine.path(), "many\n");
    let closed = watch.close(2 * SECOND, Next::Window);
    assert_eq!(log_of(&closed).unwrap().failed, 1);
    assert_eq!(closed.taint, None);
}
