//! Where a command's result goes: stdout, or a file that is for its owner alone, as the bundle is that it tells of.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::Context as _;

/// The file that `-o` names; `None` for stdout, which `-` is too.
pub(super) fn file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| *path != Path::new("-"))
}

/// Makes the file, unless it is one of the `inputs`.
pub(super) fn create(path: &Path, inputs: &[&Path]) -> anyhow::Result<File> {
    let id = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let output = id(path);
    if output.is_some() && inputs.iter().any(|input| id(input) == output) {
        anyhow::bail!(
            "cannot write {}: it is the bundle itself; give another output",
            path.display()
        );
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a whole result, made from `inputs`, to `path` or stdout.
pub(super) fn write(text: &str, path: Option<&Path>, inputs: &[&Path]) -> anyhow::Result<()> {
    match file(path) {
        None => print(text),
        Some(path) => create(path, inputs)?
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Writes a whole result to stdout.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let [bundle, link, other] = ["a", "b", "c"].map(|name| folder.path().join(name));
        fs::write(&bundle, "bundle").unwrap();
        fs::hard_link(&bundle, &link).unwrap();
        let inputs: [&Path; 2] = [&other, &bundle];
        for path in [&bundle, &link] {
            let error = write("text", Some(path), &inputs).unwrap_err();
            assert!(error.to_string().contains("the bundle itself"), "{error:#}");
        }
        assert_eq!(fs::read(&bundle).unwrap(), b"bundle");
        write("text", Some(&other), &[&bundle]).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"text");
        assert_eq!(fs::metadata(&other).unwrap().mode() & 0o777, 0o600);
        assert_eq!(file(Some(Path::new("-"))), None);
    }
}
