//! What a capture that fails leaves behind, and saying so.

use std::path::Path;

use super::{bundle::BundleError, flight::AssemblyError};

/// Adds to an error of writing a bundle where the rest of it is: what ended the capture is its cause.
pub(super) fn told<T>(result: anyhow::Result<T>, partial: &Path) -> anyhow::Result<T> {
    result.map_err(|error| match is_of_writing(&error) {
        true => {
            let partial = partial.display();
            error.context(format!(
                "the capture was cut short; kctx report {partial} reads what was taken until then"
            ))
        }
        false => error,
    })
}

fn is_of_writing(error: &anyhow::Error) -> bool {
    let of_bundle = match error.downcast_ref::<AssemblyError>() {
        Some(AssemblyError::Bundle(error)) => Some(error),
        Some(_) => None,
        None => error.downcast_ref::<BundleError>(),
    };
    matches!(
        of_bundle,
        Some(BundleError::Io {
            action: "write" | "make",
            ..
        })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> BundleError {
        BundleError::Io {
            action: "write",
            path: "f.partial".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        }
    }

    #[test]
    fn where_the_rest_is_is_told_where_there_is_one() {
        let of = |error: anyhow::Error| {
            let told = told::<()>(Err(error), Path::new("f.partial"));
            format!("{:#}", told.unwrap_err())
        };
        let wanted = "the capture was cut short; kctx report f.partial reads what was taken until then: cannot write f.partial";
        let directly = of(full().into());
        assert!(directly.starts_with(wanted), "{directly}");
        let of_dump = of(AssemblyError::from(full()).into());
        assert!(of_dump.starts_with(wanted), "{of_dump}");
        let nothing = of(AssemblyError::Nothing.into());
        assert_eq!(nothing, AssemblyError::Nothing.to_string());
    }
}
