//! The commands that ask guideway-controller.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::site::{CONTROLLER, GREETING, Ran, Site};

/// A row of an address.
fn vip(address: &str, state: &str, cause: &str) -> String {
    format!(
        r#"{{"address":"{address}","services":["web"],"registered":false,"state":"{state}","since":"2026-01-02T03:04:05.678Z","cause":{{"cause":"{cause}"}},"installed":true}}"#
    )
}

fn vips_set(changed: usize, stored: bool) -> String {
    let vip = vip("203.0.113.10", "withdrawn", "ordered");
    format!(
        r#"{{"response":"vips_set","body":{{"vips":[{vip}],"changed":{changed},"stored":{stored}}}}}"#
    )
}

const NODE: &str = r#"{"node":"lb1","version":"0.1.0","uptime_seconds":61,"forwarder":"well","forwarder_since":"2026-01-02T03:04:05.678Z","generation":3,"bgp":"managed","announced":4,"draining":5,"withdrawn":6,"restored_routes":7}"#;
const EMPTY: &str = r#"{"response":"vips","body":[]}"#;

/// Runs a command against a controller whose socket is in the environment.
pub(crate) fn run(site: &Site, arguments: &[&str]) -> Ran {
    Ran::from(of_controller(site, arguments).output().unwrap())
}

fn of_controller(site: &Site, arguments: &[&str]) -> std::process::Command {
    let mut command = site.command(arguments);
    command.env("GUIDEWAY_CONTROLLER_SOCKET", site.socket());
    // A command that asks the wrong daemon finds none.
    command.env("GUIDEWAY_SOCKET", "/nowhere/guideway");
    command
}

