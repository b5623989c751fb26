//! The command line: one file a command.

mod capture;
mod diagnose;
mod diff;
mod doctor;
mod export;
mod output;
mod replay;
mod report;
mod run;
mod shell;
mod top;
mod width;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    daemon::Wishes,
    export::{
        otlp::{OtlpConfig, settings::Protocol},
        prometheus::settings::{DEFAULT_LISTEN, Listen},
    },
    one_line::one_line,
};

/// Which kernel context burns which CPU, how late it starts, how long it runs, and what put it there.
#[derive(Debug, Parser)]
#[command(name = "kctx", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure until told to stop: show it live, answer scrapes on loopback, push it as OTLP where an endpoint is
    /// set.
    Run(run::Args),
    /// Look at what `run` measures live, in tables: sort, filter, pause, go back.
    Top(top::Args),
    /// Measure for a bounded window, and bring home a bundle with the evidence.
    Capture(capture::Args),
    /// Measure for a bounded window or read a bundle, and say what is hot and why, or that nothing is.
    Diagnose(diagnose::Args),
    /// Read a bundle.
    Report(report::Args),
    /// Turn a bundle into a Perfetto trace, lines of JSON or folded stacks.
    Export(export::Args),
    /// Rank what changed between two bundles.
    Diff(diff::Args),
    /// Send a bundle through the whole pipeline, its exporters too.
    Replay(replay::Args),
    /// Say what this kernel, these privileges and this configuration allow, and what to do.
    Doctor(doctor::Args),
    /// Print a completion script for a shell.
    Completions(shell::CompletionsArgs),
    /// Print the manual page.
    Man,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Where to push and where to be scraped; over the configuration, which is over the `OTEL_*` variables.
#[derive(Debug, Default, clap::Args)]
struct ExportArgs {
    /// Push OTLP metrics and logs here: a base URL such as http://localhost:4318.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// http/protobuf or grpc.
    #[arg(long, value_name = "PROTOCOL", value_parser = otlp_protocol)]
    otlp_protocol: Option<Protocol>,
    /// Answer Prometheus' scrapes here: 127.0.0.1:9769 where no address is given, nowhere with `none`. A run does so
    /// unasked; a replay that is asked to goes on answering until a signal.
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = listen,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_LISTEN
    )]
    prometheus_listen: Option<Listen>,
}

fn otlp_protocol(text: &str) -> Result<Protocol, String> {
    text.parse()
}

fn listen(text: &str) -> Result<Listen, String> {
    text.parse()
}

impl ExportArgs {
    fn wishes(&self) -> Wishes {
        Wishes {
            otlp: OtlpConfig {
                endpoint: self.otlp_endpoint.clone(),
                protocol: self.otlp_protocol,
                ..OtlpConfig::default()
            },
            listen: self.prometheus_listen,
        }
    }
}

/// Wrong usage that the parser cannot see: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs the command that the arguments name. Exit status: 0 done; 1 failed, with one line on stderr; 2 wrong
/// usage.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                let _ = error.print();
            } else {
                eprintln!(
                    "kctx: {}",
                    usage_line(&error, &std::env::args().collect::<Vec<_>>())
                );
            }
            return ExitCode::from(2);
        }
    };
    init_log();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Capture(args) => capture::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man => shell::man(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kctx: {}", one_line(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// What the parser found wrong with these arguments, in one line: its first paragraph.
fn usage_line(error: &clap::Error, arguments: &[String]) -> String {
    let text = error.render().to_string();
    let what: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let what = what.join(" ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    match glued(error, arguments) {
        Some(glued) => format!("{what}; write {glued} (see --help)"),
        None => format!("{what} (see --help)"),
    }
}

/// How an option whose value may be left out is given the value that was put after it.
fn glued(error: &clap::Error, arguments: &[String]) -> Option<String> {
    const OPTION: &str = "--prometheus-listen";
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let after = |pair: &[String]| pair[0] == OPTION && pair[1] == *value;
    (arguments.windows(2).any(after)).then(|| format!("{OPTION}={value}"))
}

/// `KCTX_LOG` takes what tracing's EnvFilter does: `debug`, `kctx::export=trace`.
fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KCTX_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("kctx=warn,error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Opens a bundle to go through it once; of a damaged one what is whole, and says what is not.
fn open(bundle: &std::path::Path) -> anyhow::Result<crate::source::recorded::RecordedSource> {
    let source = crate::source::recorded::RecordedSource::open_what_is_whole(bundle)?;
    tell_damage(bundle, &source.damage());
    Ok(source)
}

/// Says what of a bundle is not whole.
fn tell_damage(bundle: &std::path::Path, damage: &[String]) {
    if damage.is_empty() {
        return;
    }
    let name = bundle.display();
    eprintln!("kctx: {name} is damaged; this is what is whole. Copy it again if you can");
    for what in damage {
        eprintln!("kctx: damaged: {what}");
    }
}

/// Says that not all evidence of a bundle was read.
fn note_evidence(bundle: &std::path::Path, evidence: &crate::capture::evidence_set::EvidenceSet) {
    if let Some(note) = evidence.note() {
        eprintln!("kctx: {}: {note}", bundle.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_address_after_the_option_is_told_how_to_be_given() {
        let line = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            let Err(error) = Cli::try_parse_from(&arguments) else {
                panic!("{arguments:?} are fine");
            };
            usage_line(&error, &arguments)
        };
        let said = line(&["kctx", "run", "--prometheus-listen", "127.0.0.1:9"]);
        assert_eq!(
            said,
            "unexpected argument '127.0.0.1:9' found; write --prometheus-listen=127.0.0.1:9 (see --help)"
        );
        let other = line(&["kctx", "run", "127.0.0.1:9", "--prometheus-listen"]);
        assert!(!other.contains("write"), "{other}");
    }
}
