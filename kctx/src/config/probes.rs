//! `[probes]`: what is measured.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{aggregate::window::Family, probe::PROBES, resolve::SOFTIRQ_VECTORS};

/// `[probes]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesConfig {
    /// Which families, by [`Family::as_str`].
    pub families: Vec<Family>,
    /// Tracepoints of those families that are left out all the same, as in `irq:softirq_raise`.
    #[serde(deserialize_with = "tracepoints")]
    pub without: Vec<String>,
    /// Which softirq vectors, by their names in /proc/softirqs. As a bit mask here.
    #[serde(deserialize_with = "vectors", rename = "softirq_vectors")]
    pub softirq_vectors: u16,
}

impl Default for ProbesConfig {
    fn default() -> Self {
        Self {
            families: Family::ALL.to_vec(),
            without: Vec::new(),
            softirq_vectors: (1 << SOFTIRQ_VECTORS.len()) - 1,
        }
    }
}

fn tracepoints<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    for name in &names {
        if !PROBES.iter().any(|spec| spec.name() == *name) {
            return Err(D::Error::custom(format!(
                "unknown tracepoint {name:?}; `kctx doctor` lists those that kctx uses"
            )));
        }
    }
    Ok(names)
}

fn vectors<'de, D: Deserializer<'de>>(d: D) -> Result<u16, D::Error> {
    let mut mask = 0;
    for name in Vec::<String>::deserialize(d)? {
        let number = SOFTIRQ_VECTORS
            .iter()
            .position(|v| v.eq_ignore_ascii_case(&name))
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "unknown softirq vector {name:?}; the vectors are {}",
                    SOFTIRQ_VECTORS.join(", ")
                ))
            })?;
        mask |= 1 << number;
    }
    if mask == 0 {
        return Err(D::Error::custom(
            "no softirq vector is named; to switch softirqs off leave softirq out of families",
        ));
    }
    Ok(mask)
}
