//! `guidewayctl config`: the configuration in force, and another one to put in force.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::parse::KeyParser;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the text of the configuration in force
    Show,
    /// Validate a configuration against the running daemon and change nothing
    Check {
        /// The configuration; `-` is stdin
        file: PathBuf,
    },
    /// Put a configuration in force on every worker, or change nothing
    Apply {
        /// The configuration; `-` is stdin
        file: PathBuf,
        #[command(flatten)]
        reason: Reason,
    },
    /// Put the daemon's configuration file in force on every worker, or change nothing
    Reload {
        #[command(flatten)]
        reason: Reason,
    },
    /// Say what a key means; needs no daemon
    Explain {
        /// A key or a section, for example port.mtu; all keys without it
        #[arg(value_parser = KeyParser, hide_possible_values = true)]
        key: Option<String>,
    },
}

/// Why something is changed.
#[derive(Debug, Args)]
pub(crate) struct Reason {
    /// Why, for the audit trail
    #[arg(long = "reason", value_name = "TEXT")]
    pub(crate) text: Option<String>,
}
