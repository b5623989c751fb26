//! `[top]`

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// `[top]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopConfig {
    /// Length of a window: `1s`.
    #[serde(deserialize_with = "super::interval")]
    pub interval: Duration,
    /// About what the windows kept for looking back may take: 1MiB to 4GiB.
    #[serde(deserialize_with = "history")]
    pub history: u64,
}

impl Default for TopConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            history: 32 << 20,
        }
    }
}

fn history<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = super::parse_size(&text).map_err(D::Error::custom)?;
    if !(1 << 20..=4 << 30).contains(&bytes) {
        let message = format!("{text:?} is out of range: the windows kept take 1MiB to 4GiB");
        return Err(D::Error::custom(message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_the_documentation_shows_is_what_holds_without_it() {
        let page = include_str!("../../../docs/config.md");
        let from = page.find("[top]").unwrap();
        let until = from + page[from..].find("\n\n").unwrap();
        let shown = Config::parse(&page[from..until]).unwrap();
        assert_eq!(shown, Config::default());
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        for (text, wanted) in [
            ("history = \"1KiB\"", "take 1MiB to 4GiB"),
            ("history = \"much\"", "is no size"),
            ("interval = \"1ms\"", "out of range"),
        ] {
            let message = Config::parse(&format!("[top]\n{text}")).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
    }
}
