//! What a running daemon takes over of a configuration that was read again. Pure.

use std::fmt;

use super::{Config, GovernorConfig};

/// What changed, by table or key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// In force from now on.
    pub in_force: Vec<&'static str>,
    /// In force after a restart: what it is about was attached, allocated or opened when the daemon started.
    pub after_restart: Vec<&'static str>,
}

impl Config {
    /// Takes over what can change while the daemon runs. The rest stays as it is, so that it is told again as long as the
    /// file says something else.
    pub fn take_over(&mut self, new: Self) -> TakenOver {
        let mut taken = TakenOver::default();
        // Each by its name: a table that is added has to be thought of here.
        let Self {
            run,
            top,
            probes,
            kernel,
            limits,
            capture,
            recorder,
            control,
            trigger,
            governor: GovernorConfig { cpu_limit, outlier },
            meter,
            log,
            stacks,
            export,
            otlp,
            prometheus,
        } = new;
        taken.now("[[trigger]]", &mut self.trigger, trigger);
        taken.now("[capture]", &mut self.capture, capture);
        let limit = &mut self.governor.cpu_limit;
        taken.now("[governor] cpu_limit", limit, cpu_limit);
        taken.now("[log]", &mut self.log, log);
        // The daemon has no part in it.
        self.top = top;
        taken.later("[run]", self.run != run);
        taken.later("[probes]", self.probes != probes);
        taken.later("[kernel]", self.kernel != kernel);
        taken.later("[limits]", self.limits != limits);
        taken.later("[recorder]", self.recorder != recorder);
        taken.later("[control]", self.control != control);
        taken.later("[governor] outlier", self.governor.outlier != outlier);
        taken.later("[meter]", self.meter != meter);
        taken.later("[stacks]", self.stacks != stacks);
        taken.later("[export]", self.export != export);
        taken.later("[otlp]", self.otlp != otlp);
        taken.later("[prometheus]", self.prometheus != prometheus);
        taken
    }
}

impl TakenOver {
    fn now<T: PartialEq>(&mut self, what: &'static str, in_force: &mut T, new: T) {
        if *in_force != new {
            *in_force = new;
            self.in_force.push(what);
        }
    }

    fn later(&mut self, what: &'static str, changed: bool) {
        if changed {
            self.after_restart.push(what);
        }
    }
}

impl fmt::Display for TakenOver {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_force = self.in_force.join(", ");
        let after_restart = self.after_restart.join(", ");
        match (in_force.is_empty(), after_restart.is_empty()) {
            (true, true) => f.write_str("nothing changed"),
            (false, true) => write!(f, "in force now: {in_force}"),
            (true, false) => write!(f, "in force only after a restart: {after_restart}"),
            (false, false) => write!(
                f,
                "in force now: {in_force}; only after a restart: {after_restart}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap()
    }

    const RULE: &str = "[[trigger]]\nname = \"taint\"\nwhen = \"taint\"\n";

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_told_each_time() {
        let mut running = Config::default();
        let text = "[run]\ninterval = \"2s\"\n[governor]\ncpu_limit = \"3%\"\noutlier = \"2ms\"\n[log]\nrate = 7\n\
                    [capture]\nmax_bundles = 2\n[top]\ninterval = \"2s\"\n[otlp]\nendpoint = \"http://a:4318\"\n";
        let new = config(&format!("{text}{RULE}"));
        let taken = running.take_over(new.clone());
        assert_eq!(
            taken.to_string(),
            "in force now: [[trigger]], [capture], [governor] cpu_limit, [log]; only after a restart: [run], \
             [governor] outlier, [otlp]"
        );
        let then = Config {
            trigger: new.trigger.clone(),
            capture: new.capture.clone(),
            log: new.log.clone(),
            top: new.top.clone(),
            governor: GovernorConfig {
                cpu_limit: new.governor.cpu_limit,
                ..GovernorConfig::default()
            },
            ..Config::default()
        };
        assert_eq!(running, then);
        assert_eq!(
            running.take_over(new).to_string(),
            "in force only after a restart: [run], [governor] outlier, [otlp]"
        );
        let taken = running.take_over(Config::default());
        assert!(
            taken.after_restart.is_empty(),
            "it is as at the start again"
        );
        assert_eq!(running, Config::default());
        assert_eq!(
            running.take_over(Config::default()).to_string(),
            "nothing changed"
        );
    }

    #[test]
    fn each_table_of_the_documentation_is_taken_over_told_or_of_top() {
        for (text, wanted) in [
            (RULE, "in force now: [[trigger]]"),
            ("[capture]\nredact = false", "in force now: [capture]"),
            ("[capture.evidence]\nfiles = 10", "in force now: [capture]"),
            ("[log]\nlines = 1", "in force now: [log]"),
            ("[top]\ninterval = \"2s\"", "nothing changed"),
            ("[probes]\nfamilies = []", "after a restart: [probes]"),
            ("[kernel]\nspill_rows = 32", "after a restart: [kernel]"),
            ("[limits]\nnapi_rows = 1", "after a restart: [limits]"),
            ("[recorder]\nlength = \"1s\"", "after a restart: [recorder]"),
            ("[control]\nsocket = \"/a\"", "after a restart: [control]"),
            ("[meter]\nsample = \"0s\"", "after a restart: [meter]"),
            ("[stacks]\nfrequency = 0", "after a restart: [stacks]"),
            ("[export]\nmax_series = 100", "after a restart: [export]"),
            ("[otlp.logs]\nenabled = false", "after a restart: [otlp]"),
            (
                "[prometheus]\nlisten = \"none\"",
                "after a restart: [prometheus]",
            ),
        ] {
            let told = Config::default().take_over(config(text)).to_string();
            assert!(told.ends_with(wanted), "{text}: {told}");
        }
    }
}
