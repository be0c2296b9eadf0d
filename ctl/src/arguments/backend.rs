//! `guidewayctl backend`: which backends a command is about, and what it sets for them.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use guideway_api::{
    Backend, BackendChange, BackendOrder, MAX_FOR_SECONDS, MAX_WEIGHT, Request, SetState, Source,
};

use super::watch::Watch;
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// List the backends in force
    List {
        /// Only the backends of this pool
        #[arg(long)]
        pool: Option<String>,
        /// Show how packets reach the backends, instead of their traffic
        #[arg(long)]
        routes: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// Let backends keep their flows, until drain_timeout of their services, and take no new ones
    Drain {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        speaker: Speaker,
    },
    /// Let backends take new flows again, unless the controller has set another state
    Enable {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        terms: Terms,
        /// Accepted only to say what a controller does instead
        #[arg(long, value_parser = sources(), hide = true)]
        source: Option<Source>,
    },
    /// Move the flows of backends to other backends at once, which breaks TCP connections; drain first
    Disable {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        speaker: Speaker,
    },
    /// Set the weight of backends, or unset it
    #[command(override_usage = "guidewayctl backend weight [OPTIONS] TARGET WEIGHT\n       \
                                guidewayctl backend weight [OPTIONS] --address ADDRESS WEIGHT")]
    Weight {
        #[command(flatten)]
        words: Words,
        /// 0 to 1000000, or `unset` for that of the other sources
        #[arg(value_parser = weight)]
        weight: Option<Value>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        speaker: Speaker,
    },
    /// Show the state of backends and what is set for them, or set the state or unset it
    #[command(override_usage = "guidewayctl backend state [OPTIONS] TARGET [STATE]\n       \
                                guidewayctl backend state [OPTIONS] --address ADDRESS [STATE]")]
    State {
        #[command(flatten)]
        words: Words,
        /// The state to set, or `unset` for that of the other sources
        #[arg(value_parser = states())]
        state: Option<Value>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        speaker: Speaker,
        #[command(flatten)]
        watch: Watch,
    },
}

/// The backends that a command is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// POOL/NAME, or POOL for all of the pool's own backends
    #[arg(value_name = "TARGET", value_parser = place)]
    place: Option<Place>,
    /// The backends at this address, in all pools
    #[arg(long)]
    address: Option<IpAddr>,
}

/// The same, for commands with another word. With `--address` that is the first.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Words {
    /// POOL/NAME, or POOL for all of the pool's own backends
    #[arg(value_name = "TARGET")]
    first: Option<String>,
    /// The backends at this address, in all pools, in the place of TARGET
    #[arg(long)]
    address: Option<IpAddr>,
}

/// Why and for how long something is set.
#[derive(Clone, Debug, Args)]
pub(crate) struct Terms {
    /// Why, for listings, events and the audit trail: 1 to 255 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// After this the setting ends, for example 30s, 10m, 2h or 1d [default: it stays]
    #[arg(long = "for", value_name = "DURATION", value_parser = seconds)]
    for_seconds: Option<u64>,
}

/// Who sets something.
#[derive(Clone, Debug, Args)]
pub(crate) struct Speaker {
    /// Who sets it: controller is for scripts that check backends; what an operator sets outweighs it
    /// [default: operator]
    #[arg(long, value_parser = sources(), hide_default_value = true)]
    source: Option<Source>,
}

/// Some backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Backend { pool: String, name: String },
    Pool(String),
    Address(IpAddr),
}

/// What is set, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    State(SetState),
    Weight(u32),
    Unset,
}

/// What a command sets.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    place: Place,
    pub(crate) order: BackendOrder,
    pub(crate) source: Source,
    terms: Terms,
}

impl BackendCommand {
    /// Whether the command sets something.
    pub(crate) fn is_change(&self) -> bool {
        match self {
            BackendCommand::List { .. } => false,
            BackendCommand::State { words, state, .. } => {
                state.is_some() || (words.address.is_some() && words.first.is_some())
            }
            _ => true,
        }
    }

