//! Servers that the tests of the exports need beside kctx: fetched once into target/servers, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Debian's suite that has a VictoriaMetrics and a Prometheus new enough.
const SUITE: &str = "sid";

/// OpenTelemetry's own messages, and gRPC, for Python.
const PYTHON_PACKAGES: [&str; 2] = ["opentelemetry-proto", "grpcio"];
const PYTHON_IMPORTS: &str =
    "import grpc, opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc";

/// Tests that need the same servers.
pub(crate) struct Needing {
    /// As in the table.
    pub(crate) name: &'static str,
    /// Modules of the test target.
    pub(crate) modules: &'static [&'static str],
    /// Whether kctx has to measure for it, or what was recorded does.
    pub(crate) live: bool,
    /// What names a server to the tests, with the server.
    needs: &'static [(&'static str, Server)],
}

/// Where a server comes from.
#[derive(Clone, Copy)]
enum Server {
    /// A program of a Debian package of its name.
    Debian(&'static str),
    /// A Python with [`PYTHON_PACKAGES`].
    Python,
    /// None that can be fetched: only one that the user has.
    Users,
}

/// All tests against servers.
pub(crate) const ALL: [Needing; 5] = [
    Needing {
        name: "backend VictoriaMetrics",
        modules: &["victoria_metrics::"],
        live: false,
        needs: &[("KCTX_VICTORIA_METRICS", Server::Debian("victoria-metrics"))],
    },
    Needing {
        name: "backend Prometheus",
        modules: &["prometheus::", "rules::"],
        live: false,
        needs: &[
            ("KCTX_PROMETHEUS", Server::Debian("prometheus")),
            ("KCTX_PROMTOOL", Server::Debian("promtool")),
        ],
    },
    Needing {
        name: "backend OTLP in Python",
        modules: &["otlp_server::"],
        live: false,
        needs: &[("KCTX_OTLP_PYTHON", Server::Python)],
    },
    Needing {
        name: "backend dashboards and rules",
        modules: &["dashboards::"],
        live: true,
        needs: &[("KCTX_PROMETHEUS", Server::Debian("prometheus"))],
    },
    Needing {
        name: "backend Prometheus by OTLP",
        modules: &["prometheus_otlp::"],
        live: true,
        needs: &[("KCTX_PROMETHEUS_OTLP", Server::Users)],
    },
];

impl Needing {
    /// Whether xtask can fetch what it needs: else it is no failure that it is not run.
    pub(crate) fn can_be_fetched(&self) -> bool {
        !self
            .needs
            .iter()
            .any(|need| matches!(need.1, Server::Users))
    }

    /// The variables that name the servers to the tests. An error says why one cannot be had.
    pub(crate) fn variables(&self, ws: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
        let needs = self.needs.iter();
        let found = needs.map(|(variable, server)| Ok((*variable, server.get(ws, variable)?)));
        found.collect()
    }
}

impl Server {
    /// The one that the variable names already, that is stored, or that is fetched now.
    fn get(self, ws: &Workspace, variable: &str) -> Result<PathBuf> {
        if let Some(path) = std::env::var_os(variable) {
            return Ok(path.into());
        }
        match self {
            Self::Debian(package) => debian(ws, package),
            Self::Python => python(ws),
            // Debian builds its Prometheus without the OTLP receiver.
            Self::Users => bail!("name a Prometheus with the OTLP receiver in {variable}"),
        }
    }
}

fn debian(ws: &Workspace, package: &str) -> Result<PathBuf> {
    let dir = ws.target.join("servers").join(package);
    let program = dir.join("usr/bin").join(package);
    if !program.is_file() {
        // Moved into place when it is whole.
        let tree = dir.with_extension("tree");
        let _ = fs::remove_dir_all(&tree);
        Suite::open(ws, SUITE)?.unpack(&[package.to_owned()], 20, &tree)?;
        let _ = fs::remove_dir_all(&dir);
        fs::rename(&tree, &dir).with_context(|| format!("cannot move {}", tree.display()))?;
    }
    starts(&program, "--version")?;
    Ok(program)
}

/// A virtual environment, so that the machine's Python stays as it is.
fn python(ws: &Workspace) -> Result<PathBuf> {
    let dir = ws.target.join("servers/python");
    let python = dir.join("bin/python");
    if has_packages(&python) {
        return Ok(python);
    }
    if command::program("python3").is_none() {
        bail!("there is no python3");
    }
    let _ = fs::remove_dir_all(&dir);
    command::step(
        ws,
        "making a Python environment",
        5,
        Command::new("python3").args(["-m", "venv"]).arg(&dir),
        "is Python's module venv there (Debian: python3-venv)?",
    )?;
    command::step(
        ws,
        "fetching OpenTelemetry's Python messages",
        10,
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PYTHON_PACKAGES),
        "is the network there?",
    )?;
    if !has_packages(&python) {
        bail!("{} has no {}", python.display(), PYTHON_PACKAGES.join(", "));
    }
    Ok(python)
}

fn has_packages(python: &Path) -> bool {
    let mut import = Command::new(python);
    python.is_file() && command::capture(import.args(["-c", PYTHON_IMPORTS])).is_ok()
}

/// A program of another suite may want a newer C library.
fn starts(program: &Path, argument: &str) -> Result<()> {
    command::capture(Command::new(program).arg(argument))
        .map(drop)
        .with_context(|| format!("{} does not start here", program.display()))
}
