//! `guideway replay`

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use guideway::appliance::{Appliance, Device, Mode, Stopped, capture};
use guideway_api::{Request, Response, Stats};
use guideway_config::Configuration;
use tempfile::TempDir;
use tracing::warn;

use super::load::load;

/// Where time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Clock {
    /// The time stamps of the capture
    Capture,
    /// The time of day
    Wall,
}

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration file; its devices and CPUs are not used
    #[arg(long, value_name = "F")]
    config: PathBuf,
    /// A capture that comes in by a port
    #[arg(long, value_name = "PORT=FILE", required = true)]
    rx: Vec<String>,
    /// Where the frames go that leave by a port; without it they are not kept
    #[arg(long, value_name = "PORT=FILE")]
    tx: Vec<String>,
    /// Where the frames of a port go that a live run would give to the kernel; without it they are only counted
    #[arg(long, value_name = "PORT=FILE")]
    punt: Vec<String>,
    /// Workers; with more than one, order is kept within a flow
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// Where time comes from
    #[arg(long, value_enum, default_value_t = Clock::Capture)]
    clock: Clock,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some((text, mut parsed)) = load(&arguments.config)? else {
        return Ok(ExitCode::FAILURE);
    };
    let configuration = &mut parsed.configuration;
    configuration.dpdk.hugepages = false;
    let rx = by_port(configuration, "--rx", &arguments.rx)?;
    let tx = by_port(configuration, "--tx", &arguments.tx)?;
    let punt = by_port(configuration, "--punt", &arguments.punt)?;
    with_interface(configuration, &punt)?;
    rx.values().try_for_each(|path| check(path))?;
    let ports = configuration.ports.len();
    let captures = Captures::make(ports, &rx, &tx)?;
    let outputs = [("--tx", &tx), ("--punt", &punt)].into_iter().flat_map(|(option, files)| {
        (0..ports).filter_map(move |index| Some((option, files.get(&index)?)))
    });
    make_outputs(&rx, outputs)?;

    let capture_clock = arguments.clock == Clock::Capture;
    let devices = captures.devices.clone();
    let punted = (0..ports).map(|index| punt.get(&index).cloned()).collect();
    let mode = Mode::Replay { workers: arguments.workers, devices, capture_clock, punted };
    let appliance =
        Appliance::start(arguments.config.clone(), text, parsed, mode, Default::default())?;
    appliance.wait_until_finished();
    warn_of_damage(&appliance, &rx);
    let stopped = appliance.stop();
    ensure!(stopped.leaked == 0, "{} packet buffers did not come back", stopped.leaked);

    stopped.punted.as_ref().map_err(|error| anyhow!("--punt: cannot write the frames: {error}"))?;
    captures.keep(&tx, &stopped, capture_clock)?;
    print(&stopped.stats, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a file that is no capture, and warns about one whose packets are not whole.
fn check(path: &Path) -> Result<()> {
    let name = || path.display().to_string();
    capture::check(path).with_context(name)?;
    let truncated = capture::count_truncated(path).with_context(name)?;
    if truncated > 0 {
        warn!(
            "{}: a snap length truncated {truncated} of the packets; they are replayed as they are, and most \
             end as ipv4_total_length or ipv6_payload_length; capture whole packets (tcpdump -s 0)",
            path.display()
        );
    }
    Ok(())
}

/// The captures in place of devices. Commas and equals signs have a meaning in DPDK's device
/// arguments, so the files get names without them, in a directory of their own.
struct Captures {
    directory: TempDir,
    /// The device of each port.
    devices: Vec<Device>,
    /// Where each port's device writes what it sends.
    written: Vec<Option<PathBuf>>,
}

impl Captures {
    /// The captures of this many ports. `rx` and `tx` are the files of the command line.
    fn make(
        ports: usize,
        rx: &HashMap<usize, PathBuf>,
        tx: &HashMap<usize, PathBuf>,
    ) -> Result<Captures> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let mut devices = Vec::new();
        let mut written = Vec::new();
        for index in 0..ports {
            let named = |kind: &str| directory.path().join(format!("{kind}{index}.pcap"));
            let input = rx.get(&index).map(|path| link(path, &named("rx"))).transpose()?;
            // DPDK's pcap device must have an input or an output.
            let wanted = input.is_none() || tx.contains_key(&index);
            let output = wanted.then(|| named("tx"));
            devices.push(Device::capture(index, input.as_deref(), output.as_deref()));
            written.push(output);
        }
        Ok(Captures { directory, devices, written })
    }

    /// Copies what the devices have written to the files of the command line.
    fn keep(
        &self,
        tx: &HashMap<usize, PathBuf>,
        stopped: &Stopped,
        capture_clock: bool,
    ) -> Result<()> {
        for (index, from) in self.written.iter().enumerate() {
            let (Some(from), Some(to)) = (from, tx.get(&index)) else { continue };
            let sent = stopped.transmitted[index];
            let whole = capture::count(from).with_context(|| from.display().to_string())?;
            ensure!(
                whole == sent,
                "{}: only {whole} of the {sent} frames that left could be kept in {}; make room there or \
                 set TMPDIR to a directory that has room, and replay again",
                to.display(),
                self.directory.path().display()
            );
            let result = if capture_clock {
                capture::copy_with_times(from, to, &stopped.sent[index])
            } else {
                fs::copy(from, to).map(drop).map_err(Into::into)
            };
            result.with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(())
    }
}

/// Creates the outputs now, rather than after a long replay. Refuses an output that is another file
/// of the command line, under any name, because writing it would destroy that file.
fn make_outputs<'a>(
    rx: &HashMap<usize, PathBuf>,
    outputs: impl Iterator<Item = (&'a str, &'a PathBuf)>,
) -> Result<()> {
    let identity = |file: &Metadata| (file.dev(), file.ino());
    let mut known = Vec::new();
    for path in rx.values() {
        let file = fs::metadata(path).with_context(|| path.display().to_string())?;
        known.push(identity(&file));
    }
    for (option, path) in outputs {
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.and_then(|file| file.metadata());
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        // Several outputs may go to /dev/null.
        if file.is_file() {
            ensure!(
                !known.contains(&identity(&file)),
                "{option} {}: the file is an --rx or another output of this call; name another",
                path.display()
            );
            known.push(identity(&file));
        }
    }
    Ok(())
}

