//! Responses as JSON, their fields in the protocol's order.

use guideway_api::Response;
use serde::Serialize;

/// The body as a document.
pub(super) fn body(response: &Response) -> String {
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
        Response::Status(status) => pretty(status),
        Response::Services(services) => pretty(services),
        Response::Backends(backends) => pretty(backends),
        Response::Workers(workers) => pretty(workers),
        Response::Ports(ports) => pretty(ports),
        Response::PortStats(ports) => pretty(ports),
        Response::Stats(stats) => pretty(stats),
        Response::Config { text, generation } => pretty(&Config { text, generation: *generation }),
        Response::Checked { warnings } => pretty(&Checked { warnings }),
        Response::Applied { generation, warnings } => {
            pretty(&Applied { generation: *generation, warnings })
        }
        Response::Flows(flows) => pretty(flows),
        Response::Interfaces(interfaces) => pretty(interfaces),
        Response::Neighbors(neighbors) => pretty(neighbors),
        Response::Route(route) => pretty(route),
        Response::Punts(punts) => pretty(punts),
        Response::Events(events) => pretty(&events.events),
        Response::LogLevel { level } => pretty(&Level { level: *level }),
        Response::Hello {} => pretty(&Hello {}),
        Response::Error(error) => pretty(error),
    }
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("the protocol's types are JSON") + "\n"
}
