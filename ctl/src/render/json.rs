//! Responses as JSON, their fields in the protocol's order: a document, or an object a line.

use guideway_api::{Backend, Response};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How JSON is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    /// Each element of a list is a line.
    pub(super) has_lines: bool,
    /// When the response came, if others follow.
    pub(super) time: Option<&'a str>,
}

impl Layout<'_> {
    pub(super) fn body(self, response: &Response) -> String {
        #[derive(serde::Serialize)]
        struct BackendsSet<'a> {
            generation: u64,
            stored: bool,
            backends: &'a [Backend],
        }
        #[derive(serde::Serialize)]
        struct Config<'a> {
            text: &'a str,
            generation: u64,
        }
        #[derive(serde::Serialize)]
        struct Checked<'a> {
            warnings: &'a [String],
        }
        #[derive(serde::Serialize)]
        struct Applied<'a> {
            generation: u64,
            warnings: &'a [String],
        }
        #[derive(serde::Serialize)]
        struct VipsSet<'a> {
            changed: usize,
            stored: bool,
            vips: &'a [guideway_api::Vip],
        }
        #[derive(serde::Serialize)]
        struct NodeSet<'a> {
            changed: bool,
            stored: bool,
            node: &'a guideway_api::Node,
        }
        #[derive(serde::Serialize)]
        struct PinsSet {
            generation: u64,
            pins: usize,
        }
        #[derive(serde::Serialize)]
        struct Level {
            level: guideway_api::LogLevel,
        }
        #[derive(serde::Serialize)]
        struct Hello {}
        match response {
            Response::Status(status) => self.object(status),
            Response::Services(services) => self.list("services", services),
            Response::Backends(backends) => self.list("backends", backends),
            Response::BackendsSet { generation, backends, stored } => {
                self.object(&BackendsSet { generation: *generation, stored: *stored, backends })
            }
            Response::Workers(workers) => self.list("workers", workers),
            Response::Ports(ports) => self.list("ports", ports),
            Response::PortStats(ports) => self.list("port_stats", ports),
            Response::Stats(stats) => self.object(stats),
            Response::Config { text, generation } => {
                self.object(&Config { text, generation: *generation })
            }
            Response::Checked { warnings } => self.object(&Checked { warnings }),
            Response::Applied { generation, warnings } => {
                self.object(&Applied { generation: *generation, warnings })
            }
            Response::Flows(flows) if self.has_lines => self.list("flows", &flows.flows),
            Response::Flows(flows) => self.object(flows),
            Response::Interfaces(interfaces) => self.list("interfaces", interfaces),
            Response::Neighbors(neighbors) => self.list("neighbors", neighbors),
            Response::Route(route) => self.object(route),
            Response::Punts(punts) => self.list("punts", punts),
            Response::PinsSet { generation, pins } => {
                self.object(&PinsSet { generation: *generation, pins: *pins })
            }
            Response::Pins(pins) => self.list("pins", pins),
            // Each is a document of its own, because no end of the list may come.
            Response::Events(events) => events.events.iter().map(|it| self.object(it)).collect(),
            Response::LogLevel { level } => self.object(&Level { level: *level }),
            Response::Vips(vips) => self.list("vips", vips),
            Response::VipsSet { vips, changed, stored } => {
                self.object(&VipsSet { changed: *changed, stored: *stored, vips })
            }
            Response::Node(node) => self.object(node),
            Response::NodeSet { node, changed, stored } => {
                self.object(&NodeSet { changed: *changed, stored: *stored, node })
            }
            Response::BgpPeers(peers) => self.list("peers", peers),
            Response::BgpPeer(peer) => self.object(peer),
            // The rows without what is said about all of them.
            Response::Checks(checks) if self.has_lines => self.list("rows", &checks.rows),
            Response::Checks(checks) => self.object(checks),
            Response::Check(details) => self.object(details),
            Response::CheckRan(run) => self.object(run),
            Response::Hello {} => self.object(&Hello {}),
            Response::Error(error) => self.object(error),
        }
    }

    fn object<T: Serialize>(self, body: &T) -> String {
        #[derive(serde::Serialize)]
        struct Timed<'a, T> {
            time: &'a str,
            #[serde(flatten)]
            body: &'a T,
        }
        match self.time {
            Some(time) => self.written(&Timed { time, body }),
            None => self.written(body),
        }
    }

    fn list<T: Serialize>(self, name: &'static str, elements: &[T]) -> String {
        match self.time {
            _ if self.has_lines => elements.iter().map(|element| self.object(element)).collect(),
            Some(_) => self.object(&Named { name, elements }),
            None => self.written(elements),
        }
    }

    fn written<T: Serialize + ?Sized>(self, value: &T) -> String {
        let written = match self.has_lines {
            true => serde_json::to_string(value),
            false => serde_json::to_string_pretty(value),
        };
        written.expect("the protocol's types are JSON") + "\n"
    }
}

/// An object of which a list is the only field.
struct Named<'a, T> {
    name: &'static str,
    elements: &'a [T],
}

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.name, self.elements)?;
        map.end()
    }
}
