//! Reads a configuration file, and prints its mistakes.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result};
use guideway_config as config;
use guideway_config::{Mistake, Parsed, Source};
use guideway_output::report;

/// Reads and parses a configuration. Returns `None` if it has mistakes, which are printed then.
pub(super) fn load(path: &Path) -> Result<Option<(String, Parsed)>> {
    let text = Source::new(path.to_owned())
        .read(|| false)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    match config::parse(&text) {
        Ok(parsed) => Ok(Some((text, parsed))),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| show(mistake, false, &text, path));
            if mistakes.more() > 0 {
                report(format_args!("{}: and {} more\n", path.display(), mistakes.more()));
            }
            let count = mistakes.iter().len() + mistakes.more();
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            report(format_args!("{}: {count} {noun}\n", path.display()));
            Ok(None)
        }
    }
}

/// Prints a mistake or a warning: drawn on a terminal, and else on one line.
pub(super) fn show(mistake: &Mistake, is_warning: bool, text: &str, path: &Path) {
    if std::io::stderr().is_terminal() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        report(config::draw(mistake, text, path, is_warning, colour));
        return;
    }
    let word = if is_warning { "warning: " } else { "" };
    let path = mistake.path(path);
    report(format_args!("{}: {word}{}\n", path.display(), mistake.within_file()));
}
