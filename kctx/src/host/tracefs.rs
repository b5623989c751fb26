//! tracefs: the `format` files of classic tracepoints.

use std::path::{Path, PathBuf};

/// Where tracefs is mounted by convention (systemd does; older systems under debugfs).
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Where tracefs is mounted, if it is.
#[must_use]
pub fn mounted() -> Option<PathBuf> {
    MOUNTS
        .iter()
        .map(PathBuf::from)
        .find(|path| path.join("events").is_dir())
}

/// The offset of a field in a tracepoint's record. A `__data_loc` field's offset is that of its
/// location word.
pub fn field_offset(tracefs: &Path, group: &str, event: &str, field: &str) -> Option<u64> {
    let path = tracefs
        .join("events")
        .join(group)
        .join(event)
        .join("format");
    parse_field_offset(&std::fs::read_to_string(path).ok()?, field)
}

/// Finds `field: <type> <field>[...]; offset:<n>;` in a `format` file.
fn parse_field_offset(format: &str, field: &str) -> Option<u64> {
    for line in format.lines() {
        let Some(rest) = line.trim().strip_prefix("field:") else {
            continue;
        };
        let mut parts = rest.split(';').map(str::trim);
        let declared = parts.next()?.split_ascii_whitespace().next_back()?;
        if declared.split('[').next() != Some(field) {
            continue;
        }
        return parts
            .find_map(|part| part.strip_prefix("offset:"))
            .and_then(|n| n.trim().parse().ok());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: module_load\nID: 51\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \n\
        \tfield:unsigned int taints;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc char[] name;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;\n";

    #[test]
    fn finds_plain_located_and_array_fields() {
        assert_eq!(parse_field_offset(FORMAT, "taints"), Some(8));
        assert_eq!(parse_field_offset(FORMAT, "name"), Some(12));
        assert_eq!(parse_field_offset(FORMAT, "comm"), Some(16));
        assert_eq!(parse_field_offset(FORMAT, "nothing"), None);
    }
}
