//! The log: text or JSON lines on stderr, or entries of systemd's journal.
//!
//! It begins as text, at the level in `GUIDEWAY_LOG` or else `info`. [`Log::configure`] takes over what the
//! configuration says. The level can change at any time. The lines of the audit trail pass at every level.
//!
//! Everything passes through a [`Queue`]. A reader that stops, a full disk or a journal that stands still loses
//! lines and never stops the appliance. The message of a panic takes the same route.
//!
//! | file | what |
//! |---|---|
//! | `format.rs` | the three forms of a line |
//! | `fields.rs` | the fields of a line |
//! | `level.rs` | the level of `GUIDEWAY_LOG` |

mod fields;
mod format;
mod level;

use std::backtrace::Backtrace;
use std::io::{self, IsTerminal};
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Level;
use arc_swap::ArcSwap;
use guideway_config::{self as config, LogFormat};
use guideway_output::{Queue, Standard, journal};
use parking_lot::Mutex;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use format::{Lines, Sink, encoder};

/// How long the program waits at its end for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The log of the program.
pub struct Log {
    sink: Arc<ArcSwap<Sink>>,
    stderr: Queue,
    level: Level,
    /// `GUIDEWAY_LOG` has set the level.
    is_level_fixed: bool,
}

/// Starts the log.
pub fn start() -> io::Result<Log> {
    let queue = Queue::start(Standard::Error)?;
    let stderr = queue.clone();
    let sink = Arc::new(ArcSwap::from_pointee(Sink { format: LogFormat::Text, queue }));
    let value = std::env::var_os(level::VARIABLE);
    let (filter, warning) = level::of(value.as_deref(), STATIC_MAX_LEVEL);
    let (filter_layer, handle) =
        reload::Layer::new(level::passing(filter.unwrap_or(LevelFilter::INFO)));
    tracing_subscriber::registry()
        .with(Lines::new(Arc::clone(&sink), io::stderr().is_terminal()))
        .with(filter_layer)
        .init();
    let now = Mutex::new(level::to_api(filter.unwrap_or(LevelFilter::INFO)));
    let level = Level::new(move |level| {
        let mut now = now.lock();
        if let Some(level) = level {
            // It fails only if there is no subscriber any more.
            let _ = handle.reload(level::passing(level::to_filter(level)));
            *now = level;
        }
        *now
    });
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    let panicking = Arc::clone(&sink);
    panic::set_hook(Box::new(move |panic| {
        let sink = panicking.load();
        sink.say(&format!("{panic}\nbacktrace: {}", Backtrace::capture()));
        // The panic may end the program.
        sink.queue.flush(FLUSH_TIMEOUT);
    }));
    Ok(Log { sink, stderr, level, is_level_fixed: filter.is_some() })
}

impl Log {
    /// Takes over the level and the form that the configuration says.
    pub fn configure(&self, log: &config::Log) {
        if !self.is_level_fixed {
            self.level.set(level::of_configuration(log.level));
        }
        if log.format == LogFormat::Text {
            return;
        }
        let queue = match log.format {
            LogFormat::Journald => Queue::journal(Path::new(journal::SOCKET), encoder(log.format)),
            LogFormat::Text | LogFormat::Json => Ok(self.sink.load().queue.clone()),
        };
        match queue {
            Ok(queue) => {
                queue.set_encode(encoder(log.format));
                self.sink.store(Arc::new(Sink { format: log.format, queue }));
            }
            Err(error) => warn!("log.format: no journal, the log stays text: {error}"),
        }
    }

    /// The level, for the daemon.
    pub fn level(&self) -> Level {
        self.level.clone()
    }

    /// Says why the program ends, whatever the level: in the log, and on stderr, where whoever started the program by
    /// hand looks.
    pub fn say(&self, text: &str) {
        let sink = self.sink.load();
        sink.say(text);
        if sink.format == LogFormat::Journald {
            self.stderr.offer(format!("{text}\n").as_bytes());
        }
    }

    /// Waits for the last lines to be written, but not for long.
    pub fn flush(&self) {
        self.sink.load().queue.flush(FLUSH_TIMEOUT);
        self.stderr.flush(FLUSH_TIMEOUT);
    }
}