#[test]
fn each_command_is_its_request() {
    let set = vips_set(1, true);
    let node_set = format!(
        r#"{{"response":"node_set","body":{{"node":{NODE},"changed":true,"stored":true}}}}"#
    );
    let node = format!(r#"{{"response":"node","body":{NODE}}}"#);
    for (arguments, request, response) in [
        ("vip list", r#"{"request":"vip_list"}"#, Some(EMPTY)),
        ("v l", r#"{"request":"vip_list"}"#, Some(EMPTY)),
        (
            "vip announce 203.0.113.10 2001:db8::10 --peer tor1 --peer=tor2 --next-hop 192.0.2.1 \
             --next-hop 2001:db8::1 --reason repaired",
            concat!(
                r#"{"request":"vip_set","addresses":["203.0.113.10","2001:db8::10"],"#,
                r#""order":"announce","peers":["tor1","tor2"],"#,
                r#""next_hops":["192.0.2.1","2001:db8::1"],"reason":"repaired"}"#
            ),
            Some(&set),
        ),
        (
            "vip withdraw 203.0.113.10",
            r#"{"request":"vip_set","addresses":["203.0.113.10"],"order":"withdraw"}"#,
            Some(&set),
        ),
        (
            "vip drain --peer tor1 203.0.113.10",
            r#"{"request":"vip_set","addresses":["203.0.113.10"],"order":"drain","peers":["tor1"]}"#,
            Some(&set),
        ),
        (
            "vip undrain 203.0.113.10 --reason=done",
            r#"{"request":"vip_set","addresses":["203.0.113.10"],"order":"undrain","reason":"done"}"#,
            Some(&set),
        ),
        ("node show", r#"{"request":"node_show"}"#, Some(&node)),
        ("no s", r#"{"request":"node_show"}"#, Some(&node)),
        (
            "node drain --reason kernel",
            r#"{"request":"node_set","order":"drain","reason":"kernel"}"#,
            Some(&node_set),
        ),
        (
            "node undrain --peer tor1",
            r#"{"request":"node_set","order":"undrain","peers":["tor1"]}"#,
            Some(&node_set),
        ),
        ("bgp list", r#"{"request":"bgp_list"}"#, Some(r#"{"response":"bgp_peers","body":[]}"#)),
        ("bgp show tor1", r#"{"request":"bgp_show","peer":"tor1"}"#, None),
        (
            "log level debug --controller",
            r#"{"request":"log_level","level":"debug"}"#,
            Some(r#"{"response":"log_level","body":{"level":"debug"}}"#),
        ),
        (
            "monitor --controller --no-follow",
            r#"{"request":"monitor","follow":false}"#,
            Some(r#"{"response":"events","body":{"lost":0,"events":[],"more":false}}"#),
        ),
    ] {
        let site = Site::new();
        let refusal = r#"{"response":"error","body":{"kind":"failed","message":"not now"}}"#;
        let daemon = site.responds_as(CONTROLLER, response.unwrap_or(refusal));
        let ran = run(&site, &arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(daemon.join().unwrap(), format!("{request}\n"), "{arguments:?}");
        match response {
            Some(_) => assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}"),
            None => ran.is(1, "", "error: not now\n"),
        }
    }
}

#[test]
fn an_order_shows_what_it_changed_and_whether_it_stays() {
    let note = "note: the order is in force but not stored, a restart would lose it; the log of \
                guideway-controller says why\n";
    for (changed, stored, end, stderr) in [
        (1, true, "\n1 address, 1 changed\n", ""),
        (0, true, "\n1 address, no change\n", ""),
        (1, false, "\n1 address, 1 changed\n", note),
    ] {
        let site = Site::new();
        let daemon = site.responds_as(CONTROLLER, &vips_set(changed, stored));
        let ran = run(&site, &["vip", "withdraw", "203.0.113.10"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, stderr));
        assert!(ran.stdout.ends_with(end), "{ran:?}");
        daemon.join().unwrap();
    }
    for (changed, stored, end, stderr) in
        [(true, true, "\nchanged\n", ""), (false, false, "\nno change\n", note)]
    {
        let site = Site::new();
        let response = format!(
            r#"{{"response":"node_set","body":{{"node":{NODE},"changed":{changed},"stored":{stored}}}}}"#
        );
        let daemon = site.responds_as(CONTROLLER, &response);
        let ran = run(&site, &["node", "drain"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, stderr));
        assert!(ran.stdout.ends_with(end), "{ran:?}");
        daemon.join().unwrap();
    }
}

#[test]
fn json_has_what_an_order_changed() {
    let site = Site::new();
    let daemon = site.responds_as(CONTROLLER, &vips_set(1, true));
    let ran = run(&site, &["vip", "withdraw", "203.0.113.10", "-o", "jsonl"]);
    let vip = vip("203.0.113.10", "withdrawn", "ordered");
    ran.is(0, &format!("{{\"changed\":1,\"stored\":true,\"vips\":[{vip}]}}\n"), "");
    daemon.join().unwrap();
}

fn piped(site: &Site, arguments: &[&str]) -> Child {
    let mut command = of_controller(site, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_thousand_addresses_come_from_stdin() {
    let site = Site::new();
    let daemon = site.responds_as(CONTROLLER, &vips_set(1, true));
    let mut child = piped(&site, &["vip", "drain", "-"]);
    let address = |n: u32| format!("10.1.{}.{}", n / 250, n % 250 + 1);
    let lines: Vec<String> = (0..2000).map(|n| format!("{} # service {n}\n", address(n))).collect();
    child.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let addresses: Vec<String> = (0..2000).map(|n| format!("\"{}\"", address(n))).collect();
    assert_eq!(
        daemon.join().unwrap(),
        format!(
            "{{\"request\":\"vip_set\",\"addresses\":[{}],\"order\":\"drain\"}}\n",
            addresses.join(",")
        )
    );

    // No daemon hears of a list with a mistake.
    let site = Site::new();
    let mut child = piped(&site, &["vip", "drain", "-"]);
    child.stdin.take().unwrap().write_all(b"203.0.113.1\n203.0.113.0/24\n").unwrap();
    Ran::from(child.wait_with_output().unwrap()).is(
        2,
        "",
        "error: line 2 of stdin is no address: 203.0.113.0/24; see --help\n",
    );
}

#[test]
fn refusals_have_their_exit_codes() {
    for (kind, code) in [("not_found", 4), ("rejected", 5), ("forbidden", 5), ("bad_request", 1)] {
        let site = Site::new();
        let refusal = format!(
            r#"{{"response":"error","body":{{"kind":"{kind}","message":"no peer is named tor9"}}}}"#
        );
        let daemon = site.responds_as(CONTROLLER, &refusal);
        let ran = run(&site, &["vip", "drain", "203.0.113.10", "--peer", "tor9"]);
        ran.is(code, "", "error: no peer is named tor9\n");
        daemon.join().unwrap();
    }
}

#[test]
fn a_controller_that_is_not_there_is_named() {
    let site = Site::new();
    let at = site.socket();
    for arguments in [
        &["vip", "list"][..],
        &["node", "drain"],
        &["bgp", "list"],
        &["log", "level", "--controller"],
    ] {
        run(&site, arguments).is(
            3,
            "",
            &format!(
                "error: cannot reach guideway-controller at {}: No such file or directory (os error 2); \
                 is it running?\n",
                at.display()
            ),
        );
    }
    // The option is for whichever daemon the command asks.
    let ran = run(&site, &["vip", "list", "--socket", "/nowhere/controller"]);
    assert!(ran.stderr.contains("guideway-controller at /nowhere/controller"), "{ran:?}");
    let ran = run(&site, &["status"]);
    assert!(ran.stderr.contains("cannot reach guideway at /nowhere/guideway"), "{ran:?}");
    // An empty variable is none.
    let mut command = site.command(&["vip", "list", "--timeout", "1"]);
    let ran = Ran::from(command.env("GUIDEWAY_CONTROLLER_SOCKET", "").output().unwrap());
    assert!(ran.stderr.contains(" /run/guideway-controller/controller.sock"), "{ran:?}");
}

#[test]
fn the_other_daemon_at_the_socket_hears_of_nothing() {
    for (greeting, arguments, wanted) in [
        (GREETING, &["vip", "withdraw", "203.0.113.10"][..], "guideway-controller"),
        (GREETING, &["monitor", "--controller"], "guideway-controller"),
        (CONTROLLER, &["config", "reload"], "guideway"),
        (CONTROLLER, &["monitor"], "guideway"),
    ] {
        let site = Site::new();
        let daemon =
            site.daemon(greeting, |mut stream| stream.read_line(&mut String::new()).unwrap());
        let socket = site.socket();
        let socket = socket.to_str().unwrap();
        let ran = site.run(&[arguments, &["--socket", socket]].concat());
        ran.is(
            1,
            "",
            &format!(
                "error: the server at {socket} is not {wanted}; is the path of the socket right?\n"
            ),
        );
        assert_eq!(daemon.join().unwrap(), 0, "no request is sent");
    }
}

#[test]
fn what_makes_no_sense_is_usage() {
    let site = Site::new();
    for (arguments, message) in [
        (&["vip", "drain"][..], "<ADDRESS>..."),
        (&["vip", "drain", "web"], "an address is needed, for example 203.0.113.10, or -"),
        (&["vip", "drain", "203.0.113.0/24"], "an address is needed"),
        (&["vip", "drain", "203.0.113.1", "--next-hop", "192.0.2.1"], "unexpected argument"),
        (&["vip", "announce", "203.0.113.1", "--next-hop", "tor1"], "invalid IP address"),
        (&["vip", "withdraw", "203.0.113.1", "--watch"], "unexpected argument"),
        (&["vip", "withdraw", "-"], "stdin has no address"),
        (&["node", "drain", "203.0.113.1"], "unexpected argument"),
        (&["bgp", "show"], "<PEER>"),
        (&["stats", "--controller"], "unexpected argument"),
    ] {
        let ran = run(&site, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn sessions_are_watched() {
    let site = Site::new();
    let daemon = site.daemon(CONTROLLER, |mut stream| {
        for _ in 0..2 {
            stream.read_line(&mut String::new()).unwrap();
            writeln!(stream.get_mut(), r#"{{"response":"bgp_peers","body":[]}}"#).unwrap();
        }
    });
    let mut command = of_controller(&site, &["bgp", "list", "--watch=0.1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for expected in ["PEER  ADDRESS  AS  STATE  SINCE  ROUTES  BFD  WHY", ""] {
        assert_eq!(lines.next().unwrap().unwrap(), expected);
    }
    assert!(lines.next().unwrap().unwrap().starts_with("PEER  "));
    daemon.join().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn help_and_completions_know_the_controller() {
    let site = Site::new();
    let ran = site.run(&["vip", "announce", "--help"]);
    for words in
        ["GUIDEWAY_CONTROLLER_SOCKET", "/run/guideway-controller/controller.sock", "--next-hop"]
    {
        assert!(ran.code == 0 && ran.stdout.contains(words), "{words}: {ran:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let ran = site.run(&["completions", shell]);
        for word in ["undrain", "next-hop", "withdraw", "vip_state"] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
    }
}