    /// What the command sets; none if it shows something.
    pub(crate) fn setting(&self) -> Result<Option<Setting>, Error> {
        let of = |target: &Target, state, terms: &Terms, source| {
            let (order, terms) = (BackendOrder::State(state), terms.clone());
            Ok(Some(Setting { place: target.place()?, order, source, terms }))
        };
        match self {
            BackendCommand::List { .. } => Ok(None),
            BackendCommand::Drain { target, terms, speaker } => {
                of(target, SetState::Draining, terms, speaker.source())
            }
            BackendCommand::Enable { source: Some(Source::Controller), .. } => Err(usage(
                "only an operator enables; a controller unsets its state: \
                 guidewayctl backend state TARGET unset --source controller",
            )),
            BackendCommand::Enable { target, terms, .. } => {
                of(target, SetState::Enabled, terms, Source::Operator)
            }
            BackendCommand::Disable { target, terms, speaker } => {
                of(target, SetState::Disabled, terms, speaker.source())
            }
            BackendCommand::Weight { words, weight: value, terms, speaker } => {
                let (place, value) = words.with(*value, weight)?;
                let value = value.ok_or_else(|| usage("a weight is missing"))?;
                let order = value.order(BackendOrder::UnsetWeight);
                Setting::new(place, order, terms, speaker).map(Some)
            }
            BackendCommand::State { words, state: value, terms, speaker, watch } => {
                let (place, value) = words.with(*value, state)?;
                let has_terms = terms.reason.is_some()
                    || terms.for_seconds.is_some()
                    || speaker.source.is_some();
                match value {
                    None if has_terms => {
                        Err(usage("--reason, --for and --source need a state to set"))
                    }
                    None => Ok(None),
                    Some(_) if watch.every.is_some() => {
                        Err(usage("--watch is for a state that is shown, not set"))
                    }
                    Some(value) => {
                        let order = value.order(BackendOrder::UnsetState);
                        Setting::new(place, order, terms, speaker).map(Some)
                    }
                }
            }
        }
    }

    /// The backends of which the command shows the state.
    pub(crate) fn shown(&self) -> Result<Option<Place>, Error> {
        match self {
            BackendCommand::State { words, state: value, .. } if !self.is_change() => {
                Ok(Some(words.with(*value, state)?.0))
            }
            _ => Ok(None),
        }
    }
}

impl Setting {
    fn new(
        place: Place,
        order: BackendOrder,
        terms: &Terms,
        speaker: &Speaker,
    ) -> Result<Setting, Error> {
        let unsets = matches!(order, BackendOrder::UnsetState | BackendOrder::UnsetWeight);
        if unsets && terms.for_seconds.is_some() {
            return Err(usage("--for is for what is set, not for unset"));
        }
        Ok(Setting { place, order, source: speaker.source(), terms: terms.clone() })
    }

    pub(crate) fn request(self) -> Request {
        let Setting { place, order, source, terms: Terms { reason, for_seconds } } = self;
        let change =
            BackendChange { pool: None, backend: None, address: None, set: order, reason: None };
        let change = match place {
            Place::Backend { pool, name } => {
                BackendChange { pool: Some(pool), backend: Some(name), ..change }
            }
            Place::Pool(pool) => BackendChange { pool: Some(pool), ..change },
            Place::Address(address) => BackendChange { address: Some(address), ..change },
        };
        Request::BackendSet { changes: vec![change], source, reason, for_seconds }
    }
}

impl Target {
    fn place(&self) -> Result<Place, Error> {
        let address = self.address.map(Place::Address);
        // Clap has one of them.
        address.or_else(|| self.place.clone()).ok_or_else(|| usage("a backend is missing"))
    }
}

impl Words {
    /// The backends and the value, if there is one.
    fn with(
        &self,
        second: Option<Value>,
        parse: impl Fn(&str) -> Result<Value, String>,
    ) -> Result<(Place, Option<Value>), Error> {
        match (self.address, &self.first, second) {
            (Some(_), Some(_), Some(_)) => {
                Err(usage("--address stands in the place of TARGET, so that one word is too much"))
            }
            (Some(address), Some(word), None) => {
                Ok((Place::Address(address), Some(parse(word).map_err(|error| usage(&error))?)))
            }
            (Some(address), None, second) => Ok((Place::Address(address), second)),
            (None, Some(word), second) => Ok((place(word).map_err(|error| usage(&error))?, second)),
            (None, None, _) => Err(usage("a backend is missing")),
        }
    }
}

impl Speaker {
    fn source(&self) -> Source {
        self.source.unwrap_or_default()
    }
}

