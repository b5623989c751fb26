//! One boot of a VM: its console is read until it ends or its time is up.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command;

/// QEMU for the only architecture that VMs are started on.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// What to boot, and how.
pub(crate) struct Boot<'a> {
    pub(crate) image: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) cpus: u32,
    /// Whether its clock counts instructions.
    pub(crate) count_instructions: bool,
    /// More of the kernel's command line.
    pub(crate) append: &'a str,
    pub(crate) timeout: Duration,
    /// Where the console is kept, each line with the seconds since the start before it.
    pub(crate) log: &'a Path,
}

/// Boots, hands every console line to `line`, and returns true if the VM ended by itself.
pub(crate) fn boot(boot: &Boot<'_>, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut log =
        File::create(boot.log).with_context(|| format!("cannot write {}", boot.log.display()))?;
    let mut qemu = Running(qemu(boot).spawn().context("cannot start QEMU")?);
    let console = qemu.0.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut bytes = Vec::new();
        while console.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes);
            if sender.send(clean(&text)).is_err() {
                break;
            }
            bytes.clear();
        }
    });

    let start = Instant::now();
    let end = start + boot.timeout;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                writeln!(log, "{:7.1} {text}", start.elapsed().as_secs_f64())
                    .context("cannot write the console's log")?;
                line(&text);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(true),
            Err(RecvTimeoutError::Timeout) => return Ok(false),
        }
    }
}

fn qemu(boot: &Boot<'_>) -> Command {
    let program = command::program(PROGRAM).unwrap_or_else(|| PROGRAM.into());
    // Should xtask itself be killed, the VM must not stay behind.
    let mut qemu = match command::program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    let memory = if boot.cpus > 8 { "2048" } else { "1024" };
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    // Emulation: KVM is often there and not usable.
    //
    // One thread for all processors: attaching a probe patches code that another processor runs at that
    // moment, and with a thread each QEMU may go on with what it had translated of the breakpoint, which
    // the guest's kernel then dies of ("Oops: int3").
    //
    // No cmpxchg16b: the kernel's allocator (SLUB) does without where the processor has none, and QEMU 7.2
    // seems to emulate it badly. Debian's 6.12 cloud kernel died in 5 of 50 boots, two with a double fault at
    // that instruction and the others elsewhere; without it in none of 80.
    qemu.args(["-accel", "tcg,thread=single", "-cpu", "max,-cx16"]);
    if boot.count_instructions {
        // Without waiting where all are idle: its time then goes on at once.
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.args(["-m", memory])
        // A second serial line whose other end takes whatever comes.
        .args(["-display", "none", "-serial", "stdio", "-serial", "null"])
        .args(monitor())
        .args(["-nic", "none", "-no-reboot", "-smp"])
        .arg(topology(boot.cpus))
        .args(network_cards())
        .args(joined_cards())
        // On the cards' interrupt line: a device that raises it as tests tell it to, and has no driver.
        .args(["-device", "edu,addr=0xc"])
        .arg("-kernel")
        .arg(boot.image)
        .arg("-initrd")
        .arg(boot.initramfs)
        .arg("-append")
        // Only a dying kernel writes between the tests' lines; the others are in dmesg. One that stumbled ends
        // at once: what the tests saw afterwards would be of no worth.
        .arg(format!(
            "console=ttyS0 oops=panic panic=-1 quiet loglevel=1 {}",
            boot.append
        ));
    qemu
}

/// Processors as a machine with so many has them: two threads a core.
fn topology(cpus: u32) -> String {
    match cpus > 8 && cpus.is_multiple_of(2) {
        true => format!("{cpus},threads=2"),
        false => cpus.to_string(),
    }
}

/// Two network cards on one interrupt line, for tests to load their driver: with both up, an interrupt of
/// one is none of the other's.
///
/// Slots that are four apart have the same line (pc's PCI routing goes by slot modulo 4). Each has a network
/// of its own that answers at 10.0.2.2 and leads nowhere. No option ROM: nobody boots from them.
fn network_cards() -> Vec<String> {
    [("net0", 4), ("net1", 8)]
        .into_iter()
        .flat_map(|(id, slot)| {
            [
                "-netdev".to_owned(),
                format!("user,id={id},restrict=on"),
                "-device".to_owned(),
                format!("e1000,netdev={id},addr={slot:#x},romfile="),
            ]
        })
        .collect()
}

/// A third serial line, by which the VM itself can tell QEMU what happens to it (QMP): events that only firmware and people at
/// the machine make otherwise.
fn monitor() -> Vec<String> {
    static BOOTS: AtomicU32 = AtomicU32::new(0);
    // In the namespace of abstract sockets: nothing is left of it.
    let boot = BOOTS.fetch_add(1, Ordering::Relaxed);
    let socket = format!("path=kctx-vm-{}-{boot},abstract=on", std::process::id());
    [
        "-chardev",
        &format!("socket,id=monitor,{socket},server=on,wait=off"),
        "-mon",
        "chardev=monitor,mode=control",
        "-chardev",
        &format!("socket,id=line,{socket}"),
        "-serial",
        "chardev:line",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Two more on a line of their own, each of which receives what the other sends; so does a network that leads nowhere, without which
/// QEMU warns.
fn joined_cards() -> Vec<String> {
    let cards = [("net2", 0xd), ("net3", 0x11)].map(|(id, slot)| {
        [
            "-netdev".to_owned(),
            format!("hubport,id={id},hubid=0"),
            "-device".to_owned(),
            format!("e1000,netdev={id},addr={slot:#x},romfile="),
        ]
    });
    let nowhere = [
        "-netdev",
        "user,id=nowhere,restrict=on",
        "-netdev",
        "hubport,id=port,hubid=0,netdev=nowhere",
    ];
    (nowhere.map(str::to_owned).into_iter())
        .chain(cards.into_iter().flatten())
        .collect()
}

/// Ends its own child, and only that, whichever way the boot is left.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A console line without the firmware's escape sequences and the line's end.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ parameters letter, or ESC letter.
            if chars.next() == Some('[') {
                let _ = chars.find(char::is_ascii_alphabetic);
            }
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_line_ends_go() {
        assert_eq!(clean("\u{1b}c\u{1b}[?7l\u{1b}[2JSeaBIOS\r\n"), "SeaBIOS");
        assert_eq!(clean("a\tb [1]\n"), "a\tb [1]");
    }
}
