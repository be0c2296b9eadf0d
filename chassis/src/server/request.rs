//! Parses a line of a client to a [`Request`], or to an error that explains what is wrong.

mod announce;

use std::ops::RangeInclusive;

use guideway_api::{
    BackendChange, BackendOrder, Error, ErrorKind, Happening, MAX_CHANGES, MAX_CONFIGURATION,
    MAX_FOR_SECONDS, MAX_REASON, MAX_WEIGHT, PROTOCOL_VERSION, Request, SetState, Source,
};

/// Characters of serde's message that are sent: the message may quote megabytes that the client sent.
const QUOTED: usize = 300;

/// Parses one line, without its newline. Nesting is bounded by serde_json's recursion limit (128).
pub fn parse_request(line: &[u8]) -> Result<Request, Error> {
    let text = std::str::from_utf8(line)
        .map_err(|error| bad(format!("the request is not UTF-8: {error}")))?;
    // serde would also accept an array as a message, which the protocol does not have.
    if !text.trim_start().starts_with('{') {
        return Err(bad("a request is one JSON object on one line".into()));
    }
    let request = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            let message = format!("this is no request of protocol {PROTOCOL_VERSION}: {error}");
            bad(shortened(message))
        } else {
            bad(shortened(format!("the request is not JSON: {error}")))
        }
    })?;
    check(&request)?;
    match &request {
        Request::ConfigCheck { text } | Request::ConfigApply { text, .. }
            if text.len() > MAX_CONFIGURATION =>
        {
            let message = format!("a configuration has at most {MAX_CONFIGURATION} bytes");
            Err(Error::new(ErrorKind::Rejected, message))
        }
        _ => Ok(request),
    }
}

/// Refuses what a request may not say.
fn check(request: &Request) -> Result<(), Error> {
    match request {
        Request::ConfigApply { reason: Some(reason), .. }
        | Request::ConfigReload { reason: Some(reason) }
        | Request::LogLevel { reason: Some(reason), .. } => within("reason", reason, 1..=1000),
        Request::BackendSet { changes, source, reason, for_seconds } => {
            if let Some(reason) = reason {
                within("reason", reason, 1..=MAX_REASON)?;
            }
            check_backend_set(changes, *source, *for_seconds)
        }
        Request::VipSet { addresses, order, peers, next_hops, reason } => {
            if let Some(reason) = reason {
                within("reason", reason, 1..=MAX_REASON)?;
            }
            announce::check_vips(addresses, *order, next_hops)
                .and_then(|()| announce::check_peers(peers))
                .map_err(refused)
        }
        Request::NodeSet { peers, reason, .. } => {
            if let Some(reason) = reason {
                within("reason", reason, 1..=MAX_REASON)?;
            }
            announce::check_peers(peers).map_err(refused)
        }
        Request::BgpShow { peer } => announce::check_peer(peer).map_err(refused),
        Request::CheckShow { check, backend, pool }
        | Request::CheckRun { check, backend, pool } => {
            within("check", check, 1..=255)?;
            within("backend", backend, 1..=255)?;
            pool.as_deref().map_or(Ok(()), |pool| within("pool", pool, 1..=255))
        }
        Request::PinSet { pins, removed, .. } => {
            check_length("pins", pins.len()).and_then(|()| check_length("removed", removed.len()))
        }
        Request::Hello { client, version } => {
            within("client", client, 1..=63).and_then(|()| within("version", version, 0..=63))
        }
        Request::Monitor { kinds, .. } => kinds.iter().try_for_each(|kind| check_kind(kind)),
        _ => Ok(()),
    }
}

/// Refuses what no configuration can make sense of.
fn check_backend_set(
    changes: &[BackendChange],
    source: Source,
    for_seconds: Option<u64>,
) -> Result<(), Error> {
    let refused = |message| Err(Error::new(ErrorKind::BadRequest, message));
    if !(1..=MAX_CHANGES).contains(&changes.len()) {
        return refused(format!(
            "`changes` must have 1 to {MAX_CHANGES} elements; send more in several requests"
        ));
    }
    if source == Source::File {
        return refused("the `source` file is the configuration; reload that".to_owned());
    }
    if for_seconds.is_some_and(|seconds| !(1..=MAX_FOR_SECONDS).contains(&seconds)) {
        return refused(format!("`for_seconds` must be 1 to {MAX_FOR_SECONDS}"));
    }
    for (n, BackendChange { pool, backend, address, set, reason }) in changes.iter().enumerate() {
        if let Some(reason) = reason {
            within("changes.reason", reason, 1..=MAX_REASON)?;
        }
        match (pool, backend, address) {
            (None, None, None) => {
                return refused(format!("`changes[{n}]` has neither `pool` nor `address`"));
            }
            (None, Some(_), _) => {
                return refused(format!("`changes[{n}]` has a `backend` without its `pool`"));
            }
            _ => {}
        }
        let message = match set {
            BackendOrder::Weight(weight) if *weight > MAX_WEIGHT => {
                format!("is {weight}; a weight is at most {MAX_WEIGHT}")
            }
            BackendOrder::State(SetState::Enabled) if source == Source::Controller => {
                "is enabled, which only an operator sets; a controller unsets its state".to_owned()
            }
            BackendOrder::UnsetState | BackendOrder::UnsetWeight if for_seconds.is_some() => {
                "unsets something, which has no end: leave out `for_seconds`".to_owned()
            }
            _ => continue,
        };
        return refused(format!("`changes[{n}].set` {message}"));
    }
    Ok(())
}

