//! Compiles `check.c` for a list of CPU features. The build script of `guideway-baseline` lists what the Rust
//! code assumes, and that of `dpdk-sys` what libdpdk assumes.

use std::env;
use std::path::Path;

/// Features that plain x86-64 lacks: those of x86-64-v3 (System V ABI, AMD64 supplement, table 3.1) and AES.
/// Each has rustc's name, the macro that a C compiler defines if it uses the feature, the CPUID register as
/// `check.c` names it, and the bit in that register.
const FEATURES: &[(&str, &str, &str, u32)] = &[
    ("sse3", "__SSE3__", "LEAF_1_ECX", 0),
    ("ssse3", "__SSSE3__", "LEAF_1_ECX", 9),
    ("fma", "__FMA__", "LEAF_1_ECX", 12),
    ("cmpxchg16b", "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16", "LEAF_1_ECX", 13),
    ("sse4.1", "__SSE4_1__", "LEAF_1_ECX", 19),
    ("sse4.2", "__SSE4_2__", "LEAF_1_ECX", 20),
    ("movbe", "__MOVBE__", "LEAF_1_ECX", 22),
    ("popcnt", "__POPCNT__", "LEAF_1_ECX", 23),
    ("xsave", "__XSAVE__", "LEAF_1_ECX", 26),
    ("avx", "__AVX__", "LEAF_1_ECX", 28),
    ("f16c", "__F16C__", "LEAF_1_ECX", 29),
    ("bmi1", "__BMI__", "LEAF_7_EBX", 3),
    ("avx2", "__AVX2__", "LEAF_7_EBX", 5),
    ("bmi2", "__BMI2__", "LEAF_7_EBX", 8),
    ("lzcnt", "__LZCNT__", "EXTENDED_1_ECX", 5),
    ("aes", "__AES__", "LEAF_1_ECX", 25),
];

/// Links a check, as the library `library`, into every program that uses the crate. `assumed` says, by rustc's
/// name and C's macro, whether a feature is assumed. On a CPU without such a feature the check prints
/// "`needs` (missing: ...); `advice`" before the program starts, and ends it. `file` is `check.c`.
pub(crate) fn compile(
    file: &Path,
    library: &str,
    assumed: impl Fn(&str, &str) -> bool,
    needs: &str,
    advice: &str,
) {
    println!("cargo::rerun-if-changed={}", file.display());
    let target = |name| env::var(name).unwrap_or_default();
    let list: String = FEATURES
        .iter()
        .filter(|(name, define, ..)| assumed(name, define))
        .map(|(name, _, register, bit)| format!("FEATURE(\"{name}\",{register},{bit})"))
        .collect();
    let (architecture, system) = (target("CARGO_CFG_TARGET_ARCH"), target("CARGO_CFG_TARGET_OS"));
    if list.is_empty() || architecture != "x86_64" || system != "linux" {
        return;
    }
    cc::Build::new()
        .file(file)
        .flag("-march=x86-64")
        .flag("-mgeneral-regs-only")
        .define("ASSUMED_FEATURES", &*list)
        .define("ASSUMES_AVX", if assumed("avx", "__AVX__") { "1" } else { "0" })
        .define("NEEDS", &*format!("\"{needs}\""))
        .define("ADVICE", &*format!("\"{advice}\""))
        // No function calls the check, so the linker would omit it.
        .link_lib_modifier("+whole-archive")
        .compile(library);
}
