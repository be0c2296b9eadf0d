//! A parser of the text format, version 0.0.4, as its specification says and no more lenient.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) families: BTreeMap<String, Family>,
}

#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// With `_bucket`, `_sum` or `_count`.
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// What tells the series from all others.
    pub(super) fn series(&self) -> String {
        let mut labels = self.labels.clone();
        labels.sort();
        format!("{}{labels:?}", self.name)
    }
}

impl Page {
    /// Reads a page. A series that is there twice, a family in two parts, and a line that is wrong are failures.
    #[track_caller]
    pub(super) fn parse(text: &str) -> Page {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
        let mut page = Page::default();
        let mut series = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a name and a help text");
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(page.families.insert(name.to_owned(), family).is_none(), "{name} twice");
                current = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert_eq!(name, current, "TYPE follows HELP");
                page.families.get_mut(name).unwrap().kind = kind.to_owned();
            } else {
                let sample = sample(line);
                let family = page.families.get_mut(&current).expect("a family");
                let suffixes: &[&str] = match family.kind.as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "counter" | "gauge" => &[""],
                    other => panic!("type {other}"),
                };
                let is_of = |suffix: &&str| sample.name == format!("{current}{suffix}");
                assert!(suffixes.iter().any(is_of), "{} in {current}", sample.name);
                assert!(series.insert(sample.series()), "twice: {line}");
                family.samples.push(sample);
            }
        }
        let empty = page.families.iter().find(|(_, family)| family.samples.is_empty());
        assert!(empty.is_none(), "{empty:?}");
        page
    }

    pub(super) fn samples(&self, name: &str) -> &[Sample] {
        self.families.get(name).map_or(&[], |family| &family.samples)
    }

    #[track_caller]
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let family = ["", "_sum", "_count"]
            .iter()
            .find_map(|end| self.families.get(name.strip_suffix(end)?));
        let has = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels.iter().all(|(label, value)| sample.label(label) == *value)
        };
        let sample = family.and_then(|family| family.samples.iter().find(has));
        sample.unwrap_or_else(|| panic!("no {name}{labels:?}")).value
    }

    /// As [`Page::value`], of a number of things.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    #[track_caller]
    pub(super) fn whole(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.value(name, labels) as usize
    }

    pub(super) fn series(&self) -> usize {
        self.series_of(|_| true)
    }

    /// The series of some families.
    pub(super) fn series_of(&self, is_counted: impl Fn(&str) -> bool) -> usize {
        let families = self.families.iter().filter(|(name, _)| is_counted(name));
        families.map(|(_, family)| family.samples.len()).sum()
    }

    /// Every sample that must not fall: counters, and the parts of histograms.
    pub(super) fn counters(&self) -> impl Iterator<Item = &Sample> {
        let counters = self.families.values().filter(|family| family.kind != "gauge");
        counters.flat_map(|family| &family.samples)
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = value(after);
            assert!(labels.iter().all(|(known, _)| known != label), "{line}");
            labels.push((label.to_owned(), value));
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').expect("another label");
        }
    }
    let number = rest.strip_prefix(' ').expect("a blank before the value");
    let value = number.replace("+Inf", "inf").parse().unwrap_or_else(|_| panic!("{line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// The value of a label up to its closing quote, and what follows.
fn value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => panic!("\\ before {other:?}"),
            },
            '\n' => panic!("a line's end within a value"),
            character => value.push(character),
        }
    }
    panic!("{text}: no closing quote")
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}
