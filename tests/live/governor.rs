//! What kctx may cost: over it, the busiest families go into the kernel's histograms only.

use std::{fs, time::Duration};

use anyhow::Result;
use kctx_tests::{load, program::Running};

use crate::{Output, alone, in_vm};

#[test]
fn over_its_limit_the_busiest_family_is_no_longer_streamed() -> Result<()> {
    let _alone = alone();
    let output = Output::new()?;
    let config = output.path().with_file_name("kctx.toml");
    fs::write(&config, "[governor]\ncpu_limit = \"0.1%\"\n")?;
    let config = config.to_string_lossy().into_owned();
    let udp = load::udp()?;
    let seconds = if in_vm() { "12s" } else { "6s" };
    let run = Running::kctx(["run", "--config", &config, "--duration", seconds])?;
    let ended = run.wait(Duration::from_secs(80))?.success()?;
    drop(udp);
    println!("{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains("governor:"),
        "the governor said nothing"
    );
    let last = ended.stdout.lines().last().unwrap_or_default();
    assert!(
        last.contains("limited"),
        "the last window does not tell: {last}"
    );
    assert!(last.contains("lost 0"), "{last}");
    Ok(())
}
