//! Values of the command line.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use guideway_api::{DEFAULT_FLOWS, FlowState, FlowTuple, Happening, LogLevel, MAX_FLOWS, Protocol};
use guideway_config::{declarations, paths};

/// A backend on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendName {
    pub(crate) pool: Option<String>,
    /// A name or an address.
    pub(crate) backend: String,
}

/// Any text, of which the shell completes the known keys.
#[derive(Clone, Debug)]
pub(super) struct KeyParser;

impl TypedValueParser for KeyParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(paths(&declarations()).into_iter().map(PossibleValue::new)))
    }
}

pub(super) fn states() -> impl TypedValueParser<Value = FlowState> {
    PossibleValuesParser::new(FlowState::ALL.map(FlowState::name)).try_map(|name| {
        FlowState::ALL.into_iter().find(|state| state.name() == name).ok_or("no such state")
    })
}

/// The kinds of events, each with its meaning.
pub(super) fn kinds() -> PossibleValuesParser {
    let kinds = Happening::KINDS.iter();
    PossibleValuesParser::new(
        kinds.map(|&(name, _, help)| PossibleValue::new(name).help(help.trim_end_matches('.'))),
    )
}

pub(super) fn kinds_help() -> String {
    let mut help = "Only events of this kind; may be repeated\n\nKinds:".to_owned();
    for (name, _, meaning) in Happening::KINDS {
        help += &format!("\n- {name}: {}", meaning.trim_end_matches('.'));
    }
    help
}

pub(super) fn levels() -> impl TypedValueParser<Value = LogLevel> {
    PossibleValuesParser::new(LogLevel::ALL.map(LogLevel::name)).try_map(|name| {
        LogLevel::ALL.into_iter().find(|level| level.name() == name).ok_or("no such level")
    })
}

pub(super) fn limit_help() -> String {
    format!("Rows at the most, up to {MAX_FLOWS} [default: {DEFAULT_FLOWS}]")
}

pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=MAX_FLOWS).contains(&limit) => Ok(limit),
        _ => Err(format!("a number from 1 to {MAX_FLOWS} is needed")),
    }
}

/// Parses a backend as `web/b1`, `b1` or `10.0.0.5`. A pool's name ends at the first slash.
pub(super) fn backend(text: &str) -> Result<BackendName, String> {
    let (pool, backend) = match text.split_once('/') {
        Some((pool, backend)) => (Some(pool), backend),
        None => (None, text),
    };
    if pool == Some("") || backend.is_empty() {
        return Err("POOL/BACKEND, a name or an address is needed, for example web/b1".into());
    }
    Ok(BackendName { pool: pool.map(String::from), backend: backend.into() })
}

/// Parses a flow as `tcp,198.51.100.1:40000,203.0.113.10:80`.
pub(super) fn flow(text: &str) -> Result<FlowTuple, String> {
    let [protocol, source, destination] = text.split(',').collect::<Vec<_>>()[..] else {
        return Err("three parts with commas between them are needed, \
                    for example tcp,198.51.100.1:40000,203.0.113.10:80"
            .into());
    };
    let address = |text: &str| {
        text.parse().map_err(|_| {
            format!("{text} is not ADDRESS:PORT, such as 203.0.113.10:80 or [2001:db8::1]:80")
        })
    };
    let tuple = FlowTuple {
        protocol: match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("{other} is not a protocol; use tcp or udp")),
        },
        source: address(source)?,
        destination: address(destination)?,
    };
    if tuple.source.is_ipv4() != tuple.destination.is_ipv4() {
        return Err("both addresses must be IPv4, or both IPv6".into());
    }
    Ok(tuple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_parsed() {
        let tuple = flow("udp,[2001:db8::1]:53,[2001:db8::2]:5353").unwrap();
        assert_eq!(tuple.protocol, Protocol::Udp);
        assert_eq!(tuple.source, "[2001:db8::1]:53".parse().unwrap());
        assert_eq!(tuple.destination, "[2001:db8::2]:5353".parse().unwrap());
        for (text, message) in [
            ("tcp", "three parts"),
            ("tcp,192.0.2.1:1,192.0.2.2:2,3", "three parts"),
            ("sctp,192.0.2.1:1,192.0.2.2:2", "sctp is not a protocol"),
            ("tcp,192.0.2.1,192.0.2.2:2", "192.0.2.1 is not ADDRESS:PORT"),
            ("tcp,192.0.2.1:1,[2001:db8::1]:1", "both addresses"),
        ] {
            let error = flow(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn backends_are_parsed() {
        let of = |pool: Option<&str>, backend: &str| {
            Ok(BackendName { pool: pool.map(String::from), backend: backend.into() })
        };
        assert_eq!(backend("web/b1"), of(Some("web"), "b1"));
        assert_eq!(backend("web/b/1"), of(Some("web"), "b/1"));
        assert_eq!(backend("2001:db8::5"), of(None, "2001:db8::5"));
        for text in ["", "/", "web/", "/b1"] {
            assert!(backend(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_those_of_the_protocol() {
        assert_eq!(limit("1"), Ok(1));
        assert_eq!(limit("10000"), Ok(MAX_FLOWS));
        for text in ["0", "10001", "-1", "all"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
