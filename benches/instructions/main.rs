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

mod cases;
#[path = "../traffic/mod.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use cases::{CASES, Case, Run};
use traffic::{PACKETS, Traffic};

/// A rise by more than this is an error.
const TOLERANCE_PERCENT: f64 = 3.0;
/// A rise by more than this is an error if the compiler is not the one that the file names.
const TOLERANCE_PERCENT_OTHER_COMPILER: f64 = 20.0;

/// Makes glibc use the memcpy of plain x86-64.
const ONE_MEMCPY: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX_Fast_Unaligned_Load,-SSSE3,-ERMS,-FSRM";

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
    let counts = count_all()?;
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
    let case = CASES.iter().find(|case| case.name == name);
    let &Case { kind, run, passing, .. } = case.with_context(|| format!("no case `{name}`"))?;
    let mut traffic = Traffic::new(kind);
    let passed = measured(&mut traffic, run);
    ensure!(passed == passing, "{name}: {passed} packets passed instead of {passing}");
    Ok(())
}

/// The instructions of every case. As many run at once as there are CPUs.
fn count_all() -> Result<BTreeMap<String, u64>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(String, u64)>> {
        let mut counts = Vec::new();
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            counts.push((case.name.to_owned(), count(case.name)?));
        }
        Ok(counts)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut counts = BTreeMap::new();
        for thread in threads {
            counts.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(counts)
    })
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
