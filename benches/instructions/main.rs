//! Counts the instructions per packet, and compares them with `benches/instructions.json`.
//!
//!     cargo bench -p guideway-suite --bench instructions                 measure, compare, fail on a rise
//!     cargo bench -p guideway-suite --bench instructions -- --accept     measure, rewrite the file
//!
//! The program runs itself under valgrind's callgrind, once for each case. A fixed number of packets goes
//! through [`measured`], and only the instructions of that function and its callees are counted. Clocks, other
//! processes and addresses have no influence, so two runs of one build give equal counts. The counts depend
//! on the compiler, whose version the file names, and on libc's memcpy, which differs from CPU to CPU:
//! [`ONE_MEMCPY`] selects the same memcpy everywhere.

#![expect(clippy::print_stdout, reason = "the report is the program's purpose")]

#[path = "../traffic/mod.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use guideway_core::balancer::encapsulation::Encapsulation;
use serde_json::{Value, json};

use traffic::{Ip, Kind, PACKETS, Traffic, Transport};

/// A rise by more than this is an error.
const TOLERANCE_PERCENT: f64 = 3.0;
/// A rise by more than this is an error if the compiler is not the one that the file names.
const TOLERANCE_PERCENT_OTHER_COMPILER: f64 = 20.0;

/// Makes glibc use the memcpy of plain x86-64.
const ONE_MEMCPY: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX_Fast_Unaligned_Load,-SSSE3,-ERMS,-FSRM";

/// Processes the packets up to some step. Returns how many passed it.
type Run = fn(&mut Traffic) -> usize;

const V6: Kind = Kind { inner: Ip::V6, outer: Ip::V6, ..Kind::HIT };
const SYN: Kind = Kind { transport: Transport::Syn, known: false, ..Kind::HIT };

const fn by(encapsulation: Encapsulation) -> Kind {
    Kind { encapsulation, ..Kind::HIT }
}

