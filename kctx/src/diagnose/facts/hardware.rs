//! What a device's driver says of it: `ethtool/DEVICE.json`.

use serde_json::Value;

use super::{Facts, either};

impl Facts<'_> {
    fn ethtool(&self, device: &str) -> Option<Value> {
        let text = either(self.evidence, &format!("ethtool/{device}.json"))?;
        serde_json::from_str(&text).ok()
    }

    /// Whether received packets are put together (GRO); `None` where that is not known.
    pub(in crate::diagnose) fn receive_offload(&self, device: &str) -> Option<bool> {
        let document = self.ethtool(device)?;
        // Those that are on.
        let features = document.get("features")?.as_array()?;
        Some(
            features
                .iter()
                .any(|feature| feature.as_str() == Some("rx-gro")),
        )
    }

    /// The fields that a kind of flow is hashed by, as `ethtool -N` spells them: `sd` are addresses, `fn` ports.
    pub(in crate::diagnose) fn hashed_fields(&self, device: &str, flow: &str) -> Option<String> {
        let document = self.ethtool(device)?;
        let fields = document.get("hashed_fields")?.get(flow)?.as_str()?;
        // One that hashes nothing has nothing to spread.
        (fields != "-").then(|| fields.to_owned())
    }

    /// How interrupts for received packets are moderated, in words.
    pub(in crate::diagnose) fn coalescing(&self, device: &str) -> Option<String> {
        let document = self.ethtool(device)?;
        let set = document.get("coalesce")?;
        let figures = ["rx_usecs", "rx_frames", "adaptive_rx"].into_iter();
        let words: Vec<_> = figures
            .filter_map(|name| Some(format!("{name} {}", set.get(name)?.as_u64()?)))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::{Case, facts::Facts, fixture};

    #[test]
    fn features_are_those_that_are_on() {
        let text = r#"{"coalesce": {"rx_usecs": 3, "adaptive_rx": 0}, "features": ["rx-checksum"], "hashed_fields": {"udp4": "sd", "udp6": "-"}}"#;
        let (summary, evidence) = (
            fixture::summary(),
            fixture::evidence(&[("after/ethtool/eth0.json", text)]),
        );
        let facts = Facts::of(&Case {
            summary: &summary,
            evidence: &evidence,
        });
        assert_eq!(facts.receive_offload("eth0"), Some(false));
        assert_eq!(facts.receive_offload("eth1"), None);
        assert_eq!(facts.hashed_fields("eth0", "udp4").as_deref(), Some("sd"));
        assert_eq!(facts.hashed_fields("eth0", "udp6"), None);
        assert_eq!(facts.hashed_fields("eth0", "tcp4"), None);
        assert_eq!(
            facts.coalescing("eth0").as_deref(),
            Some("rx_usecs 3, adaptive_rx 0")
        );
    }
}
