//! The three forms of a line: text, JSON, and entries of systemd's journal.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use guideway_config::LogFormat;
use guideway_output::{Encode, Queue, journal};
use serde::Serializer;
use serde_json::Value;
use tracing::{Event, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::format::{Format, Full};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Context, Layer};

use super::fields::{AsText, Fields};

/// What journal entries are found by: `journalctl -t guideway`.
const IDENTIFIER: &str = "guideway";

/// Where lines go, and in which form.
pub(super) struct Sink {
    pub(super) format: LogFormat,
    pub(super) queue: Queue,
}

impl Sink {
    /// Logs a message of the program itself, whatever the level.
    pub(super) fn say(&self, text: &str) {
        self.offer(&encoder(self.format)(text));
    }

    fn offer(&self, line: &[u8]) {
        match self.format {
            LogFormat::Text | LogFormat::Json => self.queue.offer(line),
            LogFormat::Journald => self.queue.offer_entry(line),
        }
    }
}

/// Turns a message of the program itself to a line, as an error.
pub(super) fn encoder(format: LogFormat) -> Encode {
    match format {
        LogFormat::Text => |text| format!("{text}\n").into_bytes(),
        LogFormat::Json => |text| json(Level::ERROR, SystemTime::now(), Fields::message(text)),
        LogFormat::Journald => |text| entry(Level::ERROR, &Fields::message(text)),
    }
}

/// Writes every event of tracing.
pub(super) struct Lines {
    text: fmt::Layer<Registry, AsText, Format<Full>, TextWriter>,
    sink: Arc<ArcSwap<Sink>>,
}

impl Lines {
    /// Lines to a sink; those of text with colours if `ansi`.
    pub(super) fn new(sink: Arc<ArcSwap<Sink>>, ansi: bool) -> Lines {
        let text = fmt::layer()
            .with_writer(TextWriter(Arc::clone(&sink)))
            .with_ansi(ansi)
            .with_target(false)
            // The layer would report its own failures with `eprintln!`, which panics or blocks.
            .log_internal_errors(false)
            .fmt_fields(AsText);
        Lines { text, sink }
    }
}

impl Layer<Registry> for Lines {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        let sink = self.sink.load();
        let level = *event.metadata().level();
        match sink.format {
            LogFormat::Text => self.text.on_event(event, context),
            LogFormat::Json => sink.offer(&json(level, SystemTime::now(), Fields::of(event))),
            LogFormat::Journald => sink.offer(&entry(level, &Fields::of(event))),
        }
    }
}

/// Writes lines of text.
struct TextWriter(Arc<ArcSwap<Sink>>);

impl<'a> MakeWriter<'a> for TextWriter {
    type Writer = WholeLines;

    fn make_writer(&'a self) -> WholeLines {
        WholeLines(self.0.load_full())
    }
}

/// tracing-subscriber writes each line at once.
struct WholeLines(Arc<Sink>);

impl Write for WholeLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.queue.offer(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One JSON object on one line: `time`, `level`, `message`, then the fields.
fn json(level: Level, time: SystemTime, Fields { message, others }: Fields) -> Vec<u8> {
    let time = humantime::format_rfc3339_micros(time).to_string();
    let level = level.as_str().to_ascii_lowercase();
    let own = [("time", time), ("level", level), ("message", message)];
    let own = own.map(|(name, text)| (name.to_owned(), Value::from(text)));
    let mut line = Vec::new();
    let written = serde_json::Serializer::new(&mut line).collect_map(own.into_iter().chain(others));
    // Strings and numbers always can be written.
    debug_assert!(written.is_ok());
    line.push(b'\n');
    line
}

/// An entry of the journal: `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER`, then the fields, named `GUIDEWAY_...`.
fn entry(level: Level, Fields { message, others }: &Fields) -> Vec<u8> {
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let named = others.iter().map(|(name, value)| {
        let name = name.replace('.', "_").to_ascii_uppercase();
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("GUIDEWAY_{name}"), text)
    });
    let named: Vec<(String, String)> = named.collect();
    let own = [("MESSAGE", &**message), ("PRIORITY", priority), ("SYSLOG_IDENTIFIER", IDENTIFIER)];
    journal::entry(own.into_iter().chain(named.iter().map(|(name, text)| (&**name, &**text))))
}
