//! A part of a document that is made, not written: it lies between two lines that say so.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Such a part.
pub(crate) struct MadePart {
    /// The document's path in the workspace.
    pub(crate) file: &'static str,
    /// The line before it, and the line after it.
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

impl MadePart {
    /// Makes it anew.
    pub(crate) fn write(&self, ws: &Workspace, part: &str) -> Result<()> {
        let path = ws.root.join(self.file);
        let old =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let new = self.splice(&old, part)?;
        if new != old {
            fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// `text` with `part` between the lines.
    fn splice(&self, text: &str, part: &str) -> Result<String> {
        let Self { file, begin, end } = self;
        let around = text.split_once(begin).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(end)?;
            Some((before, after))
        });
        let (before, after) = around.with_context(|| {
            format!("{file} has not the lines that the made part goes between: {begin} and {end}")
        })?;
        Ok(format!("{before}{begin}\n\n{part}\n{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_the_part_stays() {
        let part = MadePart {
            file: "x.md",
            begin: "<!-- from here -->",
            end: "<!-- to here -->",
        };
        let old = "before\n<!-- from here -->\nold\n<!-- to here -->\nafter\n";
        let new = part.splice(old, "new").expect("the lines are there");
        assert_eq!(
            new,
            "before\n<!-- from here -->\n\nnew\n<!-- to here -->\nafter\n"
        );
        assert_eq!(part.splice(&new, "new").expect("still there"), new);
        assert!(part.splice("none", "new").is_err());
    }
}
