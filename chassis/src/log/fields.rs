//! The fields of a line.

use std::fmt;

use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Fields of an event that text leaves out, since its sentence says what they do.
const OF_EVENTS: [&str; 4] = ["event", "sequence", "fields", "left_out"];

/// The message of a line, and its fields in their order. Those of an event have the event's own among them.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) others: Vec<(String, Value)>,
}

impl Fields {
    pub(super) fn message(text: &str) -> Fields {
        Fields { message: text.to_owned(), others: Vec::new() }
    }

    pub(super) fn of(event: &Event<'_>) -> Fields {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields
    }

    fn add(&mut self, field: &Field, value: Value) {
        self.others.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // What management's `event` module says of this field.
        if field.name() == "fields"
            && let Ok(Value::Object(own)) = serde_json::from_str(value)
        {
            self.others.extend(own);
            return;
        }
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            _ => self.add(field, value.into()),
        }
    }
}

/// Writes fields as text does: the message as it is, others as `name=value`.
pub(super) struct AsText;

impl<'writer> FormatFields<'writer> for AsText {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = Text { writer, is_first: true, result: Ok(()) };
        fields.record(&mut text);
        text.result
    }
}

struct Text<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl Text<'_> {
    fn write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        match (name, self.writer.has_ansi_escapes()) {
            ("message", _) => {}
            (_, true) => write!(self.writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
            (_, false) => write!(self.writer, "{name}=")?,
        }
        // What others have written must not move a terminal's cursor.
        for c in value.chars() {
            match c.is_control() && c != '\n' && c != '\t' {
                true => write!(self.writer, "{}", c.escape_default())?,
                false => self.writer.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_ok() && !OF_EVENTS.contains(&field.name()) {
            self.result = self.write(field.name(), &format!("{value:?}"));
        }
    }
}