/// Refuses a list that is too long for one request.
fn check_length(field: &str, length: usize) -> Result<(), Error> {
    match length {
        0..=MAX_CHANGES => Ok(()),
        _ => Err(refused(format!(
            "`{field}` has at most {MAX_CHANGES} elements; send more in several requests"
        ))),
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

fn within(field: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), Error> {
    if length.contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let (least, most) = length.into_inner();
    let message = format!("`{field}` has {least} to {most} bytes without control characters");
    Err(Error::new(ErrorKind::BadRequest, message))
}

fn check_kind(kind: &str) -> Result<(), Error> {
    let names = || Happening::KINDS.iter().map(|&(name, ..)| name);
    if names().any(|name| name == kind) {
        return Ok(());
    }
    let quoted: String = kind.chars().take(QUOTED / 4).collect();
    let nearest = names().min_by_key(|name| strsim::damerau_levenshtein(&quoted, name));
    let message = format!(
        "there is no kind of event {quoted:?}; the nearest is {:?}",
        nearest.unwrap_or_default()
    );
    let details = vec![format!("the kinds are: {}", names().collect::<Vec<_>>().join(", "))];
    Err(Error { kind: ErrorKind::BadRequest, message, details })
}

fn bad(message: String) -> Error {
    Error {
        kind: ErrorKind::BadRequest,
        message,
        details: vec![
            r#"for example: {"request":"status"}"#.into(),
            format!("the requests are: {}", Request::NAMES.join(", ")),
        ],
    }
}

fn shortened(message: String) -> String {
    match message.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::{FlowFilter, FlowState, MAX_REQUEST};
    use proptest::prelude::*;

    use super::*;

    fn refusal(line: &[u8]) -> Error {
        let error = parse_request(line).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest);
        assert!(error.details.last().unwrap().contains("status, service_list"), "{error:?}");
        error
    }

    #[test]
    fn requests_are_parsed() {
        assert_eq!(parse_request(br#"{"request":"status"}"#), Ok(Request::Status {}));
        assert_eq!(parse_request(b" { \"request\" : \"stats\" } \r"), Ok(Request::Stats {}));
        let filter = FlowFilter { state: Some(FlowState::Syn), ..FlowFilter::default() };
        assert_eq!(
            parse_request(br#"{"state":"syn","request":"flow_list"}"#),
            Ok(Request::FlowList(filter))
        );
    }

    #[test]
    fn errors_explain_what_is_wrong() {
        for (line, words) in [
            (&b""[..], "one JSON object"),
            (b"help", "one JSON object"),
            (br#"["status"]"#, "one JSON object"),
            (b"\xff{}", "not UTF-8: invalid utf-8 sequence of 1 bytes from index 0"),
            (br#"{"request":"status""#, "not JSON: EOF"),
            (br#"{"request":"status"} {}"#, "not JSON: trailing characters"),
            (b"{}", "missing field `request`"),
            (br#"{"request":"reboot"}"#, "unknown variant `reboot`, expected one of `status`"),
            (br#"{"request":"status","x":1}"#, "unknown field `x`"),
            (br#"{"request":"stats","request":"stats"}"#, "duplicate field `request`"),
            (br#"{"request":"config_apply"}"#, "missing field `text`"),
            (br#"{"request":"config_apply","text":7}"#, "expected a string"),
            (br#"{"request":"flow_list","worker":70000}"#, "expected u16"),
            (br#"{"request":"flow_list","limit":-1}"#, "expected usize"),
            (br#"{"request":"flow_list","state":"open"}"#, "unknown variant `open`"),
            (br#"{"request":"flow_list","flow":{"source":"here"}}"#, "invalid socket address"),
        ] {
            let message = refusal(line).message;
            assert!(message.contains(words), "{}: {message}", line.escape_ascii());
        }
    }

    #[test]
    fn words_of_a_client_are_short_and_printable() {
        let long = "x".repeat(1001);
        for (line, words) in [
            (r#"{"request":"config_reload","reason":""}"#.to_owned(), "`reason` has 1 to 1000"),
            (format!(r#"{{"request":"config_reload","reason":"{long}"}}"#), "`reason` has 1 to"),
            (r#"{"request":"log_level","reason":"a\nb"}"#.to_owned(), "control characters"),
            (r#"{"request":"config_apply","text":"","reason":"\u001b[1m"}"#.to_owned(), "control"),
            (r#"{"request":"hello","client":"","version":"1"}"#.to_owned(), "`client` has 1 to 63"),
            (
                format!(r#"{{"request":"hello","client":"c","version":"{long}"}}"#),
                "`version` has 0",
            ),
        ] {
            let error = parse_request(line.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadRequest);
            assert!(error.message.contains(words), "{line}: {}", error.message);
        }
        let fits = format!(r#"{{"request":"config_reload","reason":"{}"}}"#, &long[1..]);
        parse_request(fits.as_bytes()).unwrap();
    }

    #[test]
    fn what_sets_backends_makes_sense() {
        let set = |changes: &str, more: &str| {
            let line = format!(r#"{{"request":"backend_set","changes":[{changes}]{more}}}"#);
            parse_request(line.as_bytes()).map_err(|error| {
                assert_eq!(error.kind, ErrorKind::BadRequest);
                error.message
            })
        };
        let (one, weight) = (
            r#"{"pool":"web","backend":"b1","set":{"state":"down"}}"#,
            r#"{"pool":"web","set":{"weight":1000000}}"#,
        );
        let reason = |length| format!(r#","reason":"{}""#, "x".repeat(length));
        set(one, "").unwrap();
        set(weight, r#","source":"controller","for_seconds":31536000"#).unwrap();
        set(one, &reason(255)).unwrap();
        set(&vec![one; MAX_CHANGES].join(","), "").unwrap();
        let enabled = r#"{"pool":"web","set":{"state":"enabled"}}"#;
        set(enabled, r#","for_seconds":1"#).unwrap();
        for (changes, more, words) in [
            ("", "", "`changes` must have 1 to 65535"),
            (&*vec![one; MAX_CHANGES + 1].join(","), "", "`changes` must have 1 to 65535"),
            (one, r#","source":"file""#, "reload that"),
            (one, r#","source":"nobody""#, "unknown variant `nobody`"),
            (one, r#","for_seconds":0"#, "`for_seconds` must be 1 to 31536000"),
            (one, r#","for_seconds":31536001"#, "`for_seconds` must be 1 to"),
            (one, r#","reason":"""#, "`reason` has 1 to 255"),
            (one, &reason(256), "`reason` has 1 to 255"),
            (one, r#","reason":"a\nb""#, "control characters"),
            (r#"{"pool":"web","set":"unset_state","reason":""}"#, "", "`changes.reason` has 1 to"),
            (r#"{"set":"unset_state"}"#, "", "`changes[0]` has neither"),
            (r#"{"backend":"b1","set":"unset_state"}"#, "", "without its `pool`"),
            (r#"{"pool":"web"}"#, "", "missing field `set`"),
            (r#"{"pool":"web","set":"unset"}"#, "", "unknown variant `unset`"),
            (r#"{"pool":"web","set":{"state":"up"}}"#, "", "unknown variant `up`"),
            (r#"{"pool":"web","set":{"weight":-1}}"#, "", "expected u32"),
            (
                &format!("{one},{{{}", &weight[1..].replace("000}", "001}")),
                "",
                "`changes[1].set` is",
            ),
            (enabled, r#","source":"controller""#, "only an operator sets"),
            (r#"{"pool":"web","set":"unset_weight"}"#, r#","for_seconds":1"#, "has no end"),
            (r#"{"address":"here","set":"unset_state"}"#, "", "invalid IP address"),
        ] {
            let message = set(changes, more).unwrap_err();
            assert!(message.contains(words), "{words}: {message}");
        }
    }

    #[test]
    fn what_names_a_check_is_short_and_printable() {
        for name in ["check_show", "check_run"] {
            let line = |check: &str, backend: &str, more: &str| {
                format!(r#"{{"request":"{name}","check":"{check}","backend":"{backend}"{more}}}"#)
            };
            let (longest, backend) = ("c".repeat(255), "b".repeat(255));
            let pool = format!(r#","pool":"{backend}""#);
            parse_request(line(&longest, &backend, &pool).as_bytes()).unwrap();
            parse_request(line("http", "2001:db8::5", "").as_bytes()).unwrap();
            for (line, words) in [
                (line("", "b1", ""), "`check` has 1 to 255"),
                (line(&format!("{longest}c"), "b1", ""), "`check` has 1 to 255"),
                (line("a\\nb", "b1", ""), "`check` has 1 to 255"),
                (line("http", "", ""), "`backend` has 1 to 255"),
                (line("http", &format!("{backend}b"), ""), "`backend` has 1 to 255"),
                (line("http", "b1", r#","pool":"""#), "`pool` has 1 to 255"),
                (line("http", "b1", r#","port":80"#), "unknown field `port`"),
            ] {
                let error = parse_request(line.as_bytes()).unwrap_err();
                assert_eq!(error.kind, ErrorKind::BadRequest);
                assert!(error.message.contains(words), "{words}: {}", error.message);
            }
        }
    }

    #[test]
    fn a_request_has_so_many_pins() {
        let pin = r#"{"source":"192.0.2.9:1","pool":"web","backend":"b1"}"#;
        let set = |pins: usize, removed: usize| {
            let (pins, removed) =
                (vec![pin; pins].join(","), vec![r#""192.0.2.9:2""#; removed].join(","));
            let line = format!(r#"{{"request":"pin_set","pins":[{pins}],"removed":[{removed}]}}"#);
            parse_request(line.as_bytes())
        };
        for (pins, removed) in [(0, 0), (MAX_CHANGES, MAX_CHANGES)] {
            set(pins, removed).unwrap();
        }
        for (pins, removed, words) in [
            (MAX_CHANGES + 1, 0, "`pins` has at most 65535"),
            (1, MAX_CHANGES + 1, "`removed` has at most 65535"),
        ] {
            let error = set(pins, removed).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadRequest);
            assert!(error.message.contains(words), "{}", error.message);
        }
    }

    #[test]
    fn an_unknown_kind_of_event_gets_the_nearest_and_all() {
        parse_request(br#"{"request":"monitor","kinds":["link_down","changed"]}"#).unwrap();
        let wrong = br#"{"request":"monitor","kinds":["link_up","link_dwon"]}"#;
        let error = parse_request(wrong).unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadRequest);
        let message = "there is no kind of event \"link_dwon\"; the nearest is \"link_down\"";
        assert_eq!(error.message, message);
        assert!(Happening::KINDS.iter().all(|(name, ..)| error.details[0].contains(name)));
        let long = format!(r#"{{"request":"monitor","kinds":["{}"]}}"#, "é".repeat(100_000));
        assert!(parse_request(long.as_bytes()).unwrap_err().message.len() < 300);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = |open: &str| format!("{{\"x\":{}", open.repeat(MAX_REQUEST / open.len()));
        for open in ["[", "{\"a\":"] {
            let message = refusal(deep(open).as_bytes()).message;
            assert!(message.contains("recursion limit"), "{message}");
        }
    }

    #[test]
    fn a_configuration_is_accepted_up_to_its_limit() {
        for name in ["config_check", "config_apply"] {
            let line = |length| {
                let text = "x".repeat(length);
                format!(r#"{{"request":"{name}","text":"{text}"}}"#)
            };
            parse_request(line(MAX_CONFIGURATION).as_bytes()).unwrap();
            let error = parse_request(line(MAX_CONFIGURATION + 1).as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Rejected);
            assert_eq!(error.message, "a configuration has at most 16777216 bytes");
        }
    }

    #[test]
    fn a_long_name_is_not_sent_back() {
        let line = format!("{{\"request\":\"{}\"}}", "é".repeat(100_000));
        let message = refusal(line.as_bytes()).message;
        assert!(message.chars().count() == QUOTED + 3 && message.ends_with("..."), "{message}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(line in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_request(&line);
        }

        #[test]
        fn near_requests_are_parsed_or_refused(
            name in proptest::sample::select(&Request::NAMES[..]),
            key in "worker|backend|pool|state|flow|limit|text|extended|changes|source|addresses|order\
                    |peers?|next_hops|check|pins|removed|only|[a-z]{1,3}",
            value in r#"null|true|-?[0-9]{1,22}|[0-9]e[0-9]{1,3}|"[a-z0-9.:\\u]{0,12}"|\[\]|\{\}"#,
        ) {
            let line = format!(r#"{{"request":"{name}","{key}":{value}}}"#);
            if let Ok(request) = parse_request(line.as_bytes()) {
                let again = serde_json::to_vec(&request).unwrap();
                prop_assert_eq!(parse_request(&again), Ok(request));
            }
        }
    }
}
