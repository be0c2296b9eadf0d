//! Plans for tests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_config::{Check, CheckKind, Exchange, InitialState};

use super::target::{Member, Path, Plan, Target, TargetKey, To};

/// A check by TCP every 2 seconds.
pub(crate) fn check(name: &str) -> Check {
    let two = Duration::from_secs(2);
    Check {
        name: name.to_owned(),
        kind: CheckKind::Tcp(Exchange::default()),
        via: None,
        address: None,
        port: None,
        size: None,
        interval: two,
        fast_interval: two,
        down_interval: two,
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        jitter: 10,
        spread: two,
        initial_state: InitialState::Unknown,
        log_failures: false,
    }
}

/// This many backends that are probed by the kernel's routes.
pub(crate) fn plan(targets: u8) -> Plan {
    of(targets, || Path::Direct)
}

/// This many backends that are probed through tunnels, of both families by turns.
pub(crate) fn tunnel_plan(targets: u8) -> Plan {
    of(targets, || Path::Tunnel("gre".into()))
}

fn of(targets: u8, path: impl Fn() -> Path) -> Plan {
    let check = Arc::new(check("web"));
    let mut plan = Plan::default();
    for n in 0..targets {
        let address: IpAddr = [10, 0, 0, n].into();
        let vip: IpAddr = match n % 2 {
            0 => [203, 0, 113, 10].into(),
            _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10].into(),
        };
        let to = To::Port((vip, 80).into());
        let key = TargetKey { check: "web".into(), address, to, path: path() };
        let member = Member { pool: "web".into(), backend: format!("b{n}").into() };
        plan.targets.insert(key, Target { check: Arc::clone(&check), members: vec![member] });
    }
    plan
}
