//! What the kernel is, its log and its taint.

use super::place::{Place, reason};
use crate::host::{kernel_config::KernelConfig, kmsg, taint as host_taint};

/// Crashes that pstore keeps, at most.
const CRASHES: usize = 64;

pub(super) fn uname(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let line = |name: &str| {
        let path = format!("/proc/sys/kernel/{name}");
        let line = place.root.read_line(&path);
        line.map_err(|error| reason(&path, &error))
    };
    let (system, host) = (line("ostype")?, line("hostname")?);
    let (release, version) = (line("osrelease")?, line("version")?);
    let arch = line("arch").unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
    Ok(format!("{system} {host} {release} {version} {arch}\n").into_bytes())
}

pub(super) fn config(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let release = place.root.read_line("/proc/sys/kernel/osrelease");
    let config = KernelConfig::find(place.root, &release.unwrap_or_default());
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.text.into_bytes())
}

pub(super) fn taint(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let value = host_taint::read(place.root);
    let value = value.map_err(|error| reason("/proc/sys/kernel/tainted", &error))?;
    Ok(host_taint::describe(value).into_bytes())
}

pub(super) fn log(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let selection = kmsg::read(place.root, place.limits.kmsg);
    let selection = selection.map_err(|error| reason("/dev/kmsg", &error))?;
    place.memory.add_kmsg_left_out(selection.left_out);
    Ok(selection.render().into_bytes())
}

/// What crashes left behind: names and sizes, nothing of their content.
pub(super) fn pstore(place: &Place<'_>) -> Result<Vec<u8>, String> {
    let folder = "/sys/fs/pstore";
    let entries = std::fs::read_dir(place.root.path(folder));
    let entries = entries.map_err(|error| reason(folder, &error))?;
    let mut lines: Vec<String> = entries
        .take(CRASHES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let size = entry.metadata().ok()?.len();
            Some(format!("{}\t{size}\n", entry.file_name().to_string_lossy()))
        })
        .collect();
    lines.sort();
    Ok(format!("name\tbytes\n{}", lines.concat()).into_bytes())
}
