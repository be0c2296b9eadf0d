//! Compiles the CPU check for the features that this build's Rust code assumes.

use std::env;
use std::path::Path;

mod check;

fn main() {
    let variable = |name| env::var(name).unwrap_or_default();
    let assumed = variable("CARGO_CFG_TARGET_FEATURE");
    let assumes = |name: &str| assumed.split(',').any(|assumed| assumed == name);
    let needed = match &*variable("CARGO_CFG_TARGET_ARCH") {
        "x86_64" if !assumes("sse3") => "any x86-64 CPU",
        "x86_64" if assumes("avx2") && assumes("bmi2") && assumes("aes") => {
            "an x86-64-v3 CPU with AES"
        }
        "x86_64" => "an x86-64 CPU with more than the first ones",
        _ => "any CPU of its architecture",
    };
    println!("cargo::rustc-env=GUIDEWAY_NEEDED_CPU={needed}");
    check::compile(
        Path::new("check.c"),
        "guideway_baseline",
        |name, _| assumes(name),
        &format!("this build needs {needed}"),
        "build it with ci/build.sh --portable for this machine",
    );
}
