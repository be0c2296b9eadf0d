//! The time to apply a whole configuration: to read it, and to publish the tables for it.
//!
//! This is the work between an apply's request and its response, without the socket and without the workers,
//! which use new tables from their next burst on.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use guideway_config as config;
use guideway_management::manager::Manager;
use guideway_management::progress::Progress;
use guideway_management::state::PortFacts;
use serde_json::json;

use crate::part::{Effort, Part, Times, grouped, milliseconds, percent, repeat, timed};

/// Pools, backends of each, slots of each table: 20,000 backends in all, and 100 slots for each.
pub(crate) const SHAPES: [(u32, u32, u32); 3] =
    [(20, 1000, 100_003), (200, 100, 65_537), (1, 20_000, 2_000_003)];

/// What is applied, after each other, and milliseconds at the most.
const STEPS: [(&str, f64); 4] = [
    ("the first time", 60.0),
    ("once more", 20.0),
    ("one backend's weight doubled", 20.0),
    ("one backend removed", 20.0),
];

/// Without workers none is behind.
pub(crate) const PROGRESS: Progress = Progress { generation: u64::MAX, swept: u64::MAX };

pub(crate) fn measure(part: &mut Part, effort: Effort) {
    let mut rows = Vec::new();
    for (pools, each, slots) in SHAPES {
        eprintln!("applying {pools} pools of {each} backends:");
        let of_weight = |weight| text((pools, each, slots), weight, Link::Gateway);
        let (first, heavier) = (of_weight(1), of_weight(2));
        let mut fewer = heavier.clone();
        // The last backend of the first pool.
        let end = fewer.find("\n]\n").expect("the end of a pool");
        let begin = fewer[..end].rfind('\n').expect("a backend");
        fewer.replace_range(begin..end, "");
        let mut manager = None;
        // For each step: reading, publishing, and both.
        let times = repeat::<{ 3 * STEPS.len() }>(effort, |times| {
            let mut steps = times.chunks_mut(3);
            for (n, text) in [&first, &first, &heavier, &fewer].into_iter().enumerate() {
                let (reading, parsed) =
                    timed(|| config::parse(text).expect("a valid configuration"));
                let configuration = parsed.configuration;
                if n == 0 {
                    // The tables of the round before are freed untimed.
                    manager = None;
                }
                let text = text.clone();
                let publishing = match &mut manager {
                    None => {
                        let (publishing, made) =
                            timed(|| Manager::new(configuration, text, ports()));
                        manager = Some(made.expect("what fits"));
                        publishing
                    }
                    Some(manager) => {
                        timed(|| {
                            manager.configure(configuration, text, PROGRESS).expect("what fits")
                        })
                        .0
                    }
                };
                record(steps.next().expect("as many steps"), reading, publishing);
            }
        });
        for ((step, most), times) in STEPS.iter().zip(times.chunks(3)) {
            let [reading, publishing, both] = times else { unreachable!("chunks of three") };
            rows.push(vec![
                json!(format!("{} of {}", grouped(pools), grouped(each))),
                json!(grouped(slots)),
                json!(step),
                json!(milliseconds(reading.median())),
                json!(milliseconds(publishing.median())),
                json!(milliseconds(both.median())),
                json!(percent(both.spread())),
            ]);
            let claim = format!("{} of {} backends applied: {step}", grouped(pools), grouped(each));
            part.at_most(&claim, *most, "ms", both.median(), both.spread());
        }
    }
    let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
    part.table(
        ("apply", "Applying a configuration of 20,000 backends"),
        &["pools", "slots of each", "what is applied", "reading", "publishing", "both", "spread"],
        rows,
        &format!("Medians, on {cpus} CPUs; the spread is that of both together."),
    );
}

fn record(times: &mut [Times], reading: Duration, publishing: Duration) {
    for (times, took) in times.iter_mut().zip([reading, publishing, reading + publishing]) {
        times.push(took);
    }
}

/// The only port.
pub(crate) fn ports() -> Vec<PortFacts> {
    vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: false }]
}

/// How the backends of a configuration are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By a gateway, whose MAC address is in the configuration.
    Gateway,
    /// By a gateway, whose MAC address is to be learnt.
    Unresolved,
    /// Directly. Their MAC addresses are to be learnt.
    Direct,
}

/// The gateway of [`text`].
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// The address of a backend, counted through all pools.
pub(crate) fn address(backend: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + backend)
}

/// A configuration with a service for each pool. The first backend has this weight, the others weight 1.
pub(crate) fn text((pools, each, slots): (u32, u32, u32), weight: u32, link: Link) -> String {
    let network = if link == Link::Direct { "\"10.0.0.0/8\", " } else { "" };
    let mut text = format!(
        r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]

[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = {slots}

[dpdk]
workers = [1]

[[port]]
name = "edge0"
device = "0000:3b:00.0"
addresses = [{network}"192.0.2.1/24"]
gateways = ["{GATEWAY}"]
"#
    );
    if link == Link::Gateway {
        let mac = "02:00:00:00:00:fe";
        write!(text, "\n[[neighbor]]\naddress = \"{GATEWAY}\"\nmac = \"{mac}\"\n")
            .expect("a string");
    }
    for pool in 0..pools {
        let (high, low) = (pool / 250, pool % 250 + 1);
        writeln!(text, "\n[[pool]]\nname = \"pool{pool}\"\nbackends = [").expect("a string");
        for backend in 0..each {
            let address = address(pool * each + backend);
            let weight = if pool == 0 && backend == 0 { weight } else { 1 };
            let name = format!("server{backend}");
            writeln!(
                text,
                "    {{ name = \"{name}\", address = \"{address}\", weight = {weight} }},"
            )
            .expect("a string");
        }
        write!(
            text,
            "]\n\n[[service]]\nname = \"service{pool}\"\naddress = \"203.0.{high}.{low}\"\n\
             protocol = \"tcp\"\nport = 80\npool = \"pool{pool}\"\n"
        )
        .expect("a string");
    }
    text
}
