//! The real binary against a daemon whose responses the test sets.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod announce;
mod check;
mod monitor;
mod site;
mod terminal;
mod watch;

use std::io::{BufRead, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use guideway_api::PROTOCOL_VERSION;

use site::{GREETING, Ran, Site};

#[test]
fn each_command_is_its_request() {
    let file = r#"{"request":"config_check","text":"é\n"}"#;
    for (arguments, request, response) in [
        ("status", r#"{"request":"status"}"#, None),
        (
            "service list",
            r#"{"request":"service_list"}"#,
            Some(r#"{"response":"services","body":[]}"#),
        ),
        (
            "backend list",
            r#"{"request":"backend_list"}"#,
            Some(r#"{"response":"backends","body":[]}"#),
        ),
        ("backend state --address 10.0.0.5", r#"{"request":"backend_list"}"#, None),
        (
            "backend drain web/b1",
            r#"{"request":"backend_set","changes":[{"pool":"web","backend":"b1","set":{"state":"draining"}}],"source":"operator"}"#,
            Some(
                r#"{"response":"backends_set","body":{"generation":2,"stored":true,"backends":[]}}"#,
            ),
        ),
        (
            "backend enable web",
            r#"{"request":"backend_set","changes":[{"pool":"web","set":{"state":"enabled"}}],"source":"operator"}"#,
            None,
        ),
        (
            "backend disable --address 2001:db8::5 --reason=fire --for 1h30m",
            r#"{"request":"backend_set","changes":[{"address":"2001:db8::5","set":{"state":"disabled"}}],"source":"operator","reason":"fire","for_seconds":5400}"#,
            None,
        ),
        (
            "backend weight web/b1 7 --source controller",
            r#"{"request":"backend_set","changes":[{"pool":"web","backend":"b1","set":{"weight":7}}],"source":"controller"}"#,
            None,
        ),
        (
            "backend weight --address 10.0.0.5 unset",
            r#"{"request":"backend_set","changes":[{"address":"10.0.0.5","set":"unset_weight"}],"source":"operator"}"#,
            None,
        ),
        (
            "backend state web/b1 down --source controller --reason timeout --for 10s",
            r#"{"request":"backend_set","changes":[{"pool":"web","backend":"b1","set":{"state":"down"}}],"source":"controller","reason":"timeout","for_seconds":10}"#,
            None,
        ),
        (
            "backend state --address 10.0.0.5 unset",
            r#"{"request":"backend_set","changes":[{"address":"10.0.0.5","set":"unset_state"}],"source":"operator"}"#,
            None,
        ),
        (
            "worker list",
            r#"{"request":"worker_list"}"#,
            Some(r#"{"response":"workers","body":[]}"#),
        ),
        ("port list", r#"{"request":"port_list"}"#, Some(r#"{"response":"ports","body":[]}"#)),
        (
            "interface list",
            r#"{"request":"interface_list"}"#,
            Some(r#"{"response":"interfaces","body":[]}"#),
        ),
        (
            "neighbor list",
            r#"{"request":"neighbor_list"}"#,
            Some(r#"{"response":"neighbors","body":[]}"#),
        ),
        ("route show b1", r#"{"request":"route_show","backend":"b1"}"#, None),
        ("route show web/b1", r#"{"request":"route_show","backend":"b1","pool":"web"}"#, None),
        ("punt list", r#"{"request":"punt_list"}"#, Some(r#"{"response":"punts","body":[]}"#)),
        ("pin list", r#"{"request":"pin_list"}"#, Some(r#"{"response":"pins","body":[]}"#)),
        ("stats", r#"{"request":"stats"}"#, None),
        ("config show", r#"{"request":"config_show"}"#, None),
        ("config check FILE", file, Some(r#"{"response":"checked","body":{"warnings":[]}}"#)),
        (
            "config apply FILE",
            r#"{"request":"config_apply","text":"é\n"}"#,
            Some(r#"{"response":"applied","body":{"generation":2,"warnings":[]}}"#),
        ),
        (
            "config reload",
            r#"{"request":"config_reload"}"#,
            Some(r#"{"response":"applied","body":{"generation":2,"warnings":[]}}"#),
        ),
        (
            "config apply FILE --reason new",
            r#"{"request":"config_apply","text":"é\n","reason":"new"}"#,
            None,
        ),
        ("config reload --reason=é", r#"{"request":"config_reload","reason":"é"}"#, None),
        (
            "log level",
            r#"{"request":"log_level"}"#,
            Some(r#"{"response":"log_level","body":{"level":"info"}}"#),
        ),
        (
            "log level debug --reason why",
            r#"{"request":"log_level","level":"debug","reason":"why"}"#,
            Some(r#"{"response":"log_level","body":{"level":"debug"}}"#),
        ),
        (
            "flow list",
            r#"{"request":"flow_list"}"#,
            Some(r#"{"response":"flows","body":{"flows":[],"truncated":false}}"#),
        ),
        (
            "flow list --worker 1 --backend b1 --pool web --state closing --limit 7 \
             --flow udp,[2001:db8::1]:53,[2001:db8::2]:54",
            concat!(
                r#"{"request":"flow_list","worker":1,"backend":"b1","pool":"web","#,
                r#""state":"closing","flow":{"source":"[2001:db8::1]:53","#,
                r#""destination":"[2001:db8::2]:54","protocol":"udp"},"limit":7}"#
            ),
            None,
        ),
    ] {
        let site = Site::new();
        let file = site.file("é\n");
        let refusal = r#"{"response":"error","body":{"kind":"failed","message":"not now"}}"#;
        let daemon = site.responds(response.unwrap_or(refusal));
        let arguments: Vec<&str> = arguments
            .split_whitespace()
            .map(|word| if word == "FILE" { file.as_str() } else { word })
            .collect();
        let ran = site.run(&arguments);
        assert_eq!(daemon.join().unwrap(), format!("{request}\n"), "{arguments:?}");
        match response {
            Some(_) => assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}"),
            None => ran.is(1, "", "error: not now\n"),
        }
    }
}

#[test]
fn tables_are_the_default_and_json_is_an_option() {
    let response = r#"{"response":"stats","body":{"received":9,"transmitted":9,"verdicts":{"forwarded":9,"malformed":0},"events":{"flow_table_full":0}}}"#;
    let site = Site::new();
    let daemon = site.responds(response);
    let table = "KIND     NAME             COUNT\n\
                 total    received             9\n\
                 total    transmitted          9\n\
                 verdict  forwarded            9\n\
                 verdict  malformed            0\n\
                 event    flow_table_full      0\n";
    site.run(&["stats"]).is(0, table, "");
    daemon.join().unwrap();

    let json = "{\n  \"received\": 9,\n  \"transmitted\": 9,\n  \"verdicts\": {\n    \
                \"forwarded\": 9\n  },\n  \"events\": {}\n}\n";
    for arguments in [["-o", "json", "stats", "--nonzero"], ["stats", "--nonzero", "-o", "json"]] {
        let site = Site::new();
        let daemon = site.responds(response);
        site.run(&arguments).is(0, json, "");
        daemon.join().unwrap();
    }
}

#[test]
fn lines_of_json_have_an_object_each() {
    let flow = |worker| {
        format!(
            r#"{{"worker":{worker},"tag":"5f","pool":"web","backend":"b1","state":"syn","idle_ms":3}}"#
        )
    };
    let flows = format!("[{},{}]", flow(0), flow(1));
    let response = format!(r#"{{"response":"flows","body":{{"flows":{flows},"truncated":true}}}}"#);
    let site = Site::new();
    let daemon = site.responds(&response);
    site.run(&["flow", "list", "-o", "jsonl"]).is(
        0,
        &format!("{}\n{}\n", flow(0), flow(1)),
        "note: there are more than these 2; narrow the listing or raise --limit\n",
    );
    daemon.join().unwrap();

    for (arguments, response, expected) in [
        (&["worker", "list", "-o", "jsonl"][..], r#"{"response":"workers","body":[]}"#, ""),
        (
            &["config", "reload", "-o", "jsonl"],
            r#"{"response":"applied","body":{"generation":5,"warnings":["w"]}}"#,
            "{\"generation\":5,\"warnings\":[\"w\"]}\n",
        ),
        (
            &["-j", "log", "level"],
            r#"{"response":"log_level","body":{"level":"info"}}"#,
            "{\n  \"level\": \"info\"\n}\n",
        ),
        (&["log", "level"], r#"{"response":"log_level","body":{"level":"info"}}"#, "info\n"),
    ] {
        let site = Site::new();
        let daemon = site.responds(response);
        site.run(arguments).is(0, expected, "");
        daemon.join().unwrap();
    }
}

#[test]
fn only_commands_that_read_may_be_shortened() {
    let site = Site::new();
    let daemon = site.responds(r#"{"response":"workers","body":[]}"#);
    let ran = site.run(&["w", "-o", "jsonl", "l"]);
    ran.is(0, "", "");
    assert_eq!(daemon.join().unwrap(), "{\"request\":\"worker_list\"}\n");
    let site = Site::new();
    let daemon = site.responds(r#"{"response":"log_level","body":{"level":"info"}}"#);
    site.run(&["lo", "l"]).is(0, "info\n", "");
    assert_eq!(daemon.join().unwrap(), "{\"request\":\"log_level\"}\n");

    // No daemon hears of these.
    let site = Site::new();
    let file = site.file("");
    site.run(&["st"]).is(2, "", "error: st is short for several commands: status, stats\n");
    for (arguments, command) in [
        (&["config", "a", &file][..], "config apply"),
        (&["conf", "apply", &file], "config apply"),
        (&["config", "rel"], "config reload"),
        (&["log", "l", "debug"], "log level"),
        (&["ba", "drain", "web"], "backend drain"),
        (&["v", "drain", "203.0.113.10"], "vip drain"),
        (&["vip", "w", "203.0.113.10"], "vip withdraw"),
        (&["no", "undrain"], "node undrain"),
        (&["backend", "st", "web/b1", "down"], "backend state"),
    ] {
        site.run(arguments).is(
            2,
            "",
            &format!("error: this changes something, so write it out: guidewayctl {command}\n"),
        );
    }
    let ran = site.run(&["conf", "e", "port.mtu"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("key "), "{ran:?}");
    let ran = site.run(&["help", "ba", "l"]);
    assert!(ran.code == 0 && ran.stdout.starts_with("List the backends"), "{ran:?}");
}

/// A row of a backend named b1.
fn backend(pool: &str, state: &str, source: &str) -> String {
    format!(
        r#"{{"pool":"{pool}","name":"b1","address":"10.0.0.5","weight":1,"state":"{state}","since":"2026-01-02T03:04:05.678Z","source":"{source}","encapsulation":null,"encapsulation_choice":null,"share":1.0,"next_hop":{{"state":"no_mac","port":"edge0","address":"10.0.0.9"}},"traffic":{{"packets":1,"bytes":2,"flows":3,"live":4}}}}"#
    )
}

fn two_pools() -> String {
    let (web, dns) = (backend("web", "active", "file"), backend("dns", "down", "controller"));
    format!(r#"{{"response":"backends","body":[{web},{dns}]}}"#)
}

#[test]
fn backends_of_one_pool() {
    let site = Site::new();
    let daemon = site.responds(&two_pools());
    let table = "\
POOL  NAME  ADDRESS   STATE  ENCAPSULATION  PORT   NEXT_HOP                WHY
dns   b1    10.0.0.5  down   none           edge0  10.0.0.9 (no neighbor)  nothing that is listed can be sent
";
    site.run(&["backend", "list", "--routes", "--pool", "dns"]).is(0, table, "");
    daemon.join().unwrap();

    let site = Site::new();
    let daemon = site.responds(&two_pools());
    let ran = site.run(&["backend", "list"]);
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0].join(" "),
        "POOL NAME ADDRESS STATE SINCE BY WEIGHT SHARE LIVE FLOWS PACKETS BYTES REASON"
    );
    assert_eq!((rows[1][3], rows[1][5], rows[1].len()), ("active", "file", 13));
    assert_eq!((rows[2][3], rows[2][5], rows[2].len()), ("down", "controller", 13));
    daemon.join().unwrap();

    let site = Site::new();
    let daemon = site.responds(&two_pools());
    site.run(&["backend", "list", "--pool", "mail"]).is(
        4,
        "",
        "error: no backend is in a pool named mail\n",
    );
    daemon.join().unwrap();
}

#[test]
fn the_state_of_a_backend_is_shown() {
    let details = "\
backend     dns/b1
address     10.0.0.5
state       down
since       2026-01-02T03:04:05.678Z
by          controller
reason      -
weight      1
slow_start  -
share       100.00%
live        4
flows       3
packets     1
bytes       2
next_hop    10.0.0.9 (no neighbor)
";
    for arguments in [&["backend", "state", "dns/b1"][..], &["ba", "st", "dns"]] {
        let site = Site::new();
        let daemon = site.responds(&two_pools());
        site.run(arguments).is(0, details, "");
        assert_eq!(daemon.join().unwrap(), "{\"request\":\"backend_list\"}\n");
    }
    let site = Site::new();
    let daemon = site.responds(&two_pools());
    let ran = site.run(&["backend", "state", "--address", "10.0.0.5", "-o", "jsonl"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
    daemon.join().unwrap();
    for (arguments, message) in [
        (&["web/b2"][..], "no backend is named web/b2"),
        (&["mail"], "no backend is in a pool named mail"),
        (&["--address", "10.0.0.6"], "no backend has the address 10.0.0.6"),
    ] {
        let site = Site::new();
        let daemon = site.responds(&two_pools());
        let arguments = [&["backend", "state"], arguments].concat();
        site.run(&arguments).is(4, "", &format!("error: {message}\n"));
        daemon.join().unwrap();
    }
}

#[test]
fn what_outweighs_a_setting_is_on_stderr() {
    let site = Site::new();
    let down = backend("web", "down", "controller");
    let daemon = site.responds(&format!(
        r#"{{"response":"backends_set","body":{{"generation":9,"stored":false,"backends":[{down}]}}}}"#
    ));
    let ran = site.run(&["backend", "enable", "web/b1"]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.ends_with("\n1 backend set; generation 9 is in force on every worker\n"),
        "{ran:?}"
    );
    assert_eq!(
        ran.stderr,
        "note: web/b1 stays down, set by the controller; `guidewayctl backend state web/b1 active` outweighs it\n\
         note: the settings are in force but not stored, a restart would lose them; the daemon's log says why\n"
    );
    daemon.join().unwrap();
}

#[test]
fn warnings_and_notes_are_on_stderr() {
    let site = Site::new();
    let daemon = site.responds(
        r#"{"response":"applied","body":{"generation":5,"warnings":["pool b is idle"]}}"#,
    );
    site.run(&["config", "reload"]).is(
        0,
        "generation 5 is in force on every worker\n",
        "warning: pool b is idle\n",
    );
    daemon.join().unwrap();
}

#[test]
fn configuration_is_read_from_stdin_and_shown_unchanged() {
    let site = Site::new();
    let daemon = site.responds(r#"{"response":"checked","body":{"warnings":[]}}"#);
    let mut child = site
        .command(&["config", "check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"[node]\n").unwrap();
    Ran::from(child.wait_with_output().unwrap()).is(0, "valid\n", "");
    let request = daemon.join().unwrap();
    assert_eq!(request, "{\"request\":\"config_check\",\"text\":\"[node]\\n\"}\n");

    let site = Site::new();
    let daemon = site.responds(r#"{"response":"config","body":{"text":"[node]","generation":5}}"#);
    site.run(&["config", "show"]).is(0, "[node]", "");
    daemon.join().unwrap();
}

#[test]
fn refusals_have_their_exit_codes_and_details() {
    for (kind, code) in [
        ("bad_request", 1),
        ("failed", 1),
        ("not_found", 4),
        ("rejected", 5),
        // By the socket for those who may only read.
        ("forbidden", 5),
    ] {
        let site = Site::new();
        let file = site.file("");
        let daemon = site.responds(&format!(
            r#"{{"response":"error","body":{{"kind":"{kind}","message":"no","details":["line 1","line 2"]}}}}"#
        ));
        site.run(&["config", "apply", &file]).is(code, "", "error: no\n  line 1\n  line 2\n");
        daemon.join().unwrap();
    }
}

#[test]
fn control_characters_of_a_daemon_are_replaced() {
    let site = Site::new();
    let refusal = r#"{"response":"error","body":{"kind":"rejected","message":"a\u001b[2Jb",
        "details":["c\u009b2Kd\r"]}}"#
        .replace('\n', "");
    let daemon = site.responds(&refusal);
    site.run(&["config", "reload"]).is(5, "", "error: a?[2Jb\n  c?2Kd?\n");
    daemon.join().unwrap();
    let site = Site::new();
    let greeting = GREETING.replace("0.1.0", "\\u001b]0;title\\u0007").replace(":7}", ":9}");
    let daemon = site.daemon(&greeting, drop);
    let ran = site.run(&["status"]);
    assert!(!ran.stderr.contains('\x1b') && ran.stderr.contains("release ?]0;title?"), "{ran:?}");
    daemon.join().unwrap();
}

#[test]
fn usage_is_code_2() {
    let site = Site::new();
    for (arguments, message) in [
        (&[][..], "Usage: guidewayctl"),
        (&["config"], "Usage: guidewayctl config"),
        (&["config", "check"], "<FILE>"),
        (&["reboot"], "unrecognized subcommand 'reboot'"),
        (&["status", "-o", "xml"], "[possible values: table, json, jsonl]"),
        (&["status", "--timeout", "0"], "0 is not in 1..=3600"),
        (
            &["flow", "list", "--state", "open"],
            "syn, unconfirmed, established, half_closed, closing, reset, udp",
        ),
        (&["flow", "list", "--flow", "tcp,here,there"], "here is not ADDRESS:PORT"),
        (&["flow", "list", "--limit", "10001"], "from 1 to 10000"),
        (&["log", "level", "loud"], "[possible values: off, error, warn, info, debug]"),
        (&["log", "level", "--reason", "x"], "<LEVEL>"),
        (&["status", "-j", "-o", "table"], "cannot be used with"),
        (&["backend", "drain"], "<TARGET|--address <ADDRESS>>"),
        (&["backend", "drain", "web", "--address", "10.0.0.5"], "cannot be used with"),
        (&["backend", "drain", "/b1"], "POOL/NAME or POOL is needed"),
        (&["backend", "drain", "web", "--for", "10"], "for example 30s, 10m, 2h or 1d"),
        (
            &["backend", "drain", "web", "--source", "file"],
            "[possible values: operator, controller]",
        ),
        (
            &["backend", "enable", "web", "--source", "controller"],
            "a controller unsets its state: guidewayctl backend state TARGET unset --source controller",
        ),
        (&["backend", "weight", "web/b1"], "a weight is missing"),
        (&["backend", "weight", "web/b1", "1000001"], "a weight from 0 to 1000000 or unset"),
        (
            &["backend", "weight", "--address", "10.0.0.5", "x"],
            "a weight from 0 to 1000000 or unset",
        ),
        (&["backend", "weight", "--address", "10.0.0.5", "1", "2"], "one word is too much"),
        (&["backend", "state"], "TARGET"),
        (&["backend", "state", "web/"], "POOL/NAME or POOL is needed"),
        (
            &["backend", "state", "web", "up"],
            "[possible values: active, draining, disabled, down, unset]",
        ),
        (
            &["backend", "state", "--address", "10.0.0.5", "up"],
            "up is not a state; use active, draining",
        ),
        (&["backend", "state", "web", "--reason", "x"], "need a state to set"),
        (&["backend", "state", "web", "unset", "--for", "1d"], "--for is for what is set"),
        (&["backend", "state", "web", "down", "--watch"], "--watch is for a state that is shown"),
    ] {
        let ran = site.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn a_daemon_that_is_not_there_is_code_3() {
    let site = Site::new();
    let socket = site.socket();
    let at = socket.display();
    site.run(&["status"]).is(
        3,
        "",
        &format!(
            "error: cannot reach guideway at {at}: No such file or directory (os error 2); \
             is it running?\n"
        ),
    );
    drop(UnixListener::bind(&socket).unwrap());
    site.run(&["status"]).is(
        3,
        "",
        &format!(
            "error: cannot reach guideway at {at}: Connection refused (os error 111); \
             is it running?\n"
        ),
    );
    // The option overrides the environment.
    let ran = site.run(&["--socket", "/nowhere/socket", "status"]);
    assert!(ran.code == 3 && ran.stderr.contains("/nowhere/socket"), "{ran:?}");
}

#[test]
fn a_daemon_that_hangs_is_an_error_after_the_timeout() {
    let site = Site::new();
    // This daemon neither accepts nor sends a greeting.
    let listener = UnixListener::bind(site.socket()).unwrap();
    let ran = site.run(&["--timeout", "1", "status"]);
    assert!(ran.code == 3 && ran.stderr.contains("nothing received within 1 s"), "{ran:?}");
    drop(listener);

    // This daemon reads the request, so the request may have been carried out.
    let site = Site::new();
    let daemon = site.daemon(GREETING, |mut stream| {
        let mut rest = String::new();
        stream.read_line(&mut rest).unwrap();
        stream.read_line(&mut rest).unwrap();
    });
    site.run(&["--timeout", "1", "config", "reload"]).is(
        1,
        "",
        "error: no response from the daemon: nothing received within 1 s; the request may have been \
         carried out\n",
    );
    daemon.join().unwrap();
}

#[test]
fn a_closed_connection_is_an_error() {
    let site = Site::new();
    let daemon = site.daemon(GREETING, |mut stream| {
        stream.read_line(&mut String::new()).unwrap();
    });
    site.run(&["config", "reload"]).is(
        1,
        "",
        "error: no response from the daemon: it closed the connection; the request may have been \
         carried out\n",
    );
    daemon.join().unwrap();
}

#[test]
fn a_refusal_before_the_request_is_shown() {
    // A daemon with too many connections sends an error and closes, without reading a request.
    let site = Site::new();
    let file = site.file("x".repeat(1_000_000));
    let refusal = r#"{"response":"error","body":{"kind":"failed","message":"there are 64"}}"#;
    let daemon = site.daemon(&format!("{GREETING}\n{refusal}"), drop);
    site.run(&["config", "check", &file]).is(1, "", "error: there are 64\n");
    daemon.join().unwrap();
}

#[test]
fn another_protocol_is_refused() {
    for protocol in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1] {
        let site = Site::new();
        let greeting =
            format!(r#"{{"server":"guideway","version":"9.0.0","protocol":{protocol}}}"#);
        let daemon =
            site.daemon(&greeting, |mut stream| stream.read_line(&mut String::new()).unwrap());
        site.run(&["config", "reload"]).is(
            1,
            "",
            &format!(
                "error: the daemon (release 9.0.0) speaks protocol {protocol}, this program (release {}) \
                 {PROTOCOL_VERSION}; use programs of one release, or restart the daemon if it has been upgraded \
                 since its start\n",
                env!("CARGO_PKG_VERSION")
            ),
        );
        assert_eq!(daemon.join().unwrap(), 0, "no request is sent");
    }

    for greeting in ["220 mail.example ESMTP", r#"{"server":"other","version":"1","protocol":7}"#] {
        let site = Site::new();
        let daemon = site.daemon(greeting, drop);
        let ran = site.run(&["status"]);
        assert!(ran.code == 1 && ran.stderr.contains("is not guideway; is the path"), "{ran:?}");
        daemon.join().unwrap();
    }
}

#[test]
fn invalid_responses_are_errors() {
    for (response, message) in [
        (r#"{"response":"workers","body":[]}"#, "it is to another request"),
        (r#"{"response":"weather","body":[]}"#, "unknown variant `weather`"),
        ("what?", "expected value"),
    ] {
        let site = Site::new();
        let daemon = site.responds(response);
        let ran = site.run(&["status"]);
        assert!(ran.code == 1 && ran.stderr.contains(message), "{ran:?}");
        daemon.join().unwrap();
    }
}

#[test]
fn files_that_cannot_be_sent_are_refused_by_the_client() {
    // There is no daemon, and none is needed.
    let site = Site::new();
    site.run(&["config", "check", "/nowhere/file"]).is(
        1,
        "",
        "error: cannot read /nowhere/file: No such file or directory (os error 2)\n",
    );
    let ran = site.run(&["config", "apply", "/"]);
    assert!(ran.code == 1 && ran.stderr.starts_with("error: cannot read /: "), "{ran:?}");
    let file = site.file(b"a\nb\xff\n");
    site.run(&["config", "check", &file]).is(
        1,
        "",
        &format!("error: {file}: line 2 is not UTF-8\n"),
    );
    site.run(&["config", "check", "/dev/zero"]).is(
        1,
        "",
        "error: /dev/zero is too long: a configuration has at most 16777216 bytes\n",
    );

    // JSON's escapes make this request too long: the client connects, but sends no request.
    let file = site.file("\u{1}".repeat(6_000_000));
    let daemon = site.daemon(GREETING, |mut stream| stream.read_line(&mut String::new()).unwrap());
    let ran = site.run(&["config", "check", &file]);
    assert!(ran.code == 1 && ran.stderr.contains("are there control characters"), "{ran:?}");
    assert_eq!(daemon.join().unwrap(), 0);
}

#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    let site = Site::new();
    let daemon = site.responds(r#"{"response":"workers","body":[]}"#);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = site.command(&["worker", "list"]).stdout(full).output().unwrap();
    let ran = Ran::from(output);
    assert!(ran.code == 1 && ran.stderr.contains("cannot write the result"), "{ran:?}");
    daemon.join().unwrap();

    let site = Site::new();
    let daemon = site.responds(r#"{"response":"workers","body":[]}"#);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Ran::from(site.command(&["worker", "list"]).stdout(writer).output().unwrap()).is(0, "", "");
    daemon.join().unwrap();
}

#[test]
fn keys_are_explained_without_a_daemon() {
    let site = Site::new();
    let done = site.command(&["config", "explain", "port.mtu"]).output().unwrap();
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("\nlimits   576 to 9216\n"), "{text}");
    let done = site.command(&["config", "explain", "prot.mtu"]).output().unwrap();
    assert_eq!(done.status.code(), Some(4));
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!(message, "error: no key is named prot.mtu; the nearest is port.mtu\n");
}

#[test]
fn completions_need_no_daemon() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = site.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("guidewayctl"), "{ran:?}");
        for word in ["neighbor_lost", "jsonl", "watch", "no-follow", "draining", "controller"] {
            assert!(ran.stdout.contains(word), "{shell}: {word}");
        }
    }
}
