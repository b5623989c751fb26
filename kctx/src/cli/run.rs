//! `kctx run`: the daemon.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{self, Config, ConfigError, ConfigFile, SocketChoice},
    control,
    daemon::{ReadAgain, Sinks},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration; /etc/kctx/kctx.toml where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How often the live view changes.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_interval)]
    interval: Option<Duration>,
    /// End by itself after this long.
    #[arg(long, value_name = "DURATION", value_parser = config::parse_duration)]
    duration: Option<Duration>,
    /// Size of each CPU's ring.
    #[arg(long, value_name = "SIZE", value_parser = config::parse_ring_size)]
    ring_size: Option<u32>,
    /// Log what the programs of rare events (modules) see; with KCTX_LOG=info.
    #[arg(long)]
    bpf_log: bool,
    /// Where `kctx capture` may ask for what is kept: /run/kctx/kctx.sock without it. Empty: nowhere.
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Only read the configuration, say what its triggers mean, and end.
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    exports: super::ExportArgs,
    /// Where this machine permits no live measurement, say why and replay this bundle.
    #[arg(long, value_name = "FILE")]
    or_replay: Option<PathBuf>,
}

impl Args {
    /// The file's configuration, with what the command line says instead.
    fn configuration(&self, file: &mut ConfigFile) -> Result<Config, ConfigError> {
        let mut config = file.read()?;
        if let Some(interval) = self.interval {
            config.run.interval = interval;
        }
        if let Some(size) = self.ring_size {
            config.kernel.ring_size = size;
        }
        config.kernel.bpf_log |= self.bpf_log;
        Ok(config)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut file = ConfigFile::new(args.config.as_deref());
    let config = args.configuration(&mut file)?;
    let variable = std::env::var(control::SOCKET_VARIABLE).ok();
    let socket = (config.control).choose(args.socket.as_deref(), variable.as_deref());
    if args.check_config {
        return super::output::print(&checked(&config, &socket));
    }
    let sinks = Sinks::of_this_host(&config, &args.exports.wishes())?;
    let mut read_again = || args.configuration(&mut file);
    let configuration = (&config, &mut read_again as ReadAgain<'_>);
    let error = match live(configuration, sinks, &socket, args.duration) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match &args.or_replay {
        Some(sample) if is_not_live(&error) => {
            eprintln!("kctx: ================================================================");
            eprintln!("kctx: NOT LIVE: {}", super::one_line(&error));
            eprintln!(
                "kctx: What follows is the recording {}, not this machine.",
                sample.display()
            );
            eprintln!("kctx: ================================================================");
            super::replay::replay(sample, &config, &args.exports.wishes())
        }
        _ => Err(error),
    }
}

#[cfg(kctx_live)]
fn live(
    configuration: (&Config, ReadAgain<'_>),
    sinks: Sinks,
    socket: &SocketChoice,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    crate::daemon::run_live(configuration, sinks, socket, duration)
}

#[cfg(kctx_live)]
fn is_not_live(error: &anyhow::Error) -> bool {
    error.is::<crate::source::live::NotLive>()
}

#[cfg(not(kctx_live))]
fn live(
    _configuration: (&Config, ReadAgain<'_>),
    _sinks: Sinks,
    _socket: &SocketChoice,
    _duration: Option<Duration>,
) -> anyhow::Result<()> {
    anyhow::bail!(crate::probe::NO_OBJECT)
}

#[cfg(not(kctx_live))]
fn is_not_live(_error: &anyhow::Error) -> bool {
    true
}

/// What a configuration that is right means, where that is not plain from its words.
fn checked(config: &Config, socket: &SocketChoice) -> String {
    let mut text = String::from("the configuration is right\n");
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    let recorder = &config.recorder;
    if recorder.length.is_zero() {
        line("recorder: off; captures have nothing from before they were asked for".to_owned());
    } else {
        line(format!(
            "recorder: the last {} of records, in at most {}",
            humantime::format_duration(recorder.length),
            bytesize::ByteSize(recorder.memory as u64).display().iec()
        ));
    }
    match &socket.path {
        Some(path) => line(format!("control socket: {}", path.display())),
        None => line("control socket: none".to_owned()),
    }
    let capture = &config.capture;
    match config.trigger.len() {
        0 => line("triggers: none".to_owned()),
        rules => line(format!(
            "triggers: {rules}; bundles go into {}, at most {} of {} together, the oldest go first; between two captures \
             lies at least {}",
            capture.directory.display(),
            capture.max_bundles,
            bytesize::ByteSize(capture.max_total).display().iec(),
            humantime::format_duration(capture.pause)
        )),
    }
    for rule in &config.trigger {
        line(format!("  {}", rule.words(capture.pause)));
    }
    text
}
