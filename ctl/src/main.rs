//! `guidewayctl`: the command line of Guideway. One command is one request over the control socket.
//!
//! The program links neither the forwarder nor DPDK. Results go to stdout, and errors, warnings and notes to
//! stderr. The exit codes are those of [`Error::exit_code`].
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod arguments;
mod error;
mod explain;
mod monitor;
mod prefix;
mod render;
mod request;
mod table;
mod terminal;
mod watch;

use std::env;
use std::process::ExitCode;

use clap::CommandFactory;
use guideway_api::{Request, Response};
// Checks before `main` that the CPU has what this build needs.
use guideway_baseline as _;
use guideway_output::{print, report};

use arguments::{Arguments, BackendCommand, Command, ConfigCommand};
use error::Error;
use prefix::Expanded;
use render::{BackendView, View, announce, outcome};
use terminal::Screen;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<(), Error> {
    let Expanded { line, shortened } =
        prefix::expand(env::args_os().collect(), &Arguments::command())?;
    let words: Vec<_> = line.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let words = format!("guidewayctl {}", words.join(" "));
    let arguments: Arguments = guideway_output::arguments_from(line);
    let screen = Screen::of_stdout();
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "guidewayctl", &mut script);
        return print(script).map_err(Error::Output);
    }
    if let Command::Config(ConfigCommand::Explain { key }) = &arguments.command {
        let text = explain::explain(key.as_deref(), arguments.output(), screen)?;
        return print(text).map_err(Error::Output);
    }
    if let (true, Some(command)) = (arguments.command.is_change(), shortened) {
        return Err(Error::Shortened { command });
    }
    let request = request::request(&arguments.command)?;
    let backends = match &arguments.command {
        Command::Backend(BackendCommand::List { routes: true, .. }) => BackendView::Routes,
        Command::Backend(BackendCommand::State { .. }) => BackendView::Details,
        _ => BackendView::Traffic,
    };
    let mut view = View { output: arguments.output(), screen, backends, look: None };
    if let Request::Monitor { .. } = request {
        return monitor::monitor(&arguments, &request, view);
    }
    if let Some(every) = arguments.command.watch() {
        return watch::watch(&arguments, &request, every, &words, view);
    }
    let mut response = arguments.connect(&request)?.send(&request)?;
    request::narrow(&mut response, &arguments.command)?;
    let mut rendered = view.render(&response);
    if let (Response::BackendsSet { backends, .. }, Command::Backend(command)) =
        (&response, &arguments.command)
        && let Some(setting) = command.setting()?
    {
        rendered.notes.extend(outcome::notes(&setting, backends));
    }
    if let Response::BackendsSet { stored: false, .. } = response {
        rendered.notes.push(outcome::UNSTORED.to_owned());
    }
    if let Response::VipsSet { stored: false, .. } | Response::NodeSet { stored: false, .. } =
        response
    {
        rendered.notes.push(announce::UNSTORED.to_owned());
    }
    report(rendered.notes());
    print(rendered.text).map_err(Error::Output)?;
    match response {
        Response::CheckRan(run) if !run.result.code.is_success() => {
            Err(Error::ProbeFailed { result: run.result.to_string() })
        }
        _ => Ok(()),
    }
}