impl Place {
    /// Whether the backend is one of them.
    pub(crate) fn has(&self, backend: &Backend) -> bool {
        match self {
            Place::Backend { pool, name } => backend.pool == *pool && backend.name == *name,
            Place::Pool(pool) => backend.pool == *pool,
            Place::Address(address) => backend.address == *address,
        }
    }
}

/// What a backend does that is one of them.
impl Display for Place {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Backend { pool, name } => write!(formatter, "is named {pool}/{name}"),
            Place::Pool(pool) => write!(formatter, "is in a pool named {pool}"),
            Place::Address(address) => write!(formatter, "has the address {address}"),
        }
    }
}

impl Value {
    fn order(self, unset: BackendOrder) -> BackendOrder {
        match self {
            Value::State(state) => BackendOrder::State(state),
            Value::Weight(weight) => BackendOrder::Weight(weight),
            Value::Unset => unset,
        }
    }
}

fn usage(message: &str) -> Error {
    Error::Usage { message: message.to_owned() }
}

/// Parses `web/b1`, or `web`. A pool's name ends at the first slash.
fn place(text: &str) -> Result<Place, String> {
    match text.split_once('/') {
        Some((pool, name)) if !pool.is_empty() && !name.is_empty() => {
            Ok(Place::Backend { pool: pool.into(), name: name.into() })
        }
        None if !text.is_empty() => Ok(Place::Pool(text.into())),
        _ => Err("POOL/NAME or POOL is needed, for example web/b1".into()),
    }
}

/// The states that a command may set, and `unset`. `enabled` has a command of its own.
const STATES: [(&str, Value); 5] = [
    ("active", Value::State(SetState::Active)),
    ("draining", Value::State(SetState::Draining)),
    ("disabled", Value::State(SetState::Disabled)),
    ("down", Value::State(SetState::Down)),
    ("unset", Value::Unset),
];

fn states() -> impl TypedValueParser<Value = Value> {
    PossibleValuesParser::new(STATES.map(|(name, _)| name)).try_map(|name| state(&name))
}

fn state(text: &str) -> Result<Value, String> {
    let found = STATES.iter().find(|(name, _)| *name == text);
    found.map(|&(_, value)| value).ok_or_else(|| {
        format!("{text} is not a state; use {}", STATES.map(|(name, _)| name).join(", "))
    })
}

fn weight(text: &str) -> Result<Value, String> {
    match text.parse() {
        Ok(weight) if weight <= MAX_WEIGHT => Ok(Value::Weight(weight)),
        _ if text == "unset" => Ok(Value::Unset),
        _ => Err(format!("a weight from 0 to {MAX_WEIGHT} or unset is needed")),
    }
}

fn sources() -> impl TypedValueParser<Value = Source> {
    PossibleValuesParser::new(["operator", "controller"]).map(|name| match &*name {
        "controller" => Source::Controller,
        _ => Source::Operator,
    })
}

/// Parses a duration as `90s`, `10m` or `1h 30m`.
fn seconds(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text);
    let duration = duration.map_err(|_| "a duration is needed, for example 30s, 10m, 2h or 1d")?;
    match (duration.as_secs(), duration.subsec_nanos()) {
        (seconds @ 1..=MAX_FOR_SECONDS, 0) => Ok(seconds),
        _ => Err("whole seconds from 1s to 365d are needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        let backend = |pool: &str, name: &str| {
            Ok(Place::Backend { pool: pool.to_owned(), name: name.to_owned() })
        };
        assert_eq!(place("web/b1"), backend("web", "b1"));
        assert_eq!(place("web/b/1"), backend("web", "b/1"));
        assert_eq!(place("web"), Ok(Place::Pool("web".to_owned())));
        for text in ["", "/", "web/", "/b1"] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn weights_have_a_limit() {
        assert_eq!(weight("0"), Ok(Value::Weight(0)));
        assert_eq!(weight("1000000"), Ok(Value::Weight(MAX_WEIGHT)));
        assert_eq!(weight("unset"), Ok(Value::Unset));
        for text in ["", "-1", "1000001", "1.5", "none"] {
            assert!(weight(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_whole_seconds() {
        for (text, expected) in
            [("1s", 1), ("10m", 600), ("1h 30m", 5400), ("1d", 86_400), ("365d", 31_536_000)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "0s", "10", "1500ms", "366d", "-1s", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
