//! Every key is in the documentation, in the long example and in the fuzzer's dictionary, and the
//! documentation and the dictionary have no other.

use std::collections::BTreeSet;

use super::super::{Encapsulation, parse};

const PAGE: &str = include_str!("../../../docs/operations.md");
const EXAMPLE: &str = include_str!("../../../examples/appliance.toml");

const DICTIONARY: &str = include_str!("../../../fuzz/dictionaries/configuration");

/// An unknown key wherever a key can stand: each mistake then lists the known keys there.
const UNKNOWN: &str = "none = 1\n[node]\nnone = 1\n[hash]\nnone = 1\n[dpdk]\nnone = 1\n\
    [flow]\nnone = 1\n[flow.timeout]\nnone = 1\n[control]\nnone = 1\n[icmp]\nnone = 1\n\
    [cluster]\nnone = 1\n[tunnel]\nnone = 1\n[fragments]\nnone = 1\n[[port]]\nnone = 1\n\
    [[neighbor]]\nnone = 1\n[[pool]]\nnone = 1\n[[pool.backends]]\nnone = 1\n[[service]]\nnone = 1\n";

/// Every key, as `section.key`, without indices.
fn known() -> BTreeSet<String> {
    let mistakes = parse(UNKNOWN).expect_err("no key is called none");
    let mut keys = BTreeSet::new();
    for mistake in &mistakes {
        let Some((_, list)) = mistake.message.split_once("(known here: ") else { continue };
        let path: String = mistake.key.replace("[0]", "");
        let section = path.strip_suffix("none").expect("the key that is none");
        let names = list.trim_end_matches(')').split(", ");
        keys.extend(names.map(|name| format!("{section}{name}")));
    }
    keys
}

/// The sections of the page, and as `section.key` the keys with a row.
fn documented() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = None;
    for line in PAGE.lines() {
        if line.starts_with('#') {
            let heading = line.strip_prefix("### `[");
            let name = heading.and_then(|rest| rest.trim_start_matches('[').split(']').next());
            section = name.map(str::to_owned);
            keys.extend(section.clone());
        } else if let (Some(section), Some(row)) = (&section, line.strip_prefix("| `")) {
            let key = row.split('`').next().unwrap_or_default();
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

#[test]
fn the_page_has_every_key_and_no_other() {
    let (known, documented) = (known(), documented());
    assert!(known.len() > 40, "{known:?}");
    // A table within a section has rows for its keys, but none of its own.
    let is_documented = |key: &str| {
        let within = format!("{key}.");
        documented.contains(key) || documented.iter().any(|row| row.starts_with(&within))
    };
    let missing: Vec<_> = known.iter().filter(|key| !is_documented(key)).collect();
    assert!(missing.is_empty(), "docs/operations.md has no row for {missing:?}");
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(unknown.is_empty(), "docs/operations.md has rows for {unknown:?}, which do not exist");
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
    let missing: Vec<_> = known().into_iter().filter(|key| !has(&example, key)).collect();
    assert!(missing.is_empty(), "examples/appliance.toml has no {missing:?}");
}

/// The entries of the dictionary, as the fuzzer inserts them, without white space.
fn dictionary() -> BTreeSet<String> {
    let entries = DICTIONARY.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    entries.map(|entry| entry.replace("\\\"", "\"").replace(' ', "")).collect()
}

#[test]
fn the_fuzz_dictionary_has_every_key_section_and_encapsulation() {
    let dictionary = dictionary();
    let mut expected = BTreeSet::new();
    for path in known() {
        let headers = [format!("[{path}]"), format!("[[{path}]]")];
        let written = headers.iter().find(|header| dictionary.contains(*header));
        let entry = match path.rsplit_once('.') {
            // A top-level key is a section.
            None => written.unwrap_or(&headers[0]).clone(),
            Some((_, key)) => written.cloned().unwrap_or_else(|| format!("{key}=")),
        };
        expected.insert(entry);
    }
    expected.extend(Encapsulation::NAMES.iter().map(|(name, _)| format!("\"{name}\"")));
    let missing: Vec<_> = expected.difference(&dictionary).collect();
    assert!(missing.is_empty(), "fuzz/dictionaries/configuration has no {missing:?}");
    let keys = dictionary.iter().filter(|entry| entry.ends_with('=') && !entry.contains('{'));
    let unknown: Vec<_> = keys.filter(|key| !expected.contains(*key)).collect();
    assert!(
        unknown.is_empty(),
        "fuzz/dictionaries/configuration has {unknown:?}, which are no keys"
    );
}
