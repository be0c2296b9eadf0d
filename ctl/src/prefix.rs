//! Shortened names of commands: `guidewayctl ba l` is `guidewayctl backend list`.
//!
//! A word may be any prefix that only one command has. Only commands that read may be shortened: what a prefix
//! is short for changes as commands are added, and a command that changes something must not change its
//! meaning. Clap's own inference would do neither: it names no candidates, and does not say what was typed.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use crate::error::Error;

/// A command line whose commands are written out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) line: Vec<OsString>,
    /// The commands in it, if one of them was shortened.
    pub(crate) shortened: Option<String>,
}

/// Writes out the shortened names of commands in a command line, which begins with the program's name. Leaves
/// to clap what is no command at all.
pub(crate) fn expand(mut line: Vec<OsString>, program: &Command) -> Result<Expanded, Error> {
    let mut program = program.clone();
    program.build();
    let mut command = &program;
    let mut names = Vec::new();
    let mut is_shortened = false;
    let mut index = 1;
    while index < line.len() && command.has_subcommands() {
        let word = line[index].to_str();
        index += 1;
        match word {
            // After this no word is a command.
            Some("--") => break,
            Some(option) if option.len() > 1 && option.starts_with('-') => {
                index += usize::from(takes_next(option, command));
            }
            Some(word) => {
                let Some(found) = find(word, command)? else { break };
                is_shortened |= found.get_name() != word;
                line[index - 1] = OsStr::new(found.get_name()).to_owned();
                names.push(found.get_name().to_owned());
                // The words after `help` are commands, too.
                if found.get_name() != "help" {
                    command = found;
                }
            }
            None => break,
        }
    }
    Ok(Expanded { line, shortened: is_shortened.then(|| names.join(" ")) })
}

/// The command of this name, or the only one whose name begins so.
fn find<'a>(word: &str, command: &'a Command) -> Result<Option<&'a Command>, Error> {
    if let Some(whole) = command.find_subcommand(word) {
        return Ok(Some(whole));
    }
    let begins = |command: &&Command| !word.is_empty() && command.get_name().starts_with(word);
    let found: Vec<&Command> = command.get_subcommands().filter(begins).collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Error::Ambiguous {
            typed: word.to_owned(),
            candidates: found.iter().map(|command| command.get_name().to_owned()).collect(),
        }),
    }
}

