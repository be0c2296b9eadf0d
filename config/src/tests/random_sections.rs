//! Random sections: their keys and values are often right.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A value for any key: often valid, often almost valid.
fn value() -> impl Strategy<Value = String> {
    let address = || (0..4_u8, 0..4_u8).prop_map(|(net, host)| format!("10.0.{net}.{host}"));
    let quoted = |text: String| format!("\"{text}\"");
    prop_oneof![
        (-2..70_000_i64).prop_map(|number| number.to_string()),
        select(vec![
            "true",
            "false",
            "1.5",
            "[]",
            "{}",
            "nan",
            "1979-05-27",
            "\"\"",
            "[[]]",
            "1e9",
            "64",
            "4093"
        ])
        .prop_map(str::to_owned),
        select(vec![
            "gre",
            "gue",
            "l2",
            "flow",
            "tcp",
            "udp",
            "ring",
            "net_null0",
            "net_null1",
            "3b:00.1",
            "/s",
            "web",
            "keep",
            "reset",
            "least-flows"
        ])
        .prop_map(move |word| quoted(word.to_owned())),
        address().prop_map(quoted),
        (address(), 0..34_u8).prop_map(|(address, length)| format!("[\"{address}/{length}\"]")),
        vec(address(), 0..3).prop_map(|list| format!("{list:?}")),
        any::<u8>().prop_map(|byte| format!("\"02:00:00:00:00:{byte:02x}\"")),
        "[a-z]{0,4}".prop_map(quoted),
        any::<String>().prop_map(|text| format!("{text:?}")),
    ]
}

/// Sections with some of their keys, each with a value of the right kind or of any.
pub(super) fn section(
    header: &'static str,
    keys: &'static [(&'static str, &'static [&'static str])],
) -> impl Strategy<Value = String> {
    let lines: Vec<_> = keys
        .iter()
        .map(|&(key, right)| {
            let right = select(right).prop_map(str::to_owned);
            let line = prop_oneof![60 => right, 1 => value()];
            (line, prop::bool::weighted(0.97)).prop_map(move |(value, there)| {
                if there { format!("{key} = {value}\n") } else { String::new() }
            })
        })
        .collect();
    lines.prop_map(move |lines| format!("{header}\n{}", lines.concat()))
}

pub(super) const NAMES: &[&str] =
    &["\"a\"", "\"b\"", "\"c\"", "\"d\"", "\"e\"", "\"f\"", "\"g\"", "\"h\""];
