//! `--watch`.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::site::{Site, Terminal};

fn service(name: &str, packets: u64) -> String {
    format!(
        r#"{{"name":"{name}","address":"203.0.113.10","protocol":"tcp","port":80,"pool":"web","backends":2,"serves":true,"traffic":{{"packets":{packets},"bytes":0,"flows":1}}}}"#
    )
}

fn services(services: &[(&str, u64)]) -> String {
    let services: Vec<String> =
        services.iter().map(|&(name, count)| service(name, count)).collect();
    format!(r#"{{"response":"services","body":[{}]}}"#, services.join(","))
}

/// Reads lines of stdout up to an empty one, or as many as `count`.
fn table(reader: &mut impl BufRead, count: usize) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    while rows.len() < count {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "stdout ended after {rows:?}");
        if line.trim().is_empty() {
            assert!(rows.is_empty(), "a table is in one piece: {rows:?}");
            continue;
        }
        rows.push(line.split_whitespace().map(String::from).collect());
    }
    rows
}

/// Closes stdout, which ends the command, and returns its stderr.
fn close(mut child: Child, reader: impl Read) -> String {
    drop(reader);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{stderr}");
    stderr
}

#[test]
fn tables_follow_each_other_with_rates_by_name() {
    let site = Site::new();
    let daemon = site.serves(vec![vec![
        services(&[("web", 1000), ("dns", 50)]),
        // They change places, and one came.
        services(&[("new", 7), ("dns", 50), ("web", 3000)]),
        // The counter of web began anew.
        services(&[("dns", 60), ("web", 5)]),
        services(&[("dns", 60), ("web", 5)]),
    ]]);
    let mut child = site.spawn(&["service", "list", "--watch=0.2"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let header = "NAME ADDRESS PROTOCOL PORT POOL BACKENDS LIVE FLOWS FLOWS/S PACKETS PACKETS/S BYTES BYTES/S SERVES";
    let of = |rows: &[Vec<String>], row: usize| {
        (rows[row][0].clone(), rows[row][9].clone(), rows[row][10].clone())
    };
    let row = |name: &str, count: &str, rate: &str| (name.into(), count.into(), rate.into());

    let first = table(&mut reader, 3);
    assert_eq!(first[0].join(" "), header);
    assert_eq!(of(&first, 1), row("web", "1000", "-"));
    let second = table(&mut reader, 4);
    assert_eq!(second[0].join(" "), header);
    assert_eq!(of(&second, 1), row("new", "7", "-"));
    assert_eq!(of(&second, 2), row("dns", "50", "0"));
    let rate: f64 = second[3][10].parse().unwrap();
    assert!(rate > 100.0, "2000 packets in about 0.2 s: {rate}");
    let third = table(&mut reader, 3);
    let rate: f64 = third[1][10].parse().unwrap();
    assert!(rate > 0.5, "10 packets in about 0.2 s: {rate}");
    assert_eq!(of(&third, 2), row("web", "5", "-"));
    let fourth = table(&mut reader, 3);
    assert_eq!(of(&fourth, 2), row("web", "5", "0"));
    assert_eq!(close(child, reader), "");
    let requests = daemon.join().unwrap();
    assert_eq!(requests, vec!["{\"request\":\"service_list\"}\n"; 4], "over one connection");
}

#[test]
fn json_has_the_time_and_raw_counters() {
    let look = |arguments: &[&str], response: &str| {
        let site = Site::new();
        let daemon = site.serves(vec![vec![response.to_owned(); 2]]);
        let mut child = site.spawn(arguments);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        // The daemon ends after two responses.
        daemon.join().unwrap();
        while serde_json::Deserializer::from_str(&text).into_iter::<Value>().flatten().count() < 2 {
            assert!(reader.read_line(&mut text).unwrap() > 0);
        }
        close(child, reader);
        text
    };
    let list = services(&[("web", 1000), ("dns", 50)]);
    let text = look(&["service", "list", "--watch=0.1", "-j"], &list);
    assert!(text.starts_with("{\n  \"time\": \"20"), "{text}");
    let first = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next();
    let first = first.unwrap().unwrap();
    assert_eq!(first["services"][1]["traffic"]["packets"], 50);
    assert_eq!(first["services"][1].as_object().unwrap().len(), 8, "no rates");

    let text = look(&["service", "list", "--watch=0.1", "-o", "jsonl"], &list);
    let names: Vec<String> = text
        .lines()
        .map(|line| {
            assert!(
                line.starts_with(r#"{"time":"20"#) && line[9..].contains(r#"Z","name":"#),
                "{line}"
            );
            serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().into()
        })
        .collect();
    assert_eq!(names[..2], ["web", "dns"]);

    let stats = r#"{"response":"stats","body":{"received":9,"transmitted":9,"verdicts":{"forwarded":9},"events":{}}}"#;
    let text = look(&["stats", "--watch=0.1", "-o", "jsonl"], stats);
    let line = text.lines().next().unwrap();
    assert!(
        line.ends_with(
            r#"Z","received":9,"transmitted":9,"verdicts":{"forwarded":9},"events":{}}"#
        ),
        "{line}"
    );
}

#[test]
fn a_daemon_that_goes_is_waited_for() {
    let site = Site::new();
    let daemon = site.serves(vec![vec![services(&[("web", 1000)])]]);
    let mut child = site.spawn(&["service", "list", "--watch=0.1"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    table(&mut reader, 2);
    daemon.join().unwrap();
    let mut note = String::new();
    stderr.read_line(&mut note).unwrap();
    // How the client notices depends on whether it was about to send.
    assert!(note.starts_with("note: the daemon has gone ("), "{note}");
    assert!(note.ends_with("); waiting for it\n"), "{note}");
    std::fs::remove_file(site.socket()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let daemon = site.serves(vec![vec![services(&[("web", 1)]), services(&[("web", 1)])]]);
    let after = table(&mut reader, 2);
    assert_eq!((after[1][9].as_str(), after[1][10].as_str()), ("1", "-"));
    let mut note = String::new();
    stderr.read_line(&mut note).unwrap();
    assert_eq!(note, "note: the daemon is back\n");
    table(&mut reader, 2);
    drop((reader, stderr));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    daemon.join().unwrap();
}

#[test]
fn a_connection_that_another_client_needed_is_made_again_in_silence() {
    let site = Site::new();
    let one = || vec![services(&[("web", 1000)])];
    let daemon = site.serves(vec![one(), one(), one()]);
    let mut child = site.spawn(&["service", "list", "--watch=0.1"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    table(&mut reader, 2);
    for _ in 0..2 {
        let rows = table(&mut reader, 2);
        assert_eq!(
            (rows[1][9].as_str(), rows[1][10].as_str()),
            ("1000", "0"),
            "it is the same daemon"
        );
    }
    assert_eq!(close(child, reader), "");
    daemon.join().unwrap();
}

#[test]
fn a_refusal_ends_the_first_look_only() {
    let refusal = r#"{"response":"error","body":{"kind":"not_found","message":"no such backend"}}"#;
    let site = Site::new();
    let daemon = site.responds(refusal);
    site.run(&["route", "show", "b1", "--watch"]).is(4, "", "error: no such backend\n");
    daemon.join().unwrap();

    let backends = |pool: &str| {
        format!(
            r#"{{"response":"backends","body":[{{"pool":"{pool}","name":"b1","address":"10.0.0.5","weight":1,"state":"active","since":"2026-01-02T03:04:05.678Z","source":"file","encapsulation":null,"encapsulation_choice":null,"share":1.0,"next_hop":{{"state":"no_mac","port":"edge0","address":"10.0.0.9"}},"traffic":{{"packets":1,"bytes":2,"flows":3}}}}]}}"#
        )
    };
    let site = Site::new();
    let looks = ["web", "dns", "web"].map(backends);
    let failed = r#"{"response":"error","body":{"kind":"failed","message":"not now"}}"#;
    let daemon = site.serves(vec![vec![
        looks[0].clone(),
        looks[1].clone(),
        failed.to_owned(),
        looks[2].clone(),
    ]]);
    let mut child = site.spawn(&["backend", "list", "--pool", "web", "--watch=0.1"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    table(&mut reader, 2);
    table(&mut reader, 2);
    let stderr = close(child, reader);
    assert_eq!(stderr, "error: no backend is in a pool named web\nerror: not now\n");
    daemon.join().unwrap();
}

#[test]
fn only_what_reads_is_watched_and_no_daemon_is_an_error() {
    let site = Site::new();
    let ran = site.run(&["status", "--watch"]);
    assert!(ran.code == 3 && ran.stderr.contains("is it running?"), "{ran:?}");
    for (arguments, message) in [
        (&["config", "show", "--watch"][..], "unexpected argument '--watch'"),
        (&["config", "reload", "--watch"], "unexpected argument '--watch'"),
        (&["backend", "drain", "web", "--watch"], "unexpected argument '--watch'"),
        (&["status", "--watch=0.09"], "from 0.1 to 3600"),
        (&["status", "--watch=3601"], "from 0.1 to 3600"),
        (&["status", "--watch", "5"], "unexpected argument '5'"),
    ] {
        let ran = site.run(arguments);
        assert!(ran.code == 2 && ran.stderr.contains(message), "{arguments:?}: {ran:?}");
    }
    for arguments in [
        "status",
        "stats",
        "port stats",
        "route show b1",
        "service list",
        "backend list",
        "backend state web/b1",
        "worker list",
        "port list",
        "interface list",
        "neighbor list",
        "punt list",
        "flow list",
    ] {
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        arguments.push("--watch=1");
        assert_eq!(site.run(&arguments).code, 3, "{arguments:?}");
    }
}

#[test]
fn a_terminal_is_cleared_and_has_a_header() {
    let site = Site::new();
    let daemon = site.serves(vec![vec![services(&[("web", 1000)]), services(&[("web", 1000)])]]);
    let mut command = site.command(&["se", "l", "--watch=0.1"]);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let shown = Terminal::new().shows(command, Some("  0        0  yes\r\n"));
    daemon.join().unwrap();
    let pictures: Vec<&str> = shown.split("\x1b[H\x1b[J").collect();
    assert_eq!((pictures.len(), pictures[0]), (3, ""), "{shown:?}");
    for picture in &pictures[1..] {
        let lines: Vec<&str> = picture.lines().collect();
        assert!(lines[0].starts_with("20"), "{picture}");
        assert!(
            lines[0].ends_with("Z  every 0.1 s: guidewayctl service list --watch=0.1"),
            "{picture}"
        );
        assert!(lines[1].is_empty() && lines[2].starts_with("NAME  ADDRESS"), "{picture}");
        assert!(!picture.contains('\x1b'), "NO_COLOR: {picture:?}");
    }

    // A dumb terminal cannot be cleared.
    let site = Site::new();
    let daemon = site.serves(vec![vec![services(&[("web", 1000)]), services(&[("web", 1000)])]]);
    let mut command = site.command(&["service", "list", "--watch=0.1"]);
    command.env("TERM", "dumb").env_remove("NO_COLOR");
    let shown = Terminal::new().shows(command, Some("  0        0  yes\r\n"));
    daemon.join().unwrap();
    assert!(shown.starts_with("NAME  ADDRESS") && !shown.contains('\x1b'), "{shown:?}");
    assert_eq!(shown.matches("\n\nNAME").count(), 1, "{shown:?}");
}

#[test]
fn a_long_table_is_cut_to_the_terminal() {
    let names: Vec<String> = (0..100).map(|index| format!("s{index:02}")).collect();
    let long: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let site = Site::new();
    let daemon = site.serves(vec![vec![services(&long)]]);
    let mut command = site.command(&["service", "list", "--watch=0.1"]);
    command.env("TERM", "xterm");
    let shown = Terminal::new().shows(command, Some("more lines)\r\n"));
    daemon.join().unwrap();
    assert_eq!(shown.lines().count(), 23, "{shown}");
    assert!(shown.ends_with("(81 more lines)\n"), "{shown}");
}
