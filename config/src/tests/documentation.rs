//! What is written from the declarations is up to date, and what is written by hand has every key.

use std::path::Path;

use super::super::{Declaration, Shape, declarations, dictionary, reference, schema};

const EXAMPLE: &str = include_str!("../../../examples/appliance.toml");

/// Compares a file with what it must be, or writes it if `GUIDEWAY_WRITE_REFERENCE` is set.
#[track_caller]
fn is_current(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("GUIDEWAY_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap();
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{path} is stale; run ci/reference.sh: {differing:?}");
}

#[test]
fn the_reference_is_current() {
    is_current("docs/configuration.md", &reference(&declarations()));
}

#[test]
fn the_fuzz_dictionary_is_current() {
    is_current("fuzz/dictionaries/configuration", &dictionary(&declarations()));
}

#[test]
fn the_long_example_has_every_key() {
    fn has(value: &toml::Value, path: &str) -> bool {
        let (key, rest) = path.split_once('.').map_or((path, None), |(k, rest)| (k, Some(rest)));
        match value {
            toml::Value::Array(elements) => elements.iter().any(|element| has(element, path)),
            value => value.get(key).is_some_and(|v| rest.is_none_or(|rest| has(v, rest))),
        }
    }
    let example = toml::Value::Table(EXAMPLE.parse().expect("TOML"));
    let keys = crate::paths(&declarations());
    assert!(keys.len() > 80, "{keys:?}");
    let missing: Vec<_> = keys.into_iter().filter(|key| !has(&example, key)).collect();
    assert!(missing.is_empty(), "examples/appliance.toml has no {missing:?}");
}

/// A default is read by the key's kind, and that of the hash key is the only example that is no value.
#[test]
fn defaults_and_examples_are_values() {
    let words = |text: &str| format!("value = {text}").parse::<toml::Table>().is_err();
    for section in declarations() {
        for key in section.keys.iter().filter(|key| !matches!(key.shape, Shape::Table(_))) {
            let path = format!("{}.{}", section.path(), key.name);
            assert_eq!(words(key.example), path == "hash.key", "{path}: {}", key.example);
            let meaning = key.meaning();
            assert!(meaning[0].ends_with('.'), "{path}: {meaning:?}");
        }
    }
}

/// Only these sections are compared by [`crate::Configuration::restart_only_differences`].
#[test]
fn what_needs_a_restart_is_in_a_section_that_is_compared() {
    let compared = [
        "dpdk",
        "hash",
        "flow",
        "icmp",
        "fragments",
        "control",
        "metrics",
        "log",
        "tunnel",
        "probe",
        "announce",
        "port",
    ];
    let restarts = |section: &Declaration| section.keys.iter().any(|key| !key.reload);
    for section in declarations().iter().filter(|section| restarts(section)) {
        assert!(compared.contains(&section.path()), "{}: mend reload.rs", section.header);
    }
}

#[test]
fn the_schema_refers_to_what_it_defines() {
    let schema = schema(&declarations());
    let text = schema.to_string();
    let references =
        text.split("\"#/definitions/").skip(1).map(|rest| rest.split('"').next().unwrap());
    let references: std::collections::BTreeSet<_> = references.collect();
    let defined = schema["definitions"].as_object().unwrap();
    assert_eq!(references, defined.keys().map(String::as_str).collect());
    assert_eq!(schema["properties"]["port"]["maxItems"], 32);
    assert_eq!(schema["definitions"]["dpdk"]["properties"]["memory"]["default"], 512);
}
