//! `kctx completions` and `kctx man`: from the same definitions as the parser.

use clap::CommandFactory as _;

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// Which shell.
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "kctx", &mut script);
    super::output::print(&String::from_utf8_lossy(&script))
}

pub(super) fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(super::Cli::command()).render(&mut page)?;
    super::output::print(&String::from_utf8_lossy(&page))
}
