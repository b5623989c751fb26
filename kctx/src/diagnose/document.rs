//! A diagnosis for machines: docs/diagnosis.schema.json.

use serde::{Deserialize, Serialize};

use super::Diagnosis;
use crate::report::summary::Summary;

/// A diagnosis and what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The diagnosis, with its `schema`.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// What was measured.
    pub summary: Summary,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::fixture;
    use serde_json::Value;

    /// The schema with that of summaries in its place.
    fn schema() -> Value {
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        let mut schema = parse(include_str!("../../../docs/diagnosis.schema.json"));
        schema["properties"]["summary"] = parse(include_str!("../../../docs/summary.schema.json"));
        schema
    }

    #[test]
    fn documents_match_the_schema_and_are_read_back() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let quiet = (fixture::summary(), fixture::evidence(&[]));
        let busy = (fixture::busy(), fixture::softnet(0, 600_000, 10, 9_000));
        for (summary, evidence) in [quiet, busy] {
            let document = Document {
                diagnosis: fixture::of(&summary, &evidence),
                summary,
            };
            let value = serde_json::to_value(&document).unwrap();
            let errors: Vec<_> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert_eq!(errors, [""; 0]);
            assert_eq!(serde_json::from_value::<Document>(value).unwrap(), document);
        }
    }

    /// A field that is renamed is none that the schema knows.
    #[test]
    fn the_schema_demands_what_there_is() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let summary = fixture::busy();
        let document = Document {
            diagnosis: fixture::of(&summary, &fixture::evidence(&[])),
            summary,
        };
        let value = serde_json::to_value(&document).unwrap();
        let fields = value["findings"][0].as_object().unwrap().keys();
        for field in fields {
            let mut less = value.clone();
            less["findings"][0].as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&less), "{field} may be missing");
        }
        let mut more = value.clone();
        more["findings"][0]["other"] = Value::Null;
        assert!(!validator.is_valid(&more));
    }
}