/// Whether the option's value is the next word.
fn takes_next(option: &str, command: &Command) -> bool {
    let has_value = |arg: &Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
    if let Some(name) = option.strip_prefix("--") {
        // With `=` the value is in this word, and no option has such a name.
        return command.get_arguments().any(|arg| arg.get_long() == Some(name) && has_value(arg));
    }
    let of = |letter| command.get_arguments().find(|arg| arg.get_short() == Some(letter));
    let mut letters = option.chars().skip(1);
    // Of several options in one word, the first that takes a value takes the rest of the word, if there is one.
    letters.find(|&letter| of(letter).is_none_or(has_value)).and_then(of).is_some()
        && letters.next().is_none()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::arguments::Arguments;

    fn words(line: &str) -> Vec<OsString> {
        ["guidewayctl"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect()
    }

    fn expanded(line: &str) -> Result<Expanded, String> {
        expand(words(line), &Arguments::command()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn is(line: &str, expected: &str, shortened: Option<&str>) {
        let line_expanded = words(expected);
        let shortened = shortened.map(String::from);
        assert_eq!(expanded(line), Ok(Expanded { line: line_expanded, shortened }), "{line}");
    }

    #[test]
    fn prefixes_are_written_out() {
        is("ba l", "backend list", Some("backend list"));
        is("ba st web/b1", "backend state web/b1", Some("backend state"));
        is("backend list", "backend list", None);
        is("stats", "stats", None);
        is("ne l", "neighbor list", Some("neighbor list"));
        is("po s --port p", "port stats --port p", Some("port stats"));
        is("v l", "vip list", Some("vip list"));
        is("ch s http/b1", "check show http/b1", Some("check show"));
        is("bg s tor1", "bgp show tor1", Some("bgp show"));
        is("con e po", "config explain po", Some("config explain"));
        is("config apply stats", "config apply stats", None);
        is("he ba l", "help backend list", Some("help backend list"));
        is("", "", None);
        is("nonsense l", "nonsense l", None);
        is("ba nonsense", "backend nonsense", Some("backend"));
    }

    #[test]
    fn values_of_options_are_no_commands() {
        is("-o json ba l", "-o json backend list", Some("backend list"));
        is("-ojson ba l", "-ojson backend list", Some("backend list"));
        is("-j ba l", "-j backend list", Some("backend list"));
        is("-jo json ba l", "-jo json backend list", Some("backend list"));
        is("--socket b l", "--socket b log", Some("log"));
        is("--socket=b l", "--socket=b log", Some("log"));
        is(
            "--timeout 3 ba --socket s l",
            "--timeout 3 backend --socket s list",
            Some("backend list"),
        );
        is("ba --unknown l", "backend --unknown list", Some("backend list"));
        is("-- b l", "-- b l", None);
        is("- b", "- b", None);
    }

    #[test]
    fn ambiguous_prefixes_name_their_candidates() {
        for (line, message) in [
            ("st", "st is short for several commands: status, stats"),
            ("ba d web", "d is short for several commands: drain, disable"),
            ("b l", "b is short for several commands: backend, bgp"),
            ("n s", "n is short for several commands: neighbor, node"),
            ("p l", "p is short for several commands: port, punt, pin"),
            ("config c", "config c"),
            ("c l", "c is short for several commands: check, config, completions"),
            ("co", "co is short for several commands: config, completions"),
        ] {
            match expanded(line) {
                Err(error) => assert_eq!(error, message),
                Ok(Expanded { shortened, .. }) => {
                    assert_eq!(shortened.as_deref(), Some("config check"), "{line}");
                }
            }
        }
    }

    /// The word of a command that needs an address.
    const ANY: &str = "203.0.113.10";
    /// That of one that needs a check and a backend.
    const PLACE: &str = "http/b1";

    /// Every command that is complete, as its path and the words that it needs.
    fn commands(command: &Command, path: &str) -> Vec<String> {
        if !command.has_subcommands() {
            let needed = command.get_arguments().filter(|arg| arg.is_required_set());
            let line = needed.fold(path.to_owned(), |line, arg| {
                let value = arg.get_possible_values().first().map(|it| it.get_name().to_owned());
                let name = arg.get_value_names().and_then(|names| names.first());
                let word = match name.map(|name| name.as_str()) {
                    Some("ADDRESS") => ANY,
                    Some("CHECK/BACKEND") => PLACE,
                    _ => "word",
                };
                format!("{line} {}", value.unwrap_or_else(|| word.into()))
            });
            // Of a group that is required, the first is a word.
            let groups = command.get_groups().filter(|group| group.is_required_set()).count();
            return vec![line + &" word".repeat(groups)];
        }
        let below = command.get_subcommands().filter(|command| command.get_name() != "help");
        below.flat_map(|it| commands(it, format!("{path} {}", it.get_name()).trim())).collect()
    }

    #[test]
    fn every_prefix_of_every_command() {
        let mut program = Arguments::command();
        program.build();
        let lines = commands(&program, "");
        assert!(lines.len() > 15 && lines.contains(&"config apply word".to_owned()), "{lines:?}");
        for line in lines {
            let command = Arguments::parse_from(words(&line)).command;
            let names: Vec<&str> = line.split(' ').collect();
            let depth = names
                .iter()
                .take_while(|name| !["word", "bash", ANY, PLACE].contains(name))
                .count();
            for position in 0..depth {
                let parent = names[..position].iter().fold(&program, |parent, name| {
                    parent.find_subcommand(name).expect("it was walked")
                });
                for end in 1..names[position].len() {
                    let prefix = &names[position][..end];
                    let others: Vec<&str> = parent
                        .get_subcommands()
                        .map(Command::get_name)
                        .filter(|name| name.starts_with(prefix))
                        .collect();
                    let mut typed = names.clone();
                    typed[position] = prefix;
                    let typed = typed.join(" ");
                    match expanded(&typed) {
                        Ok(done) if others.contains(&prefix) => {
                            assert_eq!(done.line, words(&typed))
                        }
                        Ok(Expanded { line: done, shortened }) => {
                            assert_eq!(others.len(), 1, "{typed}");
                            assert_eq!(done, words(&line), "{typed}");
                            assert_eq!(shortened, Some(names[..depth].join(" ")), "{typed}");
                            let again = Arguments::parse_from(done).command;
                            assert_eq!(format!("{again:?}"), format!("{command:?}"));
                        }
                        Err(error) => {
                            assert!(others.len() > 1, "{typed}: {error}");
                            assert!(error.ends_with(&others.join(", ")), "{typed}: {error}");
                        }
                    }
                }
            }
        }
    }
}
