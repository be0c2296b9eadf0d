//! `guideway check`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use guideway_output::print;

use super::load::{load, show};

pub(super) fn run(path: &Path) -> Result<ExitCode> {
    let Some((text, parsed)) = load(path)? else { return Ok(ExitCode::FAILURE) };
    for warning in &parsed.warnings {
        show(warning, true, &text, path);
    }
    let configuration = &parsed.configuration;
    let summary = format!(
        "{}: valid; ports: {}, services: {}, pools: {}, backends: {}\n",
        path.display(),
        configuration.ports.len(),
        configuration.services.len(),
        configuration.pools.len(),
        configuration.pools.iter().map(|pool| pool.backends.len()).sum::<usize>(),
    );
    print(summary).context("cannot write the result")?;
    Ok(ExitCode::SUCCESS)
}
