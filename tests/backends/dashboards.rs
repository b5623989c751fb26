//! Every query of every dashboard and every rule, asked of a Prometheus that scrapes a kctx under load, and beside it a recording
//! of what a machine that is well does not have.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kctx_tests::{
    backend::Server,
    load::{self, Pty},
    program::{self, Running},
    scrape,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    is_live,
    prometheus::{self, Job, Scraping},
    recorded, repository, rules,
};

/// How long Prometheus looks on.
const WATCH: Duration = Duration::from_secs(20);

/// The recording's instance.
const RECORDED: &str = "recorded";

/// The instance of a daemon that may use next to nothing.
const LIMITED: &str = "limited";

/// What has no data where nothing is amiss or a machine lacks something: the dashboard or `rule`, the panel's title or the
/// rule's name, and why.
const MAY_BE_EMPTY: [(&str, &str, &str); 11] = [
    (
        "kctx-ksoftirqd",
        "Polls that used their budget",
        NO_FULL_POLL,
    ),
    (
        "kctx-overview",
        "Full NAPI polls, worst queue",
        NO_FULL_POLL,
    ),
    (
        "rule",
        "instance_cpu_device:kctx_napi_poll_exhausted:ratio_rate5m",
        NO_FULL_POLL,
    ),
    ("kctx-overview", "Taint flags that are set", NO_TAINT),
    ("kctx-modules", "Taint flags over time", NO_TAINT),
    ("kctx-modules", "Taint flags now", NO_TAINT),
    (
        "kctx-workqueues",
        "Tasklets, p99",
        "no tasklet runs, and the recording's rates of 0 have no quantile",
    ),
    (
        "kctx-self",
        "Exports merged, data points dropped",
        "only an export of deltas drops points",
    ),
    (
        "kctx-self",
        "Log records",
        "nothing happens that would be a log record",
    ),
    (
        "rule",
        "instance_module:kctx_module_loads:increase15m",
        "kctx runs for less than 15 minutes",
    ),
    (
        "rule",
        "instance_family_error:kctx_records_lost:increase15m",
        "no record is lost",
    ),
];
const NO_FULL_POLL: &str = "no queue is at its limit, and of the recording it is 0 of 0";
const NO_TAINT: &str = "no flag is set";

/// A daemon under load, an OTLP endpoint it pushes to in vain, one that its governor limits, and a Prometheus that scrapes the
/// first both ways.
struct Watched {
    scraping: Scraping,
    _kctx: [Running; 3],
    _folder: TempDir,
}

fn watch() -> Result<Watched> {
    let nobody = kctx_tests::backend::free_address()?;
    let endpoint = format!("http://{nobody}");
    let mut command = program::kctx([
        "run",
        "--interval",
        "250ms",
        "--duration",
        "120s",
        "--prometheus-listen=127.0.0.1:0",
        "--otlp-endpoint",
        &endpoint,
    ])?;
    // Longer than the interval: exports end in between, and some are merged.
    command
        .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
        .env("OTEL_METRIC_EXPORT_TIMEOUT", "1200");
    let kctx = Running::start(command)?;
    let target = scrape::address(&kctx)?;
    scrape::wait_until_ready(target)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("limited.toml");
    // Its rule fires too.
    let directory = folder.path().join("bundles");
    let text = format!(
        "[governor]\ncpu_limit = \"0.1%\"\n[capture]\ndirectory = {directory:?}\n[[trigger]]\nname = \"softirqs\"\n\
         when = \"metric\"\nmetric = \"kctx.softirq.duration\"\nof = \"rate\"\nabove = \"10/s\"\nover = \"1s\"\nwindow = \"1s\"\n"
    );
    fs::write(&config, text)?;
    let limited = Running::kctx([
        "run",
        "--duration=120s",
        "--prometheus-listen=127.0.0.1:0",
        "--config",
        &*config.to_string_lossy(),
    ])?;
    let of_limited = scrape::address(&limited)?;
    scrape::wait_until_ready(of_limited)?;
    let _loads = [
        load::slow_udp(Duration::from_micros(200))?,
        load::disk(repository()?)?,
    ];
    let mut pty = Pty::open()?;
    let bundle = folder.path().join("recorded.kctx.tar.zst");
    recorded::write(&bundle)?;
    let replay = Running::kctx([
        "replay",
        "--prometheus-listen=127.0.0.1:0",
        &*bundle.to_string_lossy(),
    ])?;
    let replayed = scrape::address(&replay)?;
    let [rules, alerts] = rules::files()?;
    let jobs = [
        ("native", target, true),
        ("classic", target, false),
        (RECORDED, replayed, true),
        (LIMITED, of_limited, true),
    ]
    .map(|(name, target, native)| Job {
        name,
        target,
        native,
    });
    let scraping = prometheus::start(&jobs, &[&rules, &alerts])?;
    let start = Instant::now();
    while start.elapsed() < WATCH {
        pty.carry(50)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Watched {
        scraping,
        _kctx: [kctx, replay, limited],
        _folder: folder,
    })
}

