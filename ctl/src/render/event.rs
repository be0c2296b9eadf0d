//! Events as lines for people: `TIME  KIND  FIELD=VALUE FIELD=VALUE`.

use std::fmt;

use guideway_api::{Event, Happening};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::tint;

pub(super) fn line(event: &Event, has_colour: bool) -> String {
    let kind = event.happening.name();
    let widest = Happening::KINDS.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    let padding = " ".repeat(widest - kind.len());
    let kind = tint::severity(event.happening.severity()).paint(kind, has_colour);
    let time = crate::terminal::line(&event.time);
    let line = format!("{time}  {kind}{padding}  {}", fields(&event.happening));
    format!("{}\n", line.trim_end())
}

/// The fields of an event but its kind, in the protocol's order.
fn fields(happening: &Happening) -> String {
    let json = serde_json::to_string(happening).unwrap_or_default();
    let Fields(fields) = serde_json::from_str(&json).unwrap_or_default();
    let fields = fields.iter().filter(|(name, _)| name != "event");
    fields.map(|(name, value)| format!("{name}={}", shown(value))).collect::<Vec<_>>().join(" ")
}

/// A value as one word, or in quotes.
fn shown(value: &Value) -> String {
    let is_plain = |letter: char| !letter.is_control() && !" \"=\\".contains(letter);
    let text = match value {
        Value::String(text) if !text.is_empty() && text.chars().all(is_plain) => text.clone(),
        value => value.to_string(),
    };
    // JSON leaves the control characters from U+007F on as they are.
    crate::terminal::line(&text)
}

/// The fields of a JSON object in their order, which serde_json's own map does not keep.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
