//! A VM tells QEMU what is to happen to it (docs/interop/qmp-spec.rst there), by its third serial line: what only firmware and
//! people at a machine make otherwise.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
};

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

const LINE: &str = "/dev/ttyS2";

/// QEMU's monitor.
pub struct Monitor {
    line: BufReader<File>,
    commands: u32,
}

impl Monitor {
    /// `None` where the machine has no such line.
    pub fn open() -> Result<Option<Self>> {
        let Ok(line) = File::options().read(true).write(true).open(LINE) else {
            return Ok(None);
        };
        // A port without a chip is there, and says so when it is asked for anything.
        let Ok(mut settings) = tcgetattr(&line) else {
            return Ok(None);
        };
        settings.make_raw();
        // A read that nothing comes to ends after some seconds, with nothing.
        settings.special_codes[SpecialCodeIndex::VMIN] = 0;
        settings.special_codes[SpecialCodeIndex::VTIME] = 200;
        tcsetattr(&line, OptionalActions::Flush, &settings)?;
        let mut monitor = Self {
            line: BufReader::new(line),
            commands: 0,
        };
        // Until now the line sent back what it was sent. No JSON has this byte: it ends whatever QEMU has read of a command.
        monitor.line.get_mut().write_all(b"\xff")?;
        match monitor.execute("qmp_capabilities", "{}") {
            Err(error) if !error.to_string().contains("already complete") => {
                Err(error).context("QEMU's monitor does not do as it is told")
            }
            _ => Ok(Some(monitor)),
        }
    }

    /// Has it do something, with arguments in JSON, and waits until it did.
    pub fn execute(&mut self, command: &str, arguments: &str) -> io::Result<()> {
        self.commands += 1;
        // Of this process: another may have asked before.
        let id = format!(r#""id": "{}-{}""#, std::process::id(), self.commands);
        let line = format!(r#"{{"execute": "{command}", "arguments": {arguments}, {id}}}"#);
        writeln!(self.line.get_mut(), "{line}")?;
        loop {
            let mut answer = String::new();
            if self.line.read_line(&mut answer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // All else are events, its greeting, and answers to what was no command.
            if answer.contains(&id) {
                return match answer.contains(r#""error""#) {
                    true => Err(io::Error::other(format!("{line}: {answer}"))),
                    false => Ok(()),
                };
            }
        }
    }
}
