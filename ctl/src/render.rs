//! Responses as text: tables for people and awk, JSON for programs.
//!
//! In a table, counters are plain integers, and shares and loads are percentages. Text that may contain
//! spaces is in the last columns.

mod age;
pub(crate) mod announce;
mod backend;
mod check;
mod event;
mod forwarding;
mod json;
mod kernel;
pub(crate) mod outcome;
mod port;
mod sentence;
#[cfg(test)]
mod tests;
mod tint;

use guideway_api::{Flows, Response};

use crate::arguments::Output;
use crate::table::{Rates, Table};
use crate::terminal::{self, Screen};

/// How responses are shown.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) output: Output,
    pub(crate) screen: Screen,
    pub(crate) backends: BackendView,
    /// What a command adds that looks again and again.
    pub(crate) look: Option<Look>,
}

/// What a table has of backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BackendView {
    /// Their states and traffic.
    #[default]
    Traffic,
    /// How packets reach them.
    Routes,
    /// Everything that is set for it, if it is one.
    Details,
}

/// What a response is shown with if others of its kind follow.
#[derive(Debug)]
pub(crate) struct Look {
    /// When it came: RFC 3339.
    pub(crate) time: String,
    pub(crate) rates: Rates,
}

/// A response as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// For stdout.
    pub(crate) text: String,
    /// For stderr, a line each.
    pub(crate) notes: Vec<String>,
}

impl Rendered {
    /// The notes, a line each.
    pub(crate) fn notes(&self) -> String {
        self.notes.iter().map(|note| format!("{}\n", terminal::line(note))).collect()
    }
}

impl View {
    /// Renders a response. JSON has only the response's body.
    pub(crate) fn render(&mut self, response: &Response) -> Rendered {
        let has_lines = match self.output {
            Output::Table => return self.table(response),
            Output::Json => false,
            Output::JsonLines => true,
        };
        let time = self.look.as_ref().map(|look| look.time.as_str());
        let mut text = json::Layout { has_lines, time }.body(response);
        // Only a terminal needs control characters removed.
        if self.screen.is_terminal {
            text = terminal::json(&text);
        }
        // The lines are those of the flows only.
        let notes = match response {
            Response::Flows(flows) if has_lines => cut_short(flows),
            Response::Checks(checks) if has_lines => check::notes(checks),
            _ => vec![],
        };
        Rendered { text, notes }
    }

    fn table(&mut self, response: &Response) -> Rendered {
        let mut notes = vec![];
        let text = match response {
            Response::Status(status) => self.show(forwarding::status_table(status)),
            Response::Services(services) => self.show(forwarding::service_table(services)),
            Response::Backends(backends) => match (self.backends, &backends[..]) {
                (BackendView::Routes, _) => self.show(backend::route_table(backends)),
                (BackendView::Details, [backend]) => self.show(backend::detail_table(backend)),
                _ => self.show(backend::table(backends)),
            },
            Response::BackendsSet { generation, backends, .. } => {
                let noun = if backends.len() == 1 { "backend" } else { "backends" };
                let count = backends.len();
                let table = self.show(backend::table(backends));
                format!(
                    "{table}{count} {noun} set; generation {generation} is in force on every worker\n"
                )
            }
            Response::Workers(workers) => self.show(forwarding::worker_table(workers)),
            Response::Ports(ports) => self.show(port::port_table(ports)),
            Response::PortStats(ports) => self.show(port::port_stats_table(ports)),
            Response::Stats(stats) => self.show(port::stats_table(stats)),
            // Unchanged, so that the output can be applied again.
            Response::Config { text, .. } if self.screen.is_terminal => terminal::lines(text),
            Response::Config { text, .. } => text.clone(),
            Response::Checked { warnings } => {
                notes = noted(warnings);
                "valid\n".into()
            }
            Response::Applied { generation, warnings } => {
                notes = noted(warnings);
                format!("generation {generation} is in force on every worker\n")
            }
            Response::Flows(flows) => {
                notes = cut_short(flows);
                self.show(forwarding::flow_table(flows))
            }
            Response::Interfaces(interfaces) => self.show(kernel::interface_table(interfaces)),
            Response::Neighbors(neighbors) => self.show(kernel::neighbor_table(neighbors)),
            Response::Route(route) => self.show(kernel::route_table(route)),
            Response::Punts(punts) => self.show(kernel::punt_table(punts)),
            Response::PinsSet { generation, pins } => {
                format!("generation {generation} is in force on every worker, with {pins} pins\n")
            }
            Response::Pins(pins) => self.show(check::pin_table(pins)),
            Response::Events(events) => {
                let lines = events.events.iter();
                lines.map(|event| event::line(event, self.screen.has_colour)).collect()
            }
            Response::LogLevel { level } => format!("{}\n", level.name()),
            Response::Vips(vips) => self.show(announce::vip_table(vips)),
            Response::VipsSet { vips, changed, .. } => {
                self.show(announce::vip_table(vips)) + &announce::changed(*changed, vips.len())
            }
            Response::Node(node) => self.show(announce::node_table(node)),
            Response::NodeSet { node, changed, .. } => {
                let changed = if *changed { "changed\n" } else { "no change\n" };
                self.show(announce::node_table(node)) + changed
            }
            Response::BgpPeers(peers) => self.show(announce::bgp_table(peers)),
            Response::BgpPeer(details) => self.show(announce::bgp_detail_table(details)),
            Response::Checks(checks) => {
                notes = check::notes(checks);
                self.show(check::table(checks))
            }
            Response::Check(details) => self.show(check::detail_table(details)),
            Response::CheckRan(run) => self.show(check::run_table(run)),
            Response::Hello {} => String::new(),
            Response::Error(error) => {
                notes = error.details.clone();
                terminal::line(&error.message)
            }
        };
        Rendered { text, notes }
    }

    fn show<const COLUMNS: usize>(&mut self, table: Table<COLUMNS>) -> String {
        let rates = self.look.as_mut().map(|look| &mut look.rates);
        table.text(self.screen.has_colour, rates)
    }
}

fn noted(warnings: &[String]) -> Vec<String> {
    warnings.iter().map(|warning| format!("warning: {warning}")).collect()
}

fn cut_short(flows: &Flows) -> Vec<String> {
    if !flows.truncated {
        return vec![];
    }
    vec![format!(
        "note: there are more than these {}; narrow the listing or raise --limit",
        flows.flows.len()
    )]
}