/// Every expression that panels and variables of the dashboards ask for, with where it stands: the dashboard and the title.
fn expressions() -> Result<Vec<[String; 3]>> {
    let mut all = Vec::new();
    let mut files: Vec<_> = fs::read_dir(repository()?.join("docs/dashboards"))?
        .map(|file| Ok(file?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    for file in files {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let stem = file.file_stem().context("a name")?.to_string_lossy();
        for panel in dashboard["panels"].as_array().context("panels")? {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let title = text(&panel["title"]).context("a title")?;
                let expression = text(&target["expr"]).context("an expression")?;
                all.push([stem.to_string(), title, expression]);
            }
        }
    }
    ensure!(all.len() > 100, "only {} queries", all.len());
    Ok(all)
}

/// With what Grafana would put there for one host and everything of it.
fn of_host(expression: &str, host: &str) -> String {
    let expression = [
        ("$__rate_interval", "10s"),
        ("$__range", "60s"),
        ("$host", host),
    ]
    .into_iter()
    .fold(expression.to_owned(), |expression, (name, value)| {
        expression.replace(name, value)
    });
    ["$cpu", "$vector", "$irq", "$workqueue"]
        .into_iter()
        .fold(expression, |expression, name| {
            expression.replace(name, ".*")
        })
}

fn reason(dashboard: &str, title: &str) -> Option<&'static str> {
    let found = MAY_BE_EMPTY
        .iter()
        .find(|known| (known.0, known.1) == (dashboard, title));
    found.map(|known| known.2)
}

/// Whether the query works and gives a number. An error where it does not work.
fn has_data(server: &Server, expression: &str) -> Result<bool> {
    let rows = server.query(expression, prometheus::now()?)?;
    Ok(rows.0.iter().any(|(_, value)| value.is_finite()))
}

/// The faults of what was asked for one host.
fn dashboards(server: &Server, host: &str, faults: &mut Vec<String>) -> Result<()> {
    let (mut with, mut elsewhere, mut excused) = (0, 0, Vec::new());
    for [dashboard, title, expression] in expressions()? {
        let place = format!("{dashboard}, {title}");
        let asked = of_host(&expression, host);
        ensure!(!asked.contains('$'), "{place}: {asked}");
        match has_data(server, &asked) {
            Ok(true) => with += 1,
            Ok(false)
                if has_data(server, &of_host(&expression, RECORDED))?
                    || has_data(server, &of_host(&expression, LIMITED))? =>
            {
                elsewhere += 1;
            }
            Ok(false) => match reason(&dashboard, &title) {
                Some(reason) => excused.push(format!("{place}: {reason}")),
                None => faults.push(format!("{host}: {place}: no data: {asked}")),
            },
            Err(error) => faults.push(format!("{host}: {place}: {error:#}")),
        }
    }
    println!(
        "{host}: {with} queries with data, {elsewhere} of the other instances; without: {excused:#?}"
    );
    Ok(())
}

/// The faults of rules as Prometheus has evaluated them, and the alerts that are on their way by name.
fn rules(server: &Server, faults: &mut Vec<String>) -> Result<BTreeMap<String, String>> {
    let answer = server.api("rules", &[])?;
    let groups = answer["data"]["groups"].as_array().context("groups")?;
    let (mut with, mut excused, mut alerts) = (0, Vec::new(), BTreeMap::new());
    for rule in groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
    {
        let name = rule["name"].as_str().context("a name")?;
        if rule["health"] != "ok" {
            faults.push(format!("{name}: {}", rule["lastError"]));
        } else if rule["type"] == "alerting" {
            let state = rule["state"].as_str().context("a state")?;
            alerts.insert(name.to_owned(), state.to_owned());
        } else if has_data(server, name)? {
            with += 1;
        } else if let Some(reason) = reason("rule", name) {
            excused.push(format!("{name}: {reason}"));
        } else {
            faults.push(format!("{name}: no data: {}", rule["query"]));
        }
    }
    println!(
        "{with} recorded, {} alerts; not recorded: {excused:#?}",
        alerts.len()
    );
    Ok(alerts)
}

#[test]
fn every_query_of_dashboards_and_rules_has_data() -> Result<()> {
    if !is_live()? {
        bail!("this machine permits no measurement, and a recording stands still");
    }
    let watched = watch()?;
    let server = &watched.scraping.server;
    let mut faults = Vec::new();
    for host in ["native", "classic"] {
        dashboards(server, host, &mut faults)?;
    }
    let alerts = rules(server, &mut faults)?;
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    // The one thing that is amiss, and nothing that is not.
    let state = |name: &str| alerts.get(name).map(String::as_str);
    assert_eq!(state("KctxExportFailing"), Some("pending"), "{alerts:?}");
    assert_eq!(state("KctxRecordsLost"), Some("inactive"), "{alerts:?}");
    Ok(())
}
