//! The reference of all keys, `docs/configuration.md`, and the fuzzer's dictionary.

use super::declare::{Declaration, Key, Presence};
use super::shape::Shape;

const HEAD: &str = "\
# Configuration keys

<!-- Written by ci/reference.sh from the declarations in config/src/sections/: edit those. -->

All keys of the configuration file, which is TOML. [Operations](operations.md#configuration) says which files are read
and how, and what a [reload](operations.md#what-a-reload-can-change) does. A dagger (†) marks what only a restart changes.

`guidewayctl config explain KEY` shows a key's row without leaving the shell. `guideway config schema` prints a JSON Schema
for editors. `examples/appliance.toml` has every key.
";

/// Columns of the page's prose.
const WIDTH: usize = 124;

/// The page with every key.
pub fn reference(declarations: &[Declaration]) -> String {
    let mut page = HEAD.to_owned();
    page += "\n| section | for |\n|---|---|\n";
    for section in declarations {
        let header = section.header;
        let anchor: String =
            title(section).to_lowercase().chars().filter(|c| !"[]().`".contains(*c)).collect();
        let about = section.about();
        page += &format!("| [`{header}`](#{}) | {} |\n", anchor.replace(' ', "-"), about[0]);
    }
    for section in declarations {
        page += &format!("\n## {}\n\n{}", title(section), wrapped("", &section.about()[0]));
        page += "\n| key | type | default | limits and meaning |\n|---|---|---|---|\n";
        section.keys.iter().for_each(|key| page += &row(key));
        let notes = section.keys.iter().flat_map(|key| {
            let further = key.meaning().into_iter().skip(1);
            further.map(move |text| wrapped("  ", &format!("- **`{}`**: {text}", key.name)))
        });
        let notes: String = notes.collect();
        if !notes.is_empty() {
            page += &format!("\n{notes}");
        }
        for paragraph in section.about().iter().skip(1) {
            page += &format!("\n{}", wrapped("", paragraph));
        }
    }
    page
}

/// The header of a section and how often it may occur.
fn title(section: &Declaration) -> String {
    let times = match (*section.count.start(), *section.count.end()) {
        (0, 1) | (0, usize::MAX) => String::new(),
        (1, 1) => " (required)".to_owned(),
        (0, most) => format!(" (at most {most})"),
        (least, most) => format!(" ({least} to {most})"),
    };
    format!("`{}`{times}", section.header)
}

fn row(key: &Key) -> String {
    let dagger = if key.reload { "" } else { " †" };
    let comma = if key.unit.is_empty() { "" } else { ", " };
    let kind = code(&key.shape.noun()) + comma + key.unit;
    let default = match key.presence {
        Presence::Default(value) => format!("`{value}`"),
        Presence::Optional(words) => code(words),
        Presence::Required => "required".to_owned(),
    };
    let limits = match key.shape.limits() {
        limits if limits.is_empty() => limits,
        limits => format!("{}. ", capitalized(&limits)),
    };
    format!("| `{}`{dagger} | {kind} | {default} | {limits}{} |\n", key.name, key.meaning()[0])
}

/// The text with every string in quotes as code.
fn code(text: &str) -> String {
    let parts = text.split('"').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 0 { part.to_owned() } else { format!("`\"{part}\"`") })
        .collect()
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A paragraph in lines of at most [`WIDTH`] columns, each further one behind `indent`.
fn wrapped(indent: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            lines += &format!("\n{indent}");
            column = indent.len();
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += length;
    }
    lines + "\n"
}

/// Words of a configuration for libFuzzer: every section, key and word, and what else a text has.
pub fn dictionary(declarations: &[Declaration]) -> String {
    const OTHERS: [&str; 20] = [
        "true",
        "false",
        "\"192.0.2.1/24\"",
        "\"2001:db8::1/64\"",
        "\"10.0.0.5\"",
        "\"2001:db8:b::2\"",
        "\"02:00:00:00:00:01\"",
        "{ name = ",
        "[ ",
        " ]",
        " }",
        ", ",
        "\"\"\"",
        "'''",
        "0x",
        "1e9",
        "inf",
        "1979-05-27T07:32:00Z",
        "\\u0000",
        "\n",
    ];
    fn words(shape: &Shape, found: &mut Vec<String>) {
        match shape {
            Shape::Words(words) => found.extend(words.iter().map(|word| format!("{word:?}"))),
            Shape::Either(shapes) => shapes.iter().for_each(|shape| words(shape, found)),
            Shape::Array(of) => words(of, found),
            _ => {}
        }
    }
    let mut entries: Vec<String> =
        declarations.iter().map(|section| section.header.to_owned()).collect();
    let keys = || declarations.iter().flat_map(|section| &section.keys);
    let inner = |key: &&Key| !matches!(key.shape, Shape::Table(_));
    let mut names: Vec<String> =
        keys().filter(inner).map(|key| format!("{} = ", key.name)).collect();
    names.sort();
    entries.append(&mut names);
    keys().for_each(|key| words(&key.shape, &mut entries));
    entries.extend(OTHERS.map(str::to_owned));
    let mut text =
        "# Words of a configuration, for libFuzzer. Written by ci/reference.sh.\n".to_owned();
    let mut seen = std::collections::HashSet::new();
    for entry in entries.iter().filter(|entry| seen.insert(*entry)) {
        let escaped = entry.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\x0a");
        text += &format!("\"{escaped}\"\n");
    }
    text
}
