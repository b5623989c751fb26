//! What the dashboards and rules in docs/ ask for, against what is exported: a metric, a label or a value that is renamed
//! here and not there would leave a panel empty and an alert silent. Whether the queries are right, promtool and a
//! Prometheus say; these tests need neither.

mod dashboards;
mod promql;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use promql::{Expression, Selector};

use super::{Kind, OVERFLOW, metrics};
use crate::export::prometheus::name;
use crate::export::resource::Resource;
use crate::host::taint::TAINT_FLAGS;

/// Labels that a scrape or the OTLP receiver adds to each series.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// A file or directory of docs/.
fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What may be asked for.
struct Exported {
    /// Labels by the name of their samples.
    labels: BTreeMap<String, BTreeSet<String>>,
    /// By label the words that are among its values, where there is a list of them.
    values: BTreeMap<String, BTreeSet<&'static str>>,
    /// Native histograms, with the names that a classic one has.
    histograms: BTreeMap<String, [String; 3]>,
}

impl Exported {
    fn new() -> Self {
        let mut exported = Self {
            labels: BTreeMap::new(),
            values: BTreeMap::new(),
            histograms: BTreeMap::new(),
        };
        for metric in metrics() {
            let mut labels: BTreeSet<String> = TARGET_LABELS.map(str::to_owned).into();
            labels.insert(name::label(OVERFLOW.key).into_owned());
            for attribute in metric.attributes {
                let label = name::label(attribute.key).into_owned();
                // Others' values are any text; backticks there are examples.
                if attribute.values.starts_with('`') || attribute.key == "kctx.softirq.context" {
                    let words = attribute.values.split('`').skip(1).step_by(2);
                    let values = exported.values.entry(label.clone()).or_default();
                    values.extend(words);
                }
                labels.insert(label);
            }
            let family = name::family(metric);
            if metric.kind == Kind::Histogram {
                let classic = ["bucket", "count", "sum"].map(|part| format!("{family}_{part}"));
                for name in &classic {
                    exported.labels.insert(name.clone(), labels.clone());
                }
                if let Some(labels) = exported.labels.get_mut(&classic[0]) {
                    labels.insert("le".to_owned());
                }
                exported.histograms.insert(family, classic);
            }
            exported.labels.insert(name::query(metric), labels);
        }
        let flags = TAINT_FLAGS.iter().map(|flag| flag.name);
        let label = name::label("kctx.kernel.taint.flag").into_owned();
        exported.values.entry(label).or_default().extend(flags);
        let target = TARGET_LABELS.map(str::to_owned).into_iter();
        let resource = whole_resource();
        let resource = resource
            .iter()
            .map(|(key, _)| name::label(key).into_owned());
        let labels = target.chain(resource).collect();
        exported.labels.insert("target_info".to_owned(), labels);
        exported
    }

    /// Everything of an expression that nobody exports; `recorded` are the names of recording rules.
    fn faults(&self, expression: &str, recorded: &BTreeSet<String>) -> Vec<String> {
        let parsed = match Expression::parse(expression) {
            Ok(parsed) => parsed,
            Err(fault) => return vec![fault],
        };
        let mut faults: Vec<String> = (parsed.selectors.iter())
            .flat_map(|selector| self.faults_of_selector(selector, recorded))
            .collect();
        let labels = self.labels_of(&parsed, recorded);
        for label in &parsed.grouped {
            if !labels.contains(label) {
                faults.push(format!("no metric here has the label {label}"));
            }
        }
        for (native, classic) in &self.histograms {
            let asks = |name: &String| parsed.selectors.iter().any(|s| s.metric == *name);
            if asks(native) != classic.iter().any(asks) {
                faults.push(format!("{native} is not asked for both ways"));
            }
        }
        faults
    }

    fn faults_of_selector(&self, selector: &Selector, recorded: &BTreeSet<String>) -> Vec<String> {
        if recorded.contains(&selector.metric) {
            return Vec::new();
        }
        let Some(labels) = self.labels.get(&selector.metric) else {
            return vec![format!("nothing exports {}", selector.metric)];
        };
        let mut faults = Vec::new();
        for matcher in &selector.matchers {
            let label = &matcher.label;
            if !labels.contains(label) {
                faults.push(format!("{} has no label {label}", selector.metric));
            }
            for value in matcher.plain_values() {
                let known = self.values.get(label);
                if known.is_some_and(|known| !known.contains(value)) {
                    faults.push(format!("{label} is never {value}"));
                }
            }
        }
        faults
    }

    /// Labels of all that an expression asks for. What a recorded series has is not known here: any.
    fn labels_of(&self, expression: &Expression, recorded: &BTreeSet<String>) -> BTreeSet<String> {
        let selectors = expression.selectors.iter();
        if selectors.clone().any(|s| recorded.contains(&s.metric)) {
            return self.labels.values().flatten().cloned().collect();
        }
        let labels = selectors.filter_map(|selector| self.labels.get(&selector.metric));
        labels.flatten().cloned().collect()
    }
}

/// Of a host on which everything can be read.
fn whole_resource() -> Resource {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("etc/machine-id", "0123456789abcdef0123456789abcdef"),
        ("proc/sys/kernel/hostname", "node-7"),
        ("proc/sys/kernel/osrelease", "6.12.1"),
        ("etc/os-release", "NAME=Debian\nVERSION_ID=13\n"),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Resource::detect_under(root.path())
}

#[test]
fn what_nobody_exports_is_found() {
    let exported = Exported::new();
    let recorded = BTreeSet::from(["a:b".to_owned()]);
    let none: Vec<String> = Vec::new();
    for (expression, expected) in [
        (
            "kctx_kernel_taint{instance=\"x\"} == 1 and a:b{what=\"ever\"}",
            none.clone(),
        ),
        (
            "kctx_softirq_raised",
            vec!["nothing exports kctx_softirq_raised".to_owned()],
        ),
        (
            "sum by (kctx_irq_number) (kctx_softirq_raised_total)",
            vec!["no metric here has the label kctx_irq_number".to_owned()],
        ),
        (
            "kctx_kernel_taint{kctx_taint=\"die\"}",
            vec!["kctx_kernel_taint has no label kctx_taint".to_owned()],
        ),
        (
            "kctx_softirq_raised_total{kctx_softirq_vector=~\"RCU|NETRX\"}",
            vec!["kctx_softirq_vector is never NETRX".to_owned()],
        ),
        (
            "rate(kctx_tasklet_duration_seconds[1m])",
            vec!["kctx_tasklet_duration_seconds is not asked for both ways".to_owned()],
        ),
        (
            "rate(kctx_tasklet_duration_seconds_sum{le=\"1\"}[1m]) or rate(kctx_tasklet_duration_seconds[1m])",
            vec!["kctx_tasklet_duration_seconds_sum has no label le".to_owned()],
        ),
    ] {
        assert_eq!(
            exported.faults(expression, &recorded),
            expected,
            "{expression}"
        );
    }
}
