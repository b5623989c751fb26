//! The licences of all that kctx is built from, against the list in deny.toml.
//!
//! cargo-deny does it where it is installed. Elsewhere the same file is read here, and the same
//! crate reads the expressions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::command;
use crate::workspace::Workspace;

/// Checks the workspace and the package of the eBPF programs.
pub(crate) fn check(ws: &Workspace) -> Result<()> {
    let config = ws.root.join("deny.toml");
    let manifests = [ws.root.join("Cargo.toml"), ws.ebpf().join("Cargo.toml")];
    if command::program("cargo-deny").is_some() {
        for manifest in &manifests {
            let mut deny = ws.cargo();
            deny.args(["deny", "--manifest-path"]).arg(manifest);
            deny.args(["check", "--config"]).arg(&config);
            command::show(deny.arg("licenses"))?;
        }
        return Ok(());
    }

    let text =
        fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let policy = Policy::parse(&text).with_context(|| config.display().to_string())?;
    let mut problems = Vec::new();
    for manifest in &manifests {
        let packages = packages(ws, manifest, &policy.targets)?;
        let before = problems.len();
        problems.extend(packages.iter().filter_map(|package| policy.judge(package)));
        eprintln!(
            "licences: {} packages of {}, {} not allowed",
            packages.len(),
            manifest.display(),
            problems.len() - before
        );
    }
    if !problems.is_empty() {
        bail!("{}; see deny.toml", problems.join("; "));
    }
    Ok(())
}

/// A package as far as its licence goes.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

fn packages(ws: &Workspace, manifest: &Path, targets: &[String]) -> Result<Vec<Package>> {
    let mut metadata = ws.cargo();
    metadata
        .args(["metadata", "--format-version=1", "--manifest-path"])
        .arg(manifest);
    for target in targets {
        metadata.args(["--filter-platform", target]);
    }
    let json: Value = serde_json::from_str(&command::capture(&mut metadata)?)
        .context("cargo metadata did not print JSON")?;
    let text = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    Ok(json["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?
        .iter()
        .map(|package| Package {
            name: text(package, "name").unwrap_or_default(),
            version: text(package, "version").unwrap_or_default(),
            licence: text(package, "license"),
        })
        .collect())
}

/// What deny.toml allows.
struct Policy {
    allowed: Vec<Licensee>,
    /// More, for single packages.
    exceptions: BTreeMap<String, Vec<Licensee>>,
    /// The platforms whose dependencies count.
    targets: Vec<String>,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse()?;
        let licenses = table
            .get("licenses")
            .and_then(toml::Value::as_table)
            .context("no [licenses]")?;
        let mut exceptions = BTreeMap::new();
        let listed = licenses.get("exceptions").and_then(toml::Value::as_array);
        for exception in listed.into_iter().flatten() {
            let name = ["crate", "name"]
                .iter()
                .find_map(|key| exception.get(*key)?.as_str())
                .context("an exception names no crate")?;
            exceptions.insert(name.to_owned(), licensees(exception.get("allow"))?);
        }
        let targets = table.get("graph").and_then(|graph| graph.get("targets"));
        Ok(Self {
            allowed: licensees(licenses.get("allow"))?,
            exceptions,
            targets: targets.map_or_else(|| Ok(Vec::new()), strings)?,
        })
    }

    /// What is wrong with the package's licence, if anything.
    fn judge(&self, package: &Package) -> Option<String> {
        let Package { name, version, .. } = package;
        let Some(licence) = &package.licence else {
            return Some(format!("{name} {version} names no licence"));
        };
        // Lax: crates of before 2018 write `MIT/Apache-2.0`.
        let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => return Some(format!("{name} {version}: {licence}: {}", error.reason)),
        };
        let more = self.exceptions.get(name).into_iter().flatten();
        let allowed: Vec<&Licensee> = self.allowed.iter().chain(more).collect();
        let good = expression.evaluate(|wanted| allowed.iter().any(|have| have.satisfies(wanted)));
        (!good).then(|| format!("{name} {version} is under {licence}, which is not allowed"))
    }
}

fn licensees(list: Option<&toml::Value>) -> Result<Vec<Licensee>> {
    strings(list.context("no list `allow`")?)?
        .iter()
        .map(|name| {
            Licensee::parse(name)
                .map_err(|error| anyhow::anyhow!("`{name}` is no licence: {}", error.reason))
        })
        .collect()
}

fn strings(list: &toml::Value) -> Result<Vec<String>> {
    list.as_array()
        .context("not a list")?
        .iter()
        .map(|value| {
            value
                .as_str()
                .map(str::to_owned)
                .context("not a list of strings")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [graph]
        targets = ["x86_64-unknown-linux-gnu"]
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
        exceptions = [{ crate = "odd", allow = ["MPL-2.0"] }]
    "#;

    fn good(name: &str, licence: Option<&str>) -> bool {
        let policy = Policy::parse(POLICY).expect("a policy");
        let package = Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
        };
        policy.judge(&package).is_none()
    }

    #[test]
    fn one_side_of_an_or_and_both_of_an_and_must_be_allowed() {
        assert!(good("a", Some("MIT")));
        assert!(good("a", Some("GPL-2.0-only OR MIT")));
        assert!(good("a", Some("MIT/Apache-2.0")));
        assert!(good("a", Some("(MIT OR Apache-2.0) AND Unicode-3.0")));
        assert!(good("a", Some("Apache-2.0 WITH LLVM-exception")));
        assert!(!good("a", Some("MIT AND GPL-2.0-only")));
        assert!(!good("a", Some("LGPL-2.1-only")));
        assert!(!good("a", Some("MIT WITH GCC-exception-3.1")));
    }

    #[test]
    fn an_exception_is_for_its_package_only() {
        assert!(good("odd", Some("MPL-2.0")));
        assert!(!good("even", Some("MPL-2.0")));
    }

    #[test]
    fn no_licence_and_nonsense_are_not_allowed() {
        assert!(!good("a", None));
        assert!(!good("a", Some("Do what you like")));
    }

    #[test]
    fn a_policy_must_be_whole() {
        assert!(Policy::parse("").is_err());
        assert!(Policy::parse("[licenses]").is_err());
        assert!(Policy::parse("[licenses]\nallow = [\"NotALicence\"]").is_err());
    }

    #[test]
    fn the_projects_own_list_is_readable() {
        let policy = Policy::parse(include_str!("../../deny.toml")).expect("deny.toml");
        assert!(!policy.allowed.is_empty());
    }
}
