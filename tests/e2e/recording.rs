//! Configurations of what is recorded, and captures through daemons that are none.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
};

use anyhow::Result;
use kctx_tests::program;

use crate::check_failed;

#[test]
fn a_configuration_that_is_right_is_said_in_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("kctx.toml");
    fs::write(
        &config,
        "[recorder]\nlength = \"1m\"\n[capture]\nmax_bundles = 7\n\
         [[trigger]]\nname = \"late\"\nwhen = \"softirq_wait_p99\"\nvector = \"NET_RX\"\nabove = \"20ms\"\n\
         [[trigger]]\nname = \"new\"\nwhen = \"module_load\"\nmodule = \"nvidia*\"\npause = \"1h\"\n",
    )?;
    let config = config.to_string_lossy();
    let ended = program::run([
        "run",
        "--check-config",
        "--config",
        &config,
        "--socket",
        "/x/y",
    ])?;
    let ended = ended.success()?;
    for words in [
        "recorder: the last 1m of records, in at most 32.0 MiB",
        "control socket: /x/y",
        "at most 7 of 1.0 GiB together",
        "  late: when the 99th percentile of NET_RX's wait is 20.0 ms or more for 5s",
        "  new: when a module is loaded whose name matches nvidia*, captures what the recorder has and 10s more; not again \
         within 1h",
    ] {
        assert!(
            ended.stdout.contains(words),
            "no {words:?}: {}",
            ended.stdout
        );
    }
    let none = program::run(["run", "--check-config"])?.success()?;
    assert!(none.stdout.contains("triggers: none"), "{}", none.stdout);
    assert!(
        none.stdout.contains("control socket: none"),
        "{}",
        none.stdout
    );
    Ok(())
}

#[test]
fn a_rule_that_is_wrong_is_one_line_with_its_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("kctx.toml");
    fs::write(
        &config,
        "[run]\ninterval = \"1s\"\n\n[[trigger]]\nname = \"late\"\nwhen = \"softirq_wait_p99\"\nabove = \"20%\"\n",
    )?;
    let config = config.to_string_lossy();
    for arguments in [
        &["run", "--check-config", "--config", &config][..],
        &["run", "--config", &config],
        &["capture", "--config", &config],
    ] {
        let ended = program::run(arguments)?;
        check_failed(
            &ended,
            &[
                "kctx.toml: line 4:",
                "trigger \"late\"",
                "\"20%\" is no duration",
            ],
        );
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_not_there_is_said_where_it_was_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("none.sock");
    let output = folder.path().join("f");
    let ended = program::run([
        "capture",
        "--socket",
        &socket.to_string_lossy(),
        "-o",
        &output.to_string_lossy(),
    ])?;
    check_failed(&ended, &["no kctx run listens on", "none.sock"]);
    assert!(!output.exists());
    Ok(())
}

#[test]
fn what_listens_and_is_no_daemon_is_told_as_such() -> Result<()> {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x05\0\0\0\x04is no",
        b"",
    ] {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("other.sock");
        let listener = UnixListener::bind(&socket)?;
        let other = std::thread::spawn(move || -> std::io::Result<()> {
            // It first looks whether anybody listens.
            drop(listener.accept()?);
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 16];
            stream.read_exact(&mut request)?;
            stream.write_all(answer)
        });
        let output = folder.path().join("f");
        let ended = program::run([
            "capture",
            "--window",
            "1s",
            "--socket",
            &socket.to_string_lossy(),
            "-o",
            &output.to_string_lossy(),
        ])?;
        assert!(other.join().is_ok_and(|served| served.is_ok()));
        let says = match answer {
            b"" => "cannot capture through the daemon on",
            b"\x05\0\0\0\x04is no" => "kctx: is no",
            _ => "is no kctx run of this version",
        };
        check_failed(&ended, &[says]);
        assert!(!output.exists(), "no bundle");
    }
    Ok(())
}