/// Refuses a port whose frames the kernel never gets.
fn with_interface(configuration: &Configuration, punt: &HashMap<usize, PathBuf>) -> Result<()> {
    for (index, port) in configuration.ports.iter().enumerate() {
        ensure!(
            !punt.contains_key(&index) || port.interface().is_some(),
            "--punt {name}=...: port \"{name}\" has interface = \"none\", so that the kernel gets nothing of it",
            name = port.name
        );
    }
    Ok(())
}

/// Warns about captures that were not read to their end. DPDK counts that as an error of the
/// device.
fn warn_of_damage(appliance: &Appliance, rx: &HashMap<usize, PathBuf>) {
    let Response::Ports(ports) = appliance.daemon().handle(Request::PortList {}) else { return };
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| port.counters.rx_errors > 0) {
        let file = rx.get(&index).map_or(String::new(), |path| path.display().to_string());
        warn!(
            "{file}: the capture is damaged or ends inside a packet; port \"{}\" received only the \
             packets before that",
            port.name
        );
    }
}

/// The files on the command line, by the index of their port.
fn by_port(
    configuration: &Configuration,
    option: &str,
    given: &[String],
) -> Result<HashMap<usize, PathBuf>> {
    let mut files = HashMap::new();
    for text in given {
        let Some((name, path)) = text.split_once('=') else {
            bail!("{option} {text}: it takes PORT=FILE, for example {option} edge0=in.pcap");
        };
        let Some(index) = configuration.ports.iter().position(|port| port.name == name) else {
            let names: Vec<&str> = configuration.ports.iter().map(|p| p.name.as_str()).collect();
            bail!(
                "{option} {text}: no port \"{name}\"; the configuration has {}",
                names.join(", ")
            );
        };
        ensure!(
            files.insert(index, PathBuf::from(path)).is_none(),
            "{option} {text}: port \"{name}\" has a file already"
        );
    }
    Ok(files)
}

fn link(path: &Path, name: &Path) -> Result<PathBuf> {
    let path = path.canonicalize().with_context(|| path.display().to_string())?;
    symlink(path, name).context("cannot link to the capture")?;
    Ok(name.to_owned())
}

fn print(stats: &Stats, json: bool) -> Result<()> {
    let mut text = String::new();
    if json {
        writeln!(text, "{}", serde_json::to_string_pretty(stats)?)?;
    } else {
        writeln!(text, "{:<28} {:>12}", "received", stats.received)?;
        writeln!(text, "{:<28} {:>12}", "transmitted", stats.transmitted)?;
        for (title, counts) in [("verdicts", &stats.verdicts), ("events", &stats.events)] {
            writeln!(text, "\n{title}")?;
            for (name, count) in counts.iter().filter(|&(_, &count)| count > 0) {
                writeln!(text, "  {name:<26} {count:>12}")?;
            }
        }
    }
    guideway_output::print(text).context("cannot write the result")
}
