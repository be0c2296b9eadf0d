//! `guidewayctl check`: what the checks say of the backends, and a probe by hand.

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use guideway_api::{CheckState, Request};

use super::watch::Watch;

#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// List the backends with their checks: states and last results
    List {
        /// Only the backends of this pool
        #[arg(long)]
        pool: Option<String>,
        /// Only those in this state
        #[arg(long, value_parser = states())]
        state: Option<CheckState>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show one check of one backend: its state, the sources of its probes, the last results
    Show {
        /// The check and the backend, which is a name or an address: CHECK/BACKEND
        #[arg(value_name = "CHECK/BACKEND", value_parser = place)]
        place: Place,
        /// The backend's pool, if several pools have such a backend
        #[arg(long)]
        pool: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Probe a backend once, now, and print each step; exits with 1 if the probe fails
    Run {
        /// The check and the backend, which is a name or an address: CHECK/BACKEND
        #[arg(value_name = "CHECK/BACKEND", value_parser = place)]
        place: Place,
        /// The backend's pool, if several pools have such a backend
        #[arg(long)]
        pool: Option<String>,
    },
}

/// One check of one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    check: String,
    /// A name or an address.
    backend: String,
}

impl CheckCommand {
    /// Whether the command sends a probe.
    pub(crate) fn is_change(&self) -> bool {
        matches!(self, CheckCommand::Run { .. })
    }

    pub(crate) fn watch(&self) -> Option<&Watch> {
        match self {
            CheckCommand::List { watch, .. } | CheckCommand::Show { watch, .. } => Some(watch),
            CheckCommand::Run { .. } => None,
        }
    }

    pub(crate) fn request(&self) -> Request {
        match self {
            CheckCommand::List { .. } => Request::CheckList {},
            CheckCommand::Show { place, pool, .. } => {
                let Place { check, backend } = place.clone();
                Request::CheckShow { check, backend, pool: pool.clone() }
            }
            CheckCommand::Run { place, pool } => {
                let Place { check, backend } = place.clone();
                Request::CheckRun { check, backend, pool: pool.clone() }
            }
        }
    }
}

fn states() -> impl TypedValueParser<Value = CheckState> {
    PossibleValuesParser::new(CheckState::ALL.map(CheckState::name)).try_map(|name| {
        CheckState::ALL.into_iter().find(|state| state.name() == name).ok_or("no such state")
    })
}

/// Parses a check and a backend as `http/b1` or `http/10.0.0.5`. A check's name ends at the first slash.
fn place(text: &str) -> Result<Place, String> {
    match text.split_once('/') {
        Some((check, backend)) if !check.is_empty() && !backend.is_empty() => {
            Ok(Place { check: check.to_owned(), backend: backend.to_owned() })
        }
        _ => Err("CHECK/BACKEND is needed, for example http/b1 or http/192.0.2.11".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        let of = |check: &str, backend: &str| {
            Ok(Place { check: check.to_owned(), backend: backend.to_owned() })
        };
        assert_eq!(place("http/b1"), of("http", "b1"));
        assert_eq!(place("http/b/1"), of("http", "b/1"));
        assert_eq!(place("http/2001:db8::5"), of("http", "2001:db8::5"));
        for text in ["", "/", "http", "http/", "/b1"] {
            assert!(place(text).unwrap_err().starts_with("CHECK/BACKEND is needed"), "{text}");
        }
    }
}
