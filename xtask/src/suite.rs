//! Packages out of another Debian suite, fetched without touching the machine's own apt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{apt, command};

/// Takes the place of the archive that this machine's apt is set up with.
const MIRROR_VARIABLE: &str = "KCTX_DEBIAN_MIRROR";

/// One suite's package lists, in a directory of their own.
pub(crate) struct Suite<'a> {
    ws: &'a Workspace,
    name: String,
    dir: PathBuf,
}

impl<'a> Suite<'a> {
    /// Fetches the suite's package lists from the archive that this machine's own apt uses.
    pub(crate) fn open(ws: &'a Workspace, name: &str) -> Result<Self> {
        if !apt::is_here() {
            bail!("Debian's packages come by apt, which is not here");
        }
        let base = base()?;
        let suite = Self {
            ws,
            name: name.to_owned(),
            dir: ws.target.join("vm/apt").join(name),
        };
        for dir in ["lists/partial", "cache/archives/partial", "debs"] {
            let dir = suite.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let sources = suite.dir.join("sources.list");
        fs::write(&sources, format!("deb {}{base} {name} main\n", signed_by()))
            .with_context(|| format!("cannot write {}", sources.display()))?;
        let mut update = suite.apt("apt-get");
        update.arg("update");
        command::step(
            ws,
            &format!("fetching the package list of Debian {name}"),
            5,
            &mut update,
            &format!("is the network there, and has {base} a suite {name}?"),
        )?;
        Ok(suite)
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let options = [
            option("Dir::Etc::SourceList", &self.dir.join("sources.list")),
            option("Dir::Etc::SourceParts", Path::new("/dev/null")),
            option("Dir::State::Lists", &self.dir.join("lists")),
            option("Dir::Cache", &self.dir.join("cache")),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The download goes to our directory, where apt's own user may not write.
            "APT::Sandbox::User=root".to_owned(),
            // Half a list is a failure.
            "APT::Update::Error-Mode=any".to_owned(),
        ];
        for option in options {
            apt.args(["-o", &option]);
        }
        apt
    }

    /// `package` and the packages it depends on whose names start with one of `prefixes`.
    pub(crate) fn closure(&self, package: &str, prefixes: &[&str]) -> Result<Vec<String>> {
        let mut found = vec![package.to_owned()];
        let mut next = 0;
        while next < found.len() {
            let mut show = self.apt("apt-cache");
            show.args(["show", "--no-all-versions", &found[next]]);
            let text = command::capture(&mut show)
                .with_context(|| format!("Debian {} has no {}", self.name, found[next]))?;
            for name in depends(&text) {
                let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
                if wanted && !found.iter().any(|known| known == name) {
                    found.push(name.to_owned());
                }
            }
            next += 1;
        }
        Ok(found)
    }

    /// Downloads the packages and unpacks them into `into`; neither needs root.
    pub(crate) fn unpack(&self, packages: &[String], seconds: u32, into: &Path) -> Result<()> {
        let debs = self.dir.join("debs");
        // What an interrupted run left could be of another version.
        let _ = fs::remove_dir_all(&debs);
        fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
        let mut download = self.apt("apt-get");
        download.current_dir(&debs).arg("download").args(packages);
        let what = packages.last().map_or("", String::as_str);
        command::step(
            self.ws,
            &format!("downloading {what}"),
            seconds,
            &mut download,
            "is the network there, and the disk not full?",
        )?;
        let files: Vec<PathBuf> = fs::read_dir(&debs)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        unpack(self.ws, what, &files, into)?;
        fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))
    }
}

/// Unpacks package files over each other.
pub(crate) fn unpack(ws: &Workspace, what: &str, debs: &[PathBuf], into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    command::step(
        ws,
        &format!("unpacking {what}"),
        10,
        Command::new("sh")
            .args(["-ec", r#"for deb; do dpkg -x "$deb" "$0"; done"#])
            .arg(into)
            .args(debs),
        "is it a Debian package, and the disk not full?",
    )
}

/// The archive's base address.
fn base() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format"]);
    targets.arg("$(CREATED_BY)|$(ORIGIN)|$(RELEASE)|$(REPO_URI)");
    parse_base(&command::capture(&mut targets)?).with_context(|| {
        format!("this machine's apt knows no Debian archive; name one in {MIRROR_VARIABLE}")
    })
}

/// The address of Debian's main archive, out of `Packages|origin|release|address` lines.
fn parse_base(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        let ["Packages", origin, release, address] = fields[..] else {
            return None;
        };
        // Before the first `apt-get update` the origin is not known; the address then has to tell.
        let debian = match origin {
            "" | "$(ORIGIN)" => address.trim_end_matches('/').ends_with("/debian"),
            origin => origin == "Debian",
        };
        // bookworm-security and its like are other archives; bookworm-backports is the same one.
        let main = !release.contains("-security");
        (debian && main).then(|| address.trim_end_matches('/').to_owned())
    })
}

fn signed_by() -> String {
    ["gpg", "pgp"]
        .map(|kind| format!("/usr/share/keyrings/debian-archive-keyring.{kind}"))
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .map(|path| format!("[signed-by={path}] "))
        .unwrap_or_default()
}

/// The names in a package's `Depends:` line; of alternatives the first.
fn depends(show: &str) -> impl Iterator<Item = &str> {
    command::field(show, "Depends: ")
        .unwrap_or_default()
        .split(',')
        .filter_map(|one| one.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_main_archive_not_its_security_sibling() {
        let targets = "\
            Packages|Debian|bookworm-security|http://mirror.example/debian-security/\n\
            DEP-11|Debian|bookworm|http://other.example/debian/\n\
            Packages|Docker|bookworm|http://docker.example/linux/debian/\n\
            Packages|Debian|bookworm|http://mirror.example/debian/\n";
        assert_eq!(
            parse_base(targets).as_deref(),
            Some("http://mirror.example/debian")
        );
    }

    #[test]
    fn without_an_origin_the_address_tells() {
        let targets = "\
            Packages||bookworm-security|http://mirror.example/debian-security/\n\
            Packages||bookworm|http://mirror.example/debian/\n";
        assert_eq!(
            parse_base(targets).as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            parse_base("Packages|Ubuntu|noble|http://x.example/ubuntu/\n"),
            None
        );
        assert_eq!(parse_base(""), None);
    }

    #[test]
    fn depends_are_names_without_versions_and_alternatives() {
        let show = "Package: linux-image-7.2-amd64\n\
            Pre-Depends: none\n\
            Depends: dracut | linux-initramfs-tool, linux-base-7.2-amd64 (= 7.2.13-1), kmod\n";
        let names: Vec<&str> = depends(show).collect();
        assert_eq!(names, ["dracut", "linux-base-7.2-amd64", "kmod"]);
        assert_eq!(depends("Package: x\n").count(), 0);
    }
}
