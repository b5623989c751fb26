//! What kctx itself is and may do: how far the rest can be trusted.

use serde::Serialize;

use super::place::Place;

#[derive(Serialize)]
struct Own {
    version: &'static str,
    pid: u32,
    /// `CapEff` of /proc/self/status, in hex.
    effective_capabilities: Option<String>,
    /// Where times come from: `tsc`, `kvm-clock`.
    clock_source: Option<String>,
    /// Soft limits by name.
    limits: Vec<(String, String)>,
}

pub(super) fn read(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let status = place.text("/proc/self/status", 1 << 16).unwrap_or_default();
    let limits = place.text("/proc/self/limits", 1 << 16).unwrap_or_default();
    let clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let own = Own {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        effective_capabilities: field(&status, "CapEff:").map(str::to_owned),
        clock_source: place.root.read_line(clock).ok(),
        limits: limits.lines().skip(1).filter_map(limit).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&own).map_err(|error| error.to_string())?;
    json.push(b'\n');
    Ok(json)
}

/// The value of a line of /proc/PID/status.
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map(str::trim)
}

/// `Max open files            1024                 524288               files`
/// (`proc_pid_limits`, fs/proc/base.c: the name takes 26 columns)
fn limit(line: &str) -> Option<(String, String)> {
    let (name, values) = line.split_at_checked(26)?;
    let soft = values.split_ascii_whitespace().next()?;
    Some((name.trim().to_owned(), soft.to_owned()))
}
