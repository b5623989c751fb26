//! Which metrics are exported.

use super::{GROUPS, Metric, metrics};

/// The family of what kctx says of itself, which is always exported: whoever cannot see that something is missing
/// takes it for zero.
pub const OWN: &str = "kctx";

/// A name that is none of a family or a metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// None of a family.
    #[error("unknown family {0:?}; there are {known}", known = families().collect::<Vec<_>>().join(", "))]
    Family(String),
    /// None of a metric.
    #[error("unknown metric {0:?}; docs/metrics.md lists them")]
    Metric(String),
}

/// Families that may be chosen, in the order of the reference.
fn families() -> impl Iterator<Item = &'static str> {
    let all = GROUPS.iter().map(|group| group.family);
    all.filter(|family| *family != OWN)
}

/// A bit for each metric there is.
const fn all() -> u64 {
    let (mut count, mut at) = (0, 0);
    while at < GROUPS.len() {
        count += GROUPS[at].metrics.len();
        at += 1;
    }
    assert!(count < u64::BITS as usize, "there is a bit for each");
    (1 << count) - 1
}

/// A set of metrics: a bit for each, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection(u64);

impl Selection {
    /// All there are.
    pub const ALL: Self = Self(all());

    /// None.
    pub const NONE: Self = Self(0);

    /// Those of the named families, and kctx's own.
    ///
    /// # Errors
    /// When a name is not known.
    pub fn of_families(names: &[String]) -> Result<Self, UnknownName> {
        let unknown = |name: &&String| families().all(|family| family != name.as_str());
        if let Some(name) = names.iter().find(unknown) {
            return Err(UnknownName::Family(name.clone()));
        }
        let wanted = |family: &str| family == OWN || names.iter().any(|name| name == family);
        let each = GROUPS.iter().flat_map(|group| {
            let wanted = wanted(group.family);
            group.metrics.iter().map(move |_| wanted)
        });
        Ok(Self::of(each))
    }

    /// The named metrics.
    ///
    /// # Errors
    /// When a name is not known.
    pub fn of_metrics(names: &[String]) -> Result<Self, UnknownName> {
        let unknown = |name: &&String| metrics().all(|metric| metric.name != name.as_str());
        if let Some(name) = names.iter().find(unknown) {
            return Err(UnknownName::Metric(name.clone()));
        }
        Ok(Self::of(metrics().map(|metric| {
            names.iter().any(|name| name == metric.name)
        })))
    }

    fn of(each: impl Iterator<Item = bool>) -> Self {
        let bits = each.enumerate();
        Self(bits.fold(0, |bits, (at, wanted)| bits | u64::from(wanted) << at))
    }

    /// Without those.
    #[must_use]
    pub fn except(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those in it.
    pub fn metrics(self) -> impl Iterator<Item = &'static Metric> {
        self.each()
            .filter_map(|(metric, wanted)| wanted.then_some(metric))
    }

    /// Each, and whether it is in it.
    pub(in crate::export) fn each(self) -> impl Iterator<Item = (&'static Metric, bool)> {
        let all = metrics().enumerate();
        all.map(move |(at, metric)| (metric, self.0 >> at & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn names(selection: Selection) -> Vec<&'static str> {
        selection.metrics().map(|metric| metric.name).collect()
    }

    #[test]
    fn families_and_single_metrics_are_chosen_by_name() {
        let of = |families: &[&str]| Selection::of_families(&owned(families)).unwrap();
        let but = |metrics: &[&str]| Selection::of_metrics(&owned(metrics)).unwrap();
        let all: Vec<_> = metrics().map(|metric| metric.name).collect();
        assert_eq!(names(Selection::ALL), all);
        assert_eq!(names(Selection::NONE), [""; 0]);
        let own = names(of(&[]));
        assert!(own.contains(&"kctx.records") && own.contains(&"kctx.self.cpu.time"));
        assert!(own.iter().all(|name| !name.starts_with("kctx.softirq")));
        let softirqs = names(of(&["softirq"]).except(but(&["kctx.softirq.raised"])));
        assert_eq!(softirqs.len(), own.len() + 3);
        assert!(!softirqs.contains(&"kctx.softirq.raised"));
        let every: Vec<_> = families().collect();
        assert_eq!(names(of(&every)), all);
        let one_less = names(Selection::ALL.except(but(&["kctx.records"])));
        assert_eq!(one_less.len(), all.len() - 1);
    }

    #[test]
    fn what_is_unknown_is_an_error_that_says_what_there_is() {
        let family = |name| Selection::of_families(&owned(&[name])).unwrap_err();
        assert_eq!(
            family("softirqs").to_string(),
            "unknown family \"softirqs\"; there are softirq, cpu, hardirq, tasklet, workqueue, napi, kthread, module, \
             taint, log"
        );
        assert_eq!(family(OWN), UnknownName::Family(OWN.to_owned()));
        let error = Selection::of_metrics(&owned(&["kctx.softirq.raise"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown metric \"kctx.softirq.raise\"; docs/metrics.md lists them"
        );
    }
}
