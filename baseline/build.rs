//! Compiles `check.c`, told which features of the CPU this build assumes.

use std::env;

/// A feature by rustc's name, and for check.c where CPUID tells of it: those of x86-64-v3 beyond plain
/// x86-64 (System V ABI, AMD64 supplement, table 3.1) and AES.
const FEATURES: &[(&str, &str, u32)] = &[
    ("sse3", "LEAF_1_ECX", 0),
    ("ssse3", "LEAF_1_ECX", 9),
    ("fma", "LEAF_1_ECX", 12),
    ("cmpxchg16b", "LEAF_1_ECX", 13),
    ("sse4.1", "LEAF_1_ECX", 19),
    ("sse4.2", "LEAF_1_ECX", 20),
    ("movbe", "LEAF_1_ECX", 22),
    ("popcnt", "LEAF_1_ECX", 23),
    ("xsave", "LEAF_1_ECX", 26),
    ("avx", "LEAF_1_ECX", 28),
    ("f16c", "LEAF_1_ECX", 29),
    ("bmi1", "LEAF_7_EBX", 3),
    ("avx2", "LEAF_7_EBX", 5),
    ("bmi2", "LEAF_7_EBX", 8),
    ("lzcnt", "EXTENDED_1_ECX", 5),
    ("aes", "LEAF_1_ECX", 25),
];

fn main() {
    println!("cargo::rerun-if-changed=check.c");
    let variable = |name| env::var(name).unwrap_or_default();
    let assumed = variable("CARGO_CFG_TARGET_FEATURE");
    let assumes = |name: &str| assumed.split(',').any(|assumed| assumed == name);
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let list: String = FEATURES
        .iter()
        .filter(|(name, ..)| architecture == "x86_64" && assumes(name))
        .map(|(name, answer, bit)| format!("FEATURE(\"{name}\",{answer},{bit})"))
        .collect();
    let needed = match &*architecture {
        "x86_64" if list.is_empty() => "any x86-64 CPU",
        "x86_64" if assumes("avx2") && assumes("bmi2") && assumes("aes") => {
            "an x86-64-v3 CPU with AES"
        }
        "x86_64" => "an x86-64 CPU with more than the first ones",
        _ => "any CPU of its architecture",
    };
    println!("cargo::rustc-env=GUIDEWAY_NEEDED_CPU={needed}");
    if list.is_empty() || variable("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    cc::Build::new()
        .file("check.c")
        .flag("-march=x86-64")
        .flag("-mgeneral-regs-only")
        .define("ASSUMED_FEATURES", &*list)
        .define("ASSUMES_AVX", if assumes("avx") { "1" } else { "0" })
        .define("NEEDED_CPU", &*format!("\"{needed}\""))
        // Nothing calls what is in it, so that the linker would leave it out.
        .link_lib_modifier("+whole-archive")
        .compile("guideway_baseline");
}
