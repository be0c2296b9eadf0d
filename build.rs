//! The build script of `dpdk-sys`: finds libdpdk, compiles the C shim and the CPU check, and
//! generates the bindings.
//!
//! Everything that depends on the machine comes from `pkg-config libdpdk`. No library is listed by
//! hand, and a DPDK in another prefix is found by `PKG_CONFIG_PATH`. The allowlist below is all of
//! DPDK that Guideway may call. A new call starts with a line there, or with a wrapper in `shim.c`
//! where DPDK has only an inline function.

use std::collections::HashSet;
use std::env;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

#[path = "baseline/check.rs"]
mod check;

/// The oldest DPDK that the sources support.
const OLDEST: &str = "22.11";

const FUNCTIONS: &[&str] = &[
    "rte_dev_probe",
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_configure",
    "rte_eth_dev_default_mac_addr_set",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_rss_reta_update",
    "rte_eth_dev_rx_intr_disable",
    "rte_eth_dev_rx_intr_enable",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_stop",
    "rte_eth_find_next",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_eth_promiscuous_get",
    "rte_eth_rx_burst_mode_get",
    "rte_eth_rx_queue_info_get",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_burst_mode_get",
    "rte_eth_tx_queue_setup",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_get_tsc_hz",
    "rte_mbuf_dynfield_lookup",
    "rte_mbuf_dynflag_lookup",
    "rte_mempool_free",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_ring_create_elem",
    "rte_ring_free",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
    // shim.c
    "guideway_.*",
];

/// Constants. `GUIDEWAY_.*` are those that `wrapper.h` makes from macros and `offsetof`.
const CONSTANTS: &[&str] = &["GUIDEWAY_.*", "RTE_ETH_NAME_MAX_LEN", "RTE_MAX_ETHPORTS"];

/// Types that no function above needs: the enums of the constants.
const TYPES: &[&str] = &["guideway_.*"];

/// Types that are only handled by pointer. Rust reads fields of `rte_mbuf` at the offsets in
/// `wrapper.h`, which are right for every DPDK.
const OPAQUE: &[&str] = &["rte_device", "rte_epoll_event", "rte_mbuf", "rte_mempool", "rte_ring"];

fn main() {
    for file in ["wrapper.h", "shim.c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    for variable in ["LIBCLANG_PATH", "LLVM_CONFIG_PATH", "BINDGEN_EXTRA_CLANG_ARGS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    let flags = find_dpdk();
    compile_shim(&flags);
    check_cpu(&flags);
    // Last, so that the libraries follow the shim, which needs them, on the link line.
    link_dpdk();
    generate_bindings(&flags);
}

/// The compiler flags of libdpdk. Ends the build with advice if libdpdk is missing.
///
/// The flags come from pkg-config itself: the crate keeps only the include paths and loses
/// `-include rte_config.h` and `-march`, without which the headers do not compile.
fn find_dpdk() -> Vec<String> {
    let found = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .env_metadata(true)
        .probe("libdpdk");
    if let Err(error) = found {
        let reason = match &error {
            pkg_config::Error::Command { .. } => "pkg-config cannot be run".to_owned(),
            pkg_config::Error::ProbeFailure { output, .. } => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                format!("pkg-config: {}", stderr.lines().next().unwrap_or("no libdpdk"))
            }
            other => other.to_string(),
        };
        fail(&format!(
            "Guideway's forwarder needs DPDK {OLDEST} or newer to build, and it is not found.\n\
             {reason}\n\
             On Debian and Ubuntu: apt-get install libdpdk-dev libclang-dev pkg-config\n\
             For a DPDK in another place, set PKG_CONFIG_PATH to the directory of libdpdk.pc.\n\
             What needs no DPDK builds with: cargo build -p guideway --no-default-features"
        ));
    }

    let directory = pkg_config_output(&["--variable=pcfiledir", "libdpdk"]);
    println!(
        "cargo::rerun-if-changed={}",
        Path::new(directory.trim()).join("libdpdk.pc").display()
    );
    pkg_config_output(&["--cflags", "libdpdk"]).split_whitespace().map(str::to_owned).collect()
}

fn pkg_config_output(arguments: &[&str]) -> String {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => fail(&format!("`pkg-config {}` fails", arguments.join(" "))),
    }
}

fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).warnings(true).flags(flags);
    build.compile("guideway_dpdk_shim");
}

/// Compiles a check that ends a program with a message on a CPU where libdpdk would die by SIGILL,
/// already in its constructors. A program compiled with libdpdk's flags may use the same CPU
/// features as libdpdk.
fn check_cpu(flags: &[String]) {
    let defines = cc::Build::new().file("shim.c").flags(flags).flag("-dM").expand();
    let defines = String::from_utf8_lossy(&defines);
    let defines: HashSet<&str> =
        defines.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    check::compile(
        Path::new("../baseline/check.c"),
        "guideway_dpdk_check",
        |_, define| defines.contains(define),
        "this libdpdk is built for a newer CPU",
        "no DPDK runs without sse4.2; for anything else, build DPDK for this machine",
    );
}

fn link_dpdk() {
    if let Err(error) = pkg_config::Config::new().env_metadata(false).probe("libdpdk") {
        fail(&format!("pkg-config names no libraries for libdpdk: {error}"));
    }
}

fn generate_bindings(flags: &[String]) {
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let loaded = panic::catch_unwind(bindgen::clang_version);
    panic::set_hook(quiet);
    if loaded.is_err() {
        fail(
            "libclang is not found; bindgen reads DPDK's headers with it.\n\
             On Debian and Ubuntu: apt-get install libclang-dev\n\
             For a libclang in another place, set LIBCLANG_PATH to its directory.",
        );
    }

    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .use_core()
        .generate_comments(false)
        .generate_cstr(true)
        .prepend_enum_name(false)
        .derive_default(true)
        .layout_tests(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    for constant in CONSTANTS {
        builder = builder.allowlist_var(constant);
    }
    for kind in TYPES {
        builder = builder.allowlist_type(kind);
    }
    for opaque in OPAQUE {
        // Block the types that only this definition names, too: the anonymous members, bindgen's
        // `__` types.
        builder = builder.blocklist_type(opaque).blocklist_type(format!("{opaque}__bindgen_ty_.*"));
        builder =
            builder.raw_line(format!("#[repr(C)] #[derive(Debug)] pub struct {opaque}([u8; 0]);"));
    }

    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    match builder.generate() {
        Ok(bindings) => {
            if let Err(error) = bindings.write_to_file(&output) {
                fail(&format!("cannot write {}: {error}", output.display()));
            }
        }
        Err(error) => fail(&format!("bindgen cannot read DPDK's headers: {error}")),
    }
}

/// Ends the build with `message`, which cargo shows line by line.
fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    process::exit(1);
}
