//! A generator of paced traffic that takes its packets back, for the part `pair` of the benchmarks.
//!
//!     guideway-pair --device net_memif0,... --inner 38 --device net_memif1,... --inner 14 --cpu 0
//!
//! Each device leads to a program that sends back what it gets, by `--inner` bytes further into the
//! frame: 14 for a program that leaves it as it is, 38 for GRE over IPv4. Trials are asked for on
//! standard input, one a line, and answered by one JSON object a line on standard output:
//!
//!     DEVICE PACKETS_PER_SECOND SECONDS
//!
//! One thread does all: it sends what is due by the CPU's counter, in bursts of up to 32, and takes
//! back what has come. A packet carries the time at which it was given to the device, so that latency is
//! the way through both devices, the program between them, and the wait until the generator looks again.
//! What the device does not take is lost: nothing is sent twice. Memory is reserved at the start.
//! testpmd's own generators cannot be used for it: over memif they know no pace and no percentiles.

mod packet;
mod trial;

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use guideway::dpdk::clock::tsc_hz;
use guideway::dpdk::port::{Port, Settings, Started};
use guideway::dpdk::{Eal, Mempool, lcore};

use trial::{Line, Trial};

/// Buffers: what the rings of the devices hold, and what is under way.
const BUFFERS: u32 = 32_767;
const POOL_CACHE: u32 = 256;
const DATA_ROOM: u16 = 2048;
/// How long the program at the other end may take to accept the connection.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Options {
    /// A device as DPDK's `--vdev` takes it; once for each program at another end
    #[arg(long = "device", required = true)]
    devices: Vec<String>,
    /// Where in an answer the IP packet begins, for each device
    #[arg(long = "inner", required = true)]
    inner: Vec<usize>,
    /// The CPU that generates
    #[arg(long)]
    cpu: u16,
    /// Flows
    #[arg(long, default_value_t = 4000)]
    flows: u16,
    /// MiB of memory instead of hugepages
    #[arg(long)]
    no_huge: Option<u32>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.devices.len() == options.inner.len(), "one --inner for each --device");
    let eal = Eal::init("guideway-pair", &eal_arguments(&options))?;
    let pool = Mempool::new(&eal, "packets", BUFFERS, DATA_ROOM, POOL_CACHE, None)?;
    let mut ports = Vec::new();
    let mut lines = Vec::new();
    for (device, &inner) in options.devices.iter().zip(&options.inner) {
        let (port, line) = connect(&eal, &pool, device, inner)?;
        ports.push(port);
        lines.push(line);
    }
    let hz = tsc_hz(&eal);
    let flows = options.flows;
    let serve = move || serve(&mut lines, &pool, flows, hz);
    match lcore::spawn(&eal, "generator", Some(options.cpu), serve)?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn eal_arguments(options: &Options) -> Vec<String> {
    let prefix = format!("--file-prefix=guideway-pair-{}", std::process::id());
    let mut arguments = vec![
        format!("--lcores=0@{}", options.cpu),
        prefix,
        "--no-telemetry".to_owned(),
        "--no-pci".to_owned(),
        "--log-level=error".to_owned(),
    ];
    match options.no_huge {
        Some(mib) => {
            arguments.extend(["--no-huge", "--no-shconf", "-m"].map(str::to_owned));
            arguments.push(mib.to_string());
        }
        None => arguments.push("--in-memory".to_owned()),
    }
    arguments.extend(options.devices.iter().map(|device| format!("--vdev={device}")));
    arguments
}

/// Starts a device, and waits for the program at its other end.
fn connect(eal: &Eal, pool: &Mempool, device: &str, inner: usize) -> Result<(Port<Started>, Line)> {
    let settings = Settings {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 1024,
        tx_descriptors: 1024,
        mtu: 1500,
        mac: None,
        rss: false,
        fast_free: true,
        interrupts: false,
    };
    let (port, _notes) = eal.port_by_name(device)?.configure(&settings, pool)?;
    let (port, mut receive, mut transmit) = port.start()?;
    let (Some(receive), Some(transmit)) = (receive.pop(), transmit.pop()) else {
        bail!("{device} has no queues");
    };
    let begin = Instant::now();
    while !port.link().up {
        ensure!(begin.elapsed() < CONNECT, "{device}: nobody at the other end");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((port, Line { receive, transmit, inner }))
}

/// Answers the trials that are asked for, until nobody asks any more.
fn serve(lines: &mut [Line], pool: &Mempool, flows: u16, hz: u64) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    for (serial, asked) in (1_u16..).zip(std::io::stdin().lock().lines()) {
        let asked = asked?;
        let (line, rate, seconds) = parse(&asked).with_context(|| format!("{asked:?}"))?;
        let line = lines.get_mut(line).with_context(|| format!("{asked:?}: no such device"))?;
        let outcome = Trial { serial, rate, seconds, flows, hz }.run(line, pool)?;
        writeln!(output, "{outcome}")?;
        output.flush()?;
    }
    Ok(())
}

fn parse(asked: &str) -> Result<(usize, f64, f64)> {
    let words: Vec<&str> = asked.split_whitespace().collect();
    let [line, rate, seconds] = words[..] else { bail!("expected DEVICE RATE SECONDS") };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    ensure!((1.0..1e9).contains(&rate), "a rate is from 1 to 1e9 packets per second");
    ensure!((0.001..1e4).contains(&seconds), "a trial takes from a millisecond to 10,000 s");
    Ok((line.parse()?, rate, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_three_numbers() {
        assert_eq!(parse("1 2e6 0.5").ok(), Some((1, 2e6, 0.5)));
        for wrong in ["", "1 2", "1 2 3 4", "a 1 1", "0 0 1", "0 1 0", "0 NaN 1"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
