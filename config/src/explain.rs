//! Finding a section or a key by its path, as mistakes print it: `pool[0].backends[1].weight` too.

use super::declare::{Declaration, Key};

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A section.
    Section(&'a Declaration),
    /// A key of a section.
    Key(&'a Declaration, &'a Key),
}

/// Every path: sections and their keys.
pub fn paths(declarations: &[Declaration]) -> Vec<String> {
    let keys = |section: &Declaration| {
        let path = section.path();
        let keys = section.keys.iter().map(move |key| format!("{path}.{}", key.name));
        std::iter::once(path.to_owned()).chain(keys).collect::<Vec<_>>()
    };
    let mut paths: Vec<String> = declarations.iter().flat_map(keys).collect();
    paths.dedup();
    paths
}

/// The section or key of a path, or else the nearest path.
pub fn find<'a>(declarations: &'a [Declaration], path: &str) -> Result<Found<'a>, String> {
    let parts = path.trim_matches(['[', ']']).split('.');
    let parts: Vec<&str> = parts.map(|part| part.split('[').next().unwrap_or_default()).collect();
    let path = parts.join(".");
    if let Some(section) = declarations.iter().find(|section| section.path() == path) {
        return Ok(Found::Section(section));
    }
    let (parent, name) = path.rsplit_once('.').unwrap_or_default();
    let section = declarations.iter().find(|section| section.path() == parent);
    let key = section.and_then(|s| Some((s, s.keys.iter().find(|key| key.name == name)?)));
    if let Some((section, key)) = key {
        return Ok(Found::Key(section, key));
    }
    // A name in another section, or without one, is near to each key of that name.
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &String| {
        let of_names = strsim::damerau_levenshtein(&last(&path), &last(known));
        strsim::damerau_levenshtein(&path, known).min(1 + of_names)
    };
    Err(paths(declarations).into_iter().min_by_key(distance).unwrap_or_default())
}

/// A text of a declaration without its marks of Markdown: for a terminal.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain += before;
        rest = match link.split_once("](").and_then(|(words, rest)| {
            let (target, rest) = rest.split_once(')')?;
            (!words.contains(']')).then_some((words, target, rest))
        }) {
            Some((words, target, rest)) => {
                plain += &format!("{words} (docs/{target})");
                rest
            }
            None => {
                plain.push('[');
                link
            }
        };
    }
    (plain + rest).replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declarations;

    #[test]
    fn sections_and_keys_are_found_by_path() {
        let declarations = declarations();
        for path in ["flow.timeout", "[flow.timeout]", "pool[0].backends", "[[port]]"] {
            assert!(matches!(find(&declarations, path), Ok(Found::Section(_))), "{path}");
        }
        for path in ["flow.timeout.syn", "pool[0].backends[12].weight", "pool.mss_clamp"] {
            assert!(matches!(find(&declarations, path), Ok(Found::Key(..))), "{path}");
        }
        for (path, nearest) in [
            ("dpdk.memorry", "dpdk.memory"),
            ("mtu", "port.mtu"),
            ("flow.syn", "flow.timeout.syn"),
            ("prot", "port"),
        ] {
            assert_eq!(find(&declarations, path).unwrap_err(), nearest);
        }
        for path in paths(&declarations) {
            assert!(find(&declarations, &path).is_ok(), "{path}");
        }
        find(&declarations, "").unwrap_err();
        find(&declarations, &"[.]".repeat(10_000)).unwrap_err();
    }

    #[test]
    fn marks_are_taken_off() {
        let text = "`a[0]` of [Idle workers](operations.md#idle-workers), [x] and `[[pool]]`";
        let expected = "a[0] of Idle workers (docs/operations.md#idle-workers), [x] and [[pool]]";
        assert_eq!(plain(text), expected);
    }
}
