//! The configuration's JSON Schema (draft 7), for editors: completion, hovers and mistakes as one types.
//!
//! A schema sees one value at a time. What depends on several keys, and whether an address is one that a
//! host can have, only [`super::parse`] checks.

use serde_json::{Map, Value, json};

use super::declare::{Declaration, Key, Presence};
use super::shape::{Form, Shape};

/// The schema of a configuration file.
pub fn schema(declarations: &[Declaration]) -> Value {
    let definitions: Map<String, Value> = declarations
        .iter()
        .map(|section| (section.path().to_owned(), definition(section)))
        .collect();
    let top = || declarations.iter().filter(|section| !section.path().contains('.'));
    let property = |section: &Declaration| {
        let one = reference(section.path());
        let several = json!({
            "type": "array", "items": one,
            "minItems": section.count.start(), "maxItems": section.count.end(),
        });
        (section.path().to_owned(), if section.is_repeated() { several } else { one })
    };
    let required = top().filter(|section| *section.count.start() > 0).map(Declaration::path);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Guideway's configuration",
        "type": "object",
        "properties": top().map(property).collect::<Map<_, _>>(),
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
        "definitions": definitions,
    })
}

fn reference(path: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{path}") })
}

fn definition(section: &Declaration) -> Value {
    let required = section.keys.iter().filter(|key| key.presence == Presence::Required);
    json!({
        "description": section.about().join("\n\n"),
        "type": "object",
        "properties": section.keys.iter().map(|key| (key.name.to_owned(), property(key)))
            .collect::<Map<_, _>>(),
        "required": required.map(|key| key.name).collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = of_shape(&key.shape);
    if let (Value::Object(property), false) = (&mut property, matches!(key.shape, Shape::Table(_)))
    {
        property.insert("description".to_owned(), key.meaning().join("\n\n").into());
        if let Presence::Default(value) = key.presence {
            property.extend(value_of(value).map(|value| ("default".to_owned(), value)));
        }
        property.extend(value_of(key.example).map(|value| ("examples".to_owned(), json!([value]))));
    }
    property
}

/// A value in TOML notation as JSON.
fn value_of(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn of_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Integer { low, high, .. } => {
            json!({ "type": "integer", "minimum": low, "maximum": high })
        }
        Shape::Text(Form { pattern: "", .. }) => json!({ "type": "string" }),
        Shape::Text(form) => json!({ "type": "string", "pattern": form.pattern }),
        Shape::Words(words) => json!({ "enum": words }),
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(of_shape).collect::<Vec<_>>() })
        }
        Shape::Array(of) => json!({ "type": "array", "items": of_shape(of) }),
        Shape::Table(path) => reference(path),
        Shape::Tables(path) => json!({ "type": "array", "items": reference(path) }),
    }
}
