//! A generator of paced traffic that receives its packets again, for part `pair` of the benchmark.
//!
//!     guideway-pair --device net_memif0,... --inner 38 --device net_memif1,... --inner 14 --cpu 0
//!
//! Each device leads to a program that sends packets back. `--inner` is the offset of the IP packet in what
//! comes back: 14 from a program that leaves frames unchanged, 38 from one that adds GRE over IPv4. The
//! generator reads trials from standard input, one a line, and prints one JSON object for each:
//!
//!     DEVICE PACKETS_PER_SECOND SECONDS
//!
//! One thread sends the packets that are due by the CPU's counter, in bursts of up to 32, and receives. A
//! packet carries its time of sending, so latency includes both devices, the program between them, and the
//! time until the generator polls again. A packet that the device does not accept is lost: nothing is sent
//! twice. Memory is reserved at the start. testpmd's own generators have neither pace nor percentiles over
//! memif.

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

/// Mbufs: enough for the rings of the devices, and for packets between them.
const BUFFERS: u32 = 32_767;
const POOL_CACHE: u32 = 256;
const DATA_ROOM: u16 = 2048;
/// How long the program at the other end may take to accept the connection.
const CONNECT: Duration = Duration::from_secs(10);

#[derive(Parser)]
struct Options {
    /// A device, as for DPDK's `--vdev`; once for each program at the other end
    #[arg(long = "device", required = true)]
    devices: Vec<String>,
    /// Offset of the IP packet in frames that come back, for each device
    #[arg(long = "inner", required = true)]
    inner: Vec<usize>,
    /// The CPU of the generator
    #[arg(long)]
    cpu: u16,
    /// Number of flows
    #[arg(long, default_value_t = 4000)]
    flows: u16,
    /// MiB of ordinary memory, instead of hugepages
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

/// Starts a device, and waits until the program at the other end connects.
fn connect(eal: &Eal, pool: &Mempool, device: &str, inner: usize) -> Result<(Port<Started>, Line)> {
    let settings = Settings {
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 1024,
        tx_descriptors: 1024,
        mtu: 1500,
        mac: None,
        control_queue: false,
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

/// Runs the trials that it reads, until the end of standard input.
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
