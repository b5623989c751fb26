//! What a run measured: shapes, medians, ratios.

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct Figures {
    pub(crate) machine: Machine,
    pub(crate) rounds: u32,
    /// What each tracer adds to each load.
    pub(crate) loads: Vec<LoadFigures>,
    pub(crate) process: Vec<Figure>,
    /// Peers that are not installed here.
    pub(crate) missing: Vec<String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    pub(crate) clocksource: String,
    pub(crate) is_virtual: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct LoadFigures {
    pub(crate) load: String,
    pub(crate) operation: String,
    pub(crate) tracers: Vec<TracerFigures>,
}

/// Nanoseconds an operation, one for each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct TracerFigures {
    pub(crate) tracer: String,
    pub(crate) what: String,
    pub(crate) ns: Vec<f64>,
}

/// One number, with what it is of and how it was got.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) how: String,
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(half.checked_sub(1)?)?, upper))
}

impl LoadFigures {
    /// What a tracer adds: the median over the rounds of its difference to the untraced run of the same round.
    pub(crate) fn adds(&self, tracer: &TracerFigures) -> Option<f64> {
        let untraced = &self.tracers.first()?.ns;
        let differences: Vec<f64> = (tracer.ns.iter())
            .zip(untraced)
            .map(|(traced, untraced)| traced - untraced)
            .collect();
        median(&differences)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&TracerFigures> {
        self.tracers.iter().find(|tracer| tracer.tracer == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_tracer_adds_what_it_differs_by_in_the_same_round() {
        let tracer = |name: &str, ns: &[f64]| TracerFigures {
            tracer: name.to_owned(),
            what: String::new(),
            ns: ns.to_vec(),
        };
        let load = LoadFigures {
            // The machine became slower from round to round.
            tracers: vec![
                tracer("untraced", &[100.0, 200.0, 300.0]),
                tracer("t", &[110.0, 212.0, 311.0]),
            ],
            ..LoadFigures::default()
        };
        assert_eq!(load.adds(&load.tracers[1]), Some(11.0));
        assert_eq!(load.adds(&load.tracers[0]), Some(0.0));
    }
}
