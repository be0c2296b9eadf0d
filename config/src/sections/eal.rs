//! `dpdk.eal_args`: arguments that may pass to DPDK's environment layer. For those that may not, the
//! message names the key to use instead.

use crate::kind::Text;
use crate::shape::Form;

/// One argument, unchanged.
pub(crate) const ARGUMENT: Text<String> =
    Text { form: &Form { noun: "string", limits: "", pattern: "^(?!--$).+$" }, parse: argument };

/// Options that the appliance sets: long ones, short ones, and why. The environment layer reads long
/// options with `getopt_long`, so that any prefix of an option counts as well. A value may follow a
/// short option without a space.
const OWN: [(&[&str], &str, &str); 6] = [
    (&["lcores", "main-lcore", "master-lcore"], "lcsS", WORKERS),
    (&["no-huge"], "", "set dpdk.hugepages = false instead"),
    (&["socket-mem", "socket-limit", "legacy-mem", "single-file-segments"], "m", MEMORY),
    (&["in-memory", "file-prefix", "no-shconf", "proc-type", "huge-unlink"], "", ISOLATION),
    (&["vdev", "allow", "block", "no-pci", "pci-whitelist"], "abw", DEVICE),
    (&["help"], "h", "it would end the appliance"),
];

const WORKERS: &str = "dpdk.workers decides the CPUs";
const MEMORY: &str = "dpdk.memory decides the memory";
const DEVICE: &str = "the device of each [[port]] decides the devices";
const ISOLATION: &str = "the appliance sets it, so that two appliances on one host do not collide";

fn argument(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("expected one argument, without control characters".to_owned());
    }
    if text == "--" {
        return Err("it would end the arguments; remove it".to_owned());
    }
    let own = match text.strip_prefix("--") {
        Some(long) => {
            let option = long.split('=').next().unwrap_or_default();
            OWN.iter().find(|(long, ..)| long.iter().any(|own| own.starts_with(option)))
        }
        None => {
            let option = text.strip_prefix('-').and_then(|short| short.chars().next());
            OWN.iter().find(|(_, short, _)| option.is_some_and(|option| short.contains(option)))
        }
    };
    match own {
        None => Ok(text.to_owned()),
        Some((_, _, reason)) => Err(format!("it cannot be passed through: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_appliance_sets_names_its_key() {
        for (text, key) in [
            ("-l1,2", "dpdk.workers"),
            ("-l", "dpdk.workers"),
            ("--lcores=0@1", "dpdk.workers"),
            ("-c3", "dpdk.workers"),
            ("-m", "dpdk.memory"),
            ("--no-huge", "dpdk.hugepages"),
            ("--vdev=net_null0", "[[port]]"),
            ("--vd=net_null0", "[[port]]"),
            ("-a0000:00:01.0", "[[port]]"),
            ("--allow", "[[port]]"),
            ("--no-pci", "[[port]]"),
            ("--file-prefix=x", "two appliances"),
            ("--in-memory", "two appliances"),
            ("--", "end the arguments"),
            ("", "one argument"),
            ("a\0b", "control"),
        ] {
            let message = argument(text).unwrap_err();
            assert!(message.contains(key), "{text}: {message}");
        }
    }

    #[test]
    fn other_options_pass() {
        for text in
            ["--log-level=lib.eal:debug", "--log-level", "pmd:8", "--iova-mode=va", "-n4", "-v"]
        {
            assert_eq!(argument(text), Ok(text.to_owned()));
        }
    }
}
