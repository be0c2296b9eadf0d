//! `guideway config`: what the configuration may have.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use guideway_config as config;
use guideway_output::print;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the JSON Schema of configuration files, for editors
    Schema,
    /// Print the reference of all keys, in Markdown
    Reference,
}

pub(super) fn run(command: &Command) -> Result<ExitCode> {
    let declarations = config::declarations();
    let text = match command {
        Command::Schema => serde_json::to_string_pretty(&config::schema(&declarations))? + "\n",
        Command::Reference => config::reference(&declarations),
    };
    print(text).context("cannot write the result")?;
    Ok(ExitCode::SUCCESS)
}
