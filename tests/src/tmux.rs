//! A terminal: tmux, with a server, a shell and a size of its own, that never outlives the test.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Nothing that is waited for on a screen has reason to take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal that was forgotten closes by itself: after so many seconds.
const LONGEST: &str = "300";

/// What the shell writes when it waits for a command.
pub const PROMPT: &str = "ready>";

/// A terminal with a shell in it.
pub struct Terminal {
    socket: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Terminal {
    /// Opens one of so many columns and lines.
    pub fn open(columns: u16, lines: u16) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: format!("kctx-tests-{}-{number}", std::process::id()),
        };
        let shell = format!("exec env -i PATH=\"$PATH\" TERM=screen PS1='{PROMPT}' sh -i");
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns.to_string(),
            "-y",
            &lines.to_string(),
            &shell,
        ])?;
        // Where the test is killed nobody drops this.
        terminal.tmux(&["run-shell", "-b", "-d", LONGEST, "-C", "kill-server"])?;
        terminal.wait_for("the prompt", |screen| screen.contains(PROMPT))?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(arguments)
            .output()
            .context("cannot run tmux: apt install tmux")?;
        if !status.success() {
            bail!("tmux {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Types a text as it is.
    pub fn type_text(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).map(drop)
    }

    /// Presses a key by tmux's name of it: `Enter`, `Left`, `C-c`.
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(drop)
    }

    /// A command line for the shell.
    pub fn enter(&self, line: &str) -> Result<()> {
        self.type_text(line)?;
        self.press("Enter")
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines])
            .map(drop)
    }

    /// The process id of the command that the shell runs.
    pub fn command(&self) -> Result<u32> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"])?;
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        let children = std::fs::read_to_string(&children).context(children)?;
        children
            .trim()
            .parse()
            .context("the shell runs no command, or several")
    }

    /// What it shows, without blanks at the lines' ends.
    pub fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with its colours, as escape sequences.
    pub fn coloured_screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Whether a program has taken the whole screen (the alternate one).
    pub fn is_taken(&self) -> Result<bool> {
        let taken = self.tmux(&["display-message", "-p", "#{alternate_on}"])?;
        Ok(taken.trim() == "1")
    }

    /// Waits until the screen shows what is wanted, and gives it.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if wanted(&screen) {
                return Ok(screen);
            }
            if start.elapsed() > PATIENCE {
                bail!("no {what} within {PATIENCE:?}:\n{screen}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the shell has the terminal back, as it was: a screen of its own, lines, echo, a cursor.
    pub fn check_given_back(&self) -> Result<()> {
        self.wait_for("prompt", |screen| screen.trim_end().ends_with(PROMPT))?;
        assert!(!self.is_taken()?, "the alternate screen is still on");
        let cursor = self.tmux(&["display-message", "-p", "#{cursor_flag}"])?;
        assert_eq!(cursor.trim(), "1", "the cursor is still hidden");
        self.enter("clear; stty -a")?;
        let modes = self.wait_for("modes", |screen| {
            screen.contains("echoctl") && screen.trim_end().ends_with(PROMPT)
        })?;
        for mode in ["echo", "icanon", "isig", "opost", "icrnl"] {
            assert!(
                modes.split_whitespace().any(|word| word == mode),
                "no {mode}:\n{modes}"
            );
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server of its own: nobody else's session is in it.
        let _ = self.tmux(&["kill-server"]);
    }
}
