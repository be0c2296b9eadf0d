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

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use crate::event::Recorder;
    use guideway_api::{ChangeOutcome, Happening};
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::reload;

    use super::super::level::passing;
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sink(format: LogFormat) -> (PipeReader, Sink) {
        let (reader, writer) = pipe().unwrap();
        (reader, Sink { format, queue: Queue::to(writer, encoder(format)).unwrap() })
    }

    /// Has `act` log to a sink.
    fn logging(sink: Sink, act: impl FnOnce()) {
        let queue = sink.queue.clone();
        let lines = Lines::new(Arc::new(ArcSwap::from_pointee(sink)), false);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, act);
        assert!(queue.flush(SOON));
    }

    /// What `count` lines say.
    fn lines(mut reader: PipeReader, count: usize) -> Vec<String> {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while text.iter().filter(|&&byte| byte == b'\n').count() < count {
            reader.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    fn log() {
        let events = Recorder::default();
        tracing::info!(path = %"/a b", number = 7, "a line with \u{1b}[31m");
        events.record(Happening::LinkDown { port: "edge0".into() });
        events.record(Happening::ConfigRefused { error: "line 1: \"x\"".into() });
        tracing::debug!(flag = true, "no event");
    }

    #[test]
    fn text_has_a_sentence_and_no_fields_of_events() {
        let (reader, sink) = sink(LogFormat::Text);
        logging(sink, log);
        let lines = lines(reader, 4);
        let after_time: Vec<&str> =
            lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        let expected = [
            r" INFO a line with \u{1b}[31m path=/a b number=7",
            " WARN port \"edge0\": link down",
            " WARN configuration refused: line 1: \"x\"",
            "DEBUG no event flag=true",
        ];
        assert_eq!(after_time, expected);
    }

    #[test]
    fn json_has_an_object_on_each_line() {
        let (reader, sink) = sink(LogFormat::Json);
        let queue = sink.queue.clone();
        logging(sink, log);
        queue.offer(&encoder(LogFormat::Json)("the end\nof it"));
        let lines: Vec<Value> =
            lines(reader, 5).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |line: usize, name: &str| lines[line][name].clone();
        assert!(lines.iter().all(|line| line["time"].as_str().unwrap().ends_with('Z')));
        assert_eq!([of(0, "level"), of(0, "message")], ["info", "a line with \u{1b}[31m"]);
        assert_eq!((of(0, "path"), of(0, "number")), ("/a b".into(), 7.into()));
        assert_eq!([of(1, "event"), of(1, "port"), of(1, "level")], ["link_down", "edge0", "warn"]);
        assert_eq!(
            (of(1, "message"), of(1, "sequence")),
            ("port \"edge0\": link down".into(), 1.into())
        );
        assert_eq!([of(2, "event"), of(2, "error")], ["config_refused", "line 1: \"x\""]);
        assert_eq!(of(3, "flag"), true);
        assert_eq!([of(4, "level"), of(4, "message")], ["error", "the end\nof it"]);
        assert!(lines.iter().all(|line| line.get("fields").is_none()));
    }

    #[test]
    fn an_entry_of_the_journal_has_the_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        journal.set_read_timeout(Some(SOON)).unwrap();
        let queue = Queue::journal(&path, encoder(LogFormat::Journald)).unwrap();
        logging(Sink { format: LogFormat::Journald, queue }, log);
        let entries: Vec<String> = (0..4)
            .map(|_| {
                let mut entry = vec![0; 1 << 16];
                let length = journal.recv(&mut entry).unwrap();
                String::from_utf8(entry[..length].to_vec()).unwrap()
            })
            .collect();
        assert_eq!(
            entries[1],
            "MESSAGE=port \"edge0\": link down\nPRIORITY=4\nSYSLOG_IDENTIFIER=guideway\n\
             GUIDEWAY_EVENT=link_down\nGUIDEWAY_SEQUENCE=1\nGUIDEWAY_PORT=edge0\n"
        );
        assert!(entries[0].contains("GUIDEWAY_PATH=/a b\nGUIDEWAY_NUMBER=7\n"), "{}", entries[0]);
        assert!(entries[3].contains("PRIORITY=7\n"), "{}", entries[3]);
    }

    fn changed(before: &str) -> Happening {
        Happening::Changed {
            uid: 0,
            pid: 1,
            process: "guidewayctl".into(),
            request: "log_level".into(),
            before: before.to_owned(),
            after: "in force".into(),
            outcome: ChangeOutcome::Applied,
            reason: None,
            error: None,
            unrecorded: 0,
        }
    }

    #[test]
    fn the_level_changes_while_lines_are_logged() {
        let (reader, sink) = sink(LogFormat::Text);
        let queue = sink.queue.clone();
        let (filter, handle) = reload::Layer::new(passing(LevelFilter::WARN));
        let lines_of = Lines::new(Arc::new(ArcSwap::from_pointee(sink)), false);
        let subscriber = tracing_subscriber::registry().with(lines_of).with(filter);
        let events = Recorder::default();
        tracing::subscriber::with_default(subscriber, || {
            for level in
                [LevelFilter::WARN, LevelFilter::DEBUG, LevelFilter::OFF, LevelFilter::INFO]
            {
                handle.reload(passing(level)).unwrap();
                events.record(Happening::LinkUp { port: format!("at {level}") });
                events.record(changed(&level.to_string()));
                tracing::error!("error at {level}");
                tracing::info!("info at {level}");
                tracing::debug!("debug at {level}");
            }
        });
        assert!(queue.flush(SOON));
        let said: Vec<String> = lines(reader, 12)
            .iter()
            .map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "warn became in force",
            "error at warn",
            "port \"at debug\": link up",
            "debug became in force",
            "error at debug",
            "info at debug",
            "debug at debug",
            "off became in force",
            "port \"at info\": link up",
            "info became in force",
            "error at info",
            "info at info",
        ];
        let said: Vec<&str> =
            said.iter().map(|line| line.split("): ").last().unwrap_or_default()).collect();
        assert_eq!(said, expected);
    }
}
