//! The thread that parses the configurations of clients.
//!
//! A parse takes up to a hundred times the memory of its text, and the allocator keeps a part of that memory
//! for each thread that ever parsed. One thread parses for all connections, so that it is kept once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use guideway_config as config;
use guideway_config::{Mistakes, Parsed};

type Outcome = Result<Parsed, Mistakes>;

/// Parses one text after the other.
#[derive(Default)]
pub(super) struct Parser(Option<(Sender<String>, Receiver<Outcome>)>);

impl Parser {
    /// Parses a text as [`config::parse`] does.
    pub(super) fn parse(&mut self, text: &str) -> Outcome {
        // Without a thread, or after its panic, the caller parses. The panic then appears in the caller.
        self.ask(text).unwrap_or_else(|| config::parse(text))
    }

    fn ask(&mut self, text: &str) -> Option<Outcome> {
        if self.0.is_none() {
            self.0 = start().ok();
        }
        let (texts, outcomes) = self.0.as_ref()?;
        let outcome = texts.send(text.to_owned()).ok().and_then(|()| outcomes.recv().ok());
        if outcome.is_none() {
            self.0 = None;
        }
        outcome
    }
}

/// Starts the thread, which ends with the [`Parser`].
fn start() -> io::Result<(Sender<String>, Receiver<Outcome>)> {
    let (texts, received) = channel::<String>();
    let (sender, outcomes) = channel();
    thread::Builder::new().name("parser".into()).spawn(move || {
        for text in received {
            if sender.send(config::parse(&text)).is_err() {
                break;
            }
        }
    })?;
    Ok((texts, outcomes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_is_replaced() {
        let mut parser = Parser::default();
        let expected = config::parse("").unwrap_err();
        assert_eq!(parser.ask(""), Some(Err(expected.clone())));
        let (dead, _) = channel();
        let (_, silent) = channel();
        parser.0 = Some((dead, silent));
        assert_eq!(parser.parse(""), Err(expected.clone()));
        assert_eq!(parser.ask(""), Some(Err(expected)));
    }
}
