//! `guidewayctl config explain`: what a key of the configuration means. It needs no daemon.

use guideway_config::{Declaration, Found, Key, Presence, declarations, find, plain};
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::error::Error;
use crate::table::{Table, left};
use crate::terminal::Screen;

/// The text about a key, a section, or all keys.
pub(crate) fn explain(path: Option<&str>, output: Output, screen: Screen) -> Result<String, Error> {
    let declarations = declarations();
    let found = path.map(|path| {
        find(&declarations, path).map_err(|nearest| Error::NoKey { key: path.to_owned(), nearest })
    });
    let sections = match found.transpose()? {
        None => declarations.iter().collect(),
        Some(Found::Section(section)) => vec![section],
        Some(Found::Key(section, key)) => {
            return Ok(match output {
                Output::Table => of_key(section, key),
                Output::Json => pretty(&json_of(section, key)),
                Output::JsonLines => line(&json_of(section, key)),
            });
        }
    };
    let keys =
        || sections.iter().flat_map(|section| section.keys.iter().map(|key| (*section, key)));
    Ok(match output {
        Output::Json => pretty(&keys().map(|(section, key)| json_of(section, key)).collect()),
        Output::JsonLines => keys().map(|(section, key)| line(&json_of(section, key))).collect(),
        Output::Table => {
            let mut table = Table::new(["KEY", "DEFAULT", "CHANGE", "TYPE"].map(left));
            for (section, key) in keys() {
                let kind = key.shape.noun();
                table.row([&path_of(section, key), &key.default(), &change(key), &kind]);
            }
            let about = path.map(|_| plain(&sections[0].about().join("\n\n")) + "\n\n");
            about.unwrap_or_default() + &table.text(screen.has_colour, None)
        }
    })
}

fn path_of(section: &Declaration, key: &Key) -> String {
    format!("{}.{}", section.path(), key.name)
}

fn change(key: &Key) -> &'static str {
    if key.reload { "reload" } else { "restart" }
}

fn of_key(section: &Declaration, key: &Key) -> String {
    let mut table = Table::headless(["NAME", "VALUE"].map(left));
    let limits = plain(&key.shape.limits());
    let kind = key.shape.noun();
    let example = format!("{} = {}", key.name, key.example);
    for (title, text) in [
        ("key", path_of(section, key).as_str()),
        ("type", &kind),
        ("unit", key.unit),
        ("limits", &limits),
        ("default", key.default()),
        ("example", &example),
        ("change", if key.reload { "a reload puts it in force" } else { "takes a restart" }),
    ] {
        if !text.is_empty() {
            table.row([&title, &text]);
        }
    }
    let table = table.text(false, None);
    format!("{table}\n{}\n", plain(&key.meaning().join("\n\n")))
}

fn json_of(section: &Declaration, key: &Key) -> Value {
    json!({
        "key": path_of(section, key),
        "type": key.shape.noun(),
        "unit": key.unit,
        "limits": plain(&key.shape.limits()),
        "required": key.presence == Presence::Required,
        "default": (key.presence != Presence::Required).then(|| key.default()),
        "example": key.example,
        "reload": key.reload,
        "meaning": key.meaning().iter().map(|text| plain(text)).collect::<Vec<_>>(),
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(path: Option<&str>, output: Output) -> Result<String, Error> {
        super::explain(path, output, Screen::default())
    }

    #[test]
    fn a_key_is_explained() {
        let expected = "\
key      dpdk.memory
type     integer
unit     MiB
limits   64 to 1048576
default  512
example  memory = 512
change   takes a restart

All of DPDK's memory,";
        let text = explain(Some("dpdk.memory"), Output::Table).unwrap();
        assert!(text.starts_with(expected), "{text}");
        let json = explain(Some("pool[3].backends[1].weight"), Output::Json).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (json["key"].as_str(), json["default"].as_str()),
            (Some("pool.backends.weight"), Some("1"))
        );
    }

    #[test]
    fn a_section_and_everything_are_listed() {
        let section = explain(Some("icmp"), Output::Table).unwrap();
        assert!(section.starts_with("How many replies"), "{section}");
        assert!(section.contains("\nicmp.burst  100      reload  integer\n"), "{section}");
        let all = explain(None, Output::Table).unwrap();
        assert!(all.starts_with("KEY ") && all.contains("\nservice.port "), "{all}");
        let json: Value = serde_json::from_str(&explain(None, Output::Json).unwrap()).unwrap();
        assert_eq!(json.as_array().unwrap().len() + 1, all.lines().count());
        let lines = explain(None, Output::JsonLines).unwrap();
        assert_eq!(lines.lines().count() + 1, all.lines().count());
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first, json[0]);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = explain(Some("port.mtuu"), Output::Table).unwrap_err();
        assert_eq!(error.to_string(), "no key is named port.mtuu; the nearest is port.mtu");
        assert_eq!(error.exit_code(), 4);
    }
}
