//! Responses as JSON, their fields in the protocol's order: a document, or an object a line.

use guideway_api::Response;
use serde::Serialize;

/// How JSON is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Each element of a list is a line.
    pub(super) has_lines: bool,
}

impl Layout {
    pub(super) fn body(self, response: &Response) -> String {
        #[derive(Serialize)]
        struct Config<'a> {
            text: &'a str,
            generation: u64,
        }
        #[derive(Serialize)]
        struct Checked<'a> {
            warnings: &'a [String],
        }
        #[derive(Serialize)]
        struct Applied<'a> {
            generation: u64,
            warnings: &'a [String],
        }
        #[derive(Serialize)]
        struct Level {
            level: guideway_api::LogLevel,
        }
        #[derive(Serialize)]
        struct Hello {}
        match response {
            Response::Status(status) => self.object(status),
            Response::Services(services) => self.list(services),
            Response::Backends(backends) => self.list(backends),
            Response::Workers(workers) => self.list(workers),
            Response::Ports(ports) => self.list(ports),
            Response::PortStats(ports) => self.list(ports),
            Response::Stats(stats) => self.object(stats),
            Response::Config { text, generation } => {
                self.object(&Config { text, generation: *generation })
            }
            Response::Checked { warnings } => self.object(&Checked { warnings }),
            Response::Applied { generation, warnings } => {
                self.object(&Applied { generation: *generation, warnings })
            }
            Response::Flows(flows) if self.has_lines => self.list(&flows.flows),
            Response::Flows(flows) => self.object(flows),
            Response::Interfaces(interfaces) => self.list(interfaces),
            Response::Neighbors(neighbors) => self.list(neighbors),
            Response::Route(route) => self.object(route),
            Response::Punts(punts) => self.list(punts),
            // Each is a document of its own, because no end of the list may come.
            Response::Events(events) => events.events.iter().map(|it| self.object(it)).collect(),
            Response::LogLevel { level } => self.object(&Level { level: *level }),
            Response::Hello {} => self.object(&Hello {}),
            Response::Error(error) => self.object(error),
        }
    }

    fn list<T: Serialize>(self, elements: &[T]) -> String {
        match self.has_lines {
            true => elements.iter().map(|element| self.object(element)).collect(),
            false => self.object(elements),
        }
    }

    fn object<T: Serialize + ?Sized>(self, value: &T) -> String {
        let written = match self.has_lines {
            true => serde_json::to_string(value),
            false => serde_json::to_string_pretty(value),
        };
        written.expect("the protocol's types are JSON") + "\n"
    }
}
