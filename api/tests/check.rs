//! The messages about checks as literal JSON, so that no message changes unnoticed; the others are in `wire.rs`.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Debug;

use guideway_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that the value is written as `wire`, byte for byte, and that `wire` is read as the value.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, wire: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), wire);
    assert_eq!(serde_json::from_str::<T>(wire).unwrap(), value);
}

fn pin() -> Pin {
    Pin { source: "192.0.2.9:10000".parse().unwrap(), pool: "web".into(), backend: "b1".into() }
}

#[test]
fn pins() {
    let wire = r#"{"source":"192.0.2.9:10000","pool":"web","backend":"b1"}"#;
    same(
        Request::PinSet {
            pins: vec![pin()],
            removed: vec!["[2001:db8::9]:10001".parse().unwrap()],
            only: true,
        },
        &format!(
            r#"{{"request":"pin_set","pins":[{wire}],"removed":["[2001:db8::9]:10001"],"only":true}}"#
        ),
    );
    let plain = Request::PinSet { pins: vec![pin()], removed: vec![], only: false };
    let line = format!(r#"{{"request":"pin_set","pins":[{wire}]}}"#);
    assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), plain);
    assert!(plain.is_change() && plain.daemon() == Some(Daemon::Forwarder));
    same(Request::PinList {}, r#"{"request":"pin_list"}"#);
    assert!(!Request::PinList {}.is_change());
    same(
        Response::PinsSet { generation: 7, pins: 2 },
        r#"{"response":"pins_set","body":{"generation":7,"pins":2}}"#,
    );
    same(Response::Pins(vec![pin()]), &format!(r#"{{"response":"pins","body":[{wire}]}}"#));
    for line in [
        r#"{"request":"pin_set","pins":[],"all":true}"#,
        r#"{"request":"pin_set","pins":[{"source":"192.0.2.9:1","pool":"p","backend":"b","via":"gre"}]}"#,
        r#"{"request":"pin_list","pool":"web"}"#,
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{line}: {error}");
    }
}

#[test]
fn the_most_pins_fit_a_request() {
    let source = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    let pin = Pin { source, pool: "p".repeat(63), backend: "b".repeat(63) };
    let request = Request::PinSet {
        pins: vec![pin; MAX_CHANGES],
        removed: vec![source; MAX_CHANGES],
        only: true,
    };
    let newline = 1;
    assert!(serde_json::to_string(&request).unwrap().len() + newline <= MAX_REQUEST);
}