/// Name, traffic, the step up to which packets are processed, and how many pass it.
const CASES: &[(&str, Kind, Run, usize)] = &[
    ("stage/0-loop", Kind::HIT, Traffic::nothing, PACKETS),
    ("stage/1-classify", Kind::HIT, Traffic::classify, PACKETS),
    ("stage/2-process", Kind::HIT, Traffic::process, PACKETS),
    ("general/parse", Kind::HIT, Traffic::parse, PACKETS),
    ("general/decide", Kind::HIT, Traffic::decide, PACKETS),
    ("hit/v4-in-v4", Kind::HIT, Traffic::process, PACKETS),
    ("hit/v4-in-v6", Kind { outer: Ip::V6, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v6-in-v4", Kind { inner: Ip::V6, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v6-in-v6", V6, Traffic::process, PACKETS),
    ("hit/v4-udp", Kind { transport: Transport::Udp, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v4-vlan", Kind { tagged: true, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v4-ipip", by(Encapsulation::Ipip), Traffic::process, PACKETS),
    ("hit/v4-gue", by(Encapsulation::Gue), Traffic::process, PACKETS),
    ("hit/v4-vxlan", by(Encapsulation::Vxlan), Traffic::process, PACKETS),
    ("hit/v4-l2", by(Encapsulation::L2), Traffic::process, PACKETS),
    ("hit/v4-10-backends", Kind { backends: 10, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v4-10000-backends", Kind { backends: 10_000, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v4-100-services", Kind { services: 100, ..Kind::HIT }, Traffic::process, PACKETS),
    ("hit/v4-10000-services", Kind { services: 10_000, ..Kind::HIT }, Traffic::process, PACKETS),
    ("miss/v4-syn", SYN, Traffic::process, PACKETS),
    (
        "miss/v6-syn",
        Kind { transport: Transport::Syn, known: false, ..V6 },
        Traffic::process,
        PACKETS,
    ),
    ("drop/v4-no-vip", Kind { known: false, wanted: false, ..Kind::HIT }, Traffic::process, 0),
    ("burst/v4-hit-of-1", Kind { burst: 1, ..Kind::HIT }, Traffic::process, PACKETS),
    ("burst/v4-hit-of-4", Kind { burst: 4, ..Kind::HIT }, Traffic::process, PACKETS),
    ("burst/v4-hit-and-syn", Kind { mixed: true, ..Kind::HIT }, Traffic::process, PACKETS),
    ("sweep/4-buckets-1-flow", Kind::HIT, Traffic::sweep, PACKETS),
];

/// The function whose instructions callgrind counts. The name is part of callgrind's options.
#[inline(never)]
fn measured(traffic: &mut Traffic, run: Run) -> usize {
    run(traffic)
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--case"
    {
        run_case(name)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.iter().any(|a| a == "--bench") {
        println!("instructions: not measured; `cargo bench` does, which builds for release");
        return Ok(ExitCode::SUCCESS);
    }
    let accept = arguments.iter().any(|a| a == "--accept");
    if let Some(unknown) = arguments.iter().find(|a| !["--bench", "--accept"].contains(&a.as_str()))
    {
        bail!("unknown argument `{unknown}`; there is --accept");
    }
    ensure!(!cfg!(debug_assertions), "built without optimisation: the counts would mean nothing");

    let compiler = compiler()?;
    let mut counts = BTreeMap::new();
    for &(name, ..) in CASES {
        counts.insert(name.to_owned(), count(name)?);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json");
    if accept {
        let accepted = json!({ "compiler": compiler, "packets": PACKETS, "instructions": counts });
        fs::write(&file, serde_json::to_string_pretty(&accepted)? + "\n")?;
        println!("accepted: {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    compare(&compiler, &counts, &serde_json::from_str(&text)?)
}

/// Processes the packets of one case; [`count`] runs this under callgrind.
fn run_case(name: &str) -> Result<()> {
    let case = CASES.iter().find(|case| case.0 == name);
    let &(_, kind, run, expected) = case.with_context(|| format!("no case `{name}`"))?;
    let mut traffic = Traffic::new(kind);
    let through = measured(&mut traffic, run);
    ensure!(through == expected, "{name}: {through} packets passed instead of {expected}");
    Ok(())
}

/// The instructions of one case.
fn count(name: &str) -> Result<u64> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("callgrind.{}", name.replace('/', "-")));
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::measured*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .args(["--case", name])
        .env("GLIBC_TUNABLES", ONE_MEMCPY)
        .output()
        .context("valgrind cannot be run; on Debian, install the package `valgrind`")?;
    ensure!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    let profile = fs::read_to_string(&out).with_context(|| out.display().to_string())?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.context("callgrind wrote no total")?.trim().parse()?;
    ensure!(total > 0, "{name}: callgrind did not see the measured function");
    Ok(total)
}

/// The compiler that cargo uses here.
fn compiler() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("rustc cannot be run")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Prints each case beside its accepted count.
fn compare(compiler: &str, counts: &BTreeMap<String, u64>, accepted: &Value) -> Result<ExitCode> {
    let before = accepted["compiler"].as_str().context("instructions.json: no `compiler`")?;
    ensure!(accepted["packets"] == PACKETS, "instructions.json is of another number of packets");
    let instructions = accepted["instructions"].as_object().context("no `instructions`")?;
    let tolerance = if before == compiler {
        TOLERANCE_PERCENT
    } else {
        println!("compiled by {compiler}, accepted with {before}: coarser comparison");
        TOLERANCE_PERCENT_OTHER_COMPILER
    };
    let mut wrong = 0;
    println!("{:28} {:>10} {:>10} {:>8}", "instructions per packet", "accepted", "now", "change");
    for (name, &now) in counts {
        let per_packet = now as f64 / PACKETS as f64;
        let Some(accepted) = instructions.get(name).and_then(Value::as_u64) else {
            println!("{name:28} {:>10} {per_packet:10.1} {:>8}  NEW", "-", "-");
            wrong += 1;
            continue;
        };
        let change = (now as f64 / accepted as f64 - 1.0) * 100.0;
        let verdict = match change {
            _ if change > tolerance => "RISEN",
            _ if change < -tolerance => "fallen: accept it, so that it stays low",
            _ => "",
        };
        wrong += usize::from(change > tolerance);
        let before = accepted as f64 / PACKETS as f64;
        println!("{name:28} {before:10.1} {per_packet:10.1} {change:+7.2}%  {verdict}");
    }
    for name in instructions.keys().filter(|&name| !counts.contains_key(name)) {
        println!("{name:28} GONE");
        wrong += 1;
    }
    if wrong == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\n{wrong} of the counts above are new, gone, or risen by more than {tolerance} %. Fix that, or \
         accept them with `ci/instructions.sh --accept` and explain them in the commit."
    );
    Ok(ExitCode::FAILURE)
}
