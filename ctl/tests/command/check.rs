//! The commands about checks, which ask guideway-controller.

use crate::announce::run;
use crate::site::{CONTROLLER, Site};

const EMPTY: &str = r#"{"response":"checks","body":{"rows":[]}}"#;

/// A row of a backend.
fn row(pool: &str, backend: &str, state: &str) -> String {
    format!(
        concat!(
            r#"{{"check":"http","pool":"{}","backend":"{}","address":"10.0.0.5","via":"tunnel","#,
            r#""target":"203.0.113.10:80","state":"{}","since":"2026-01-02T03:04:05.678Z","against":0,"kept":false}}"#
        ),
        pool, backend, state
    )
}

fn list(rows: &[String]) -> String {
    format!(
        r#"{{"response":"checks","body":{{"frozen":"it is late","rows":[{}]}}}}"#,
        rows.join(",")
    )
}

fn ran(result: &str) -> String {
    format!(
        concat!(
            r#"{{"response":"check_ran","body":{{"check":"http","pool":"web","backend":"b1","#,
            r#""target":"203.0.113.10:80","via":"tunnel","#,
            r#""steps":[{{"step":"connect","at_us":400}}],"result":{{{},"latency_us":12345,"time":"t"}}}}}}"#
        ),
        result
    )
}

#[test]
fn each_command_is_its_request() {
    let details = format!(
        r#"{{"response":"check","body":{{"row":{},"pools":["web"],"results":[]}}}}"#,
        row("web", "b1", "up")
    );
    let well = ran(r#""code":"L4OK""#);
    for (arguments, request, response) in [
        ("check list", r#"{"request":"check_list"}"#, Some(EMPTY)),
        ("ch l --state down", r#"{"request":"check_list"}"#, Some(EMPTY)),
        (
            "check show http/b1",
            r#"{"request":"check_show","check":"http","backend":"b1"}"#,
            Some(&*details),
        ),
        (
            "ch sh http/2001:db8::5 --pool web",
            r#"{"request":"check_show","check":"http","backend":"2001:db8::5","pool":"web"}"#,
            Some(&details),
        ),
        (
            "check run http/b/1",
            r#"{"request":"check_run","check":"http","backend":"b/1"}"#,
            Some(&well),
        ),
        (
            "check run --pool=web http/b1",
            r#"{"request":"check_run","check":"http","backend":"b1","pool":"web"}"#,
            None,
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
fn lists_are_narrowed() {
    let rows = [row("web", "b1", "up"), row("web", "b2", "down"), row("api", "b1", "down")];
    for (arguments, backends) in [
        ("check list -o jsonl", &["web/b1", "web/b2", "api/b1"][..]),
        ("check list -o jsonl --pool web", &["web/b1", "web/b2"]),
        ("check list -o jsonl --state down", &["web/b2", "api/b1"]),
        ("check list -o jsonl --pool web --state down", &["web/b2"]),
        ("check list -o jsonl --pool web --state unknown", &[]),
    ] {
        let site = Site::new();
        let daemon = site.responds_as(CONTROLLER, &list(&rows));
        let ran = run(&site, &arguments.split_whitespace().collect::<Vec<_>>());
        let note = "warning: states do not follow the results: it is late\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (0, note));
        let shown = ran.stdout.lines().map(|line| {
            let row: guideway_api::CheckRow = serde_json::from_str(line).unwrap();
            format!("{}/{}", row.pool, row.backend)
        });
        assert_eq!(shown.collect::<Vec<_>>(), backends, "{arguments}");
        daemon.join().unwrap();
    }
    let site = Site::new();
    let daemon = site.responds_as(CONTROLLER, &list(&rows));
    let ran = run(&site, &["check", "list", "--pool", "wep"]);
    ran.is(4, "", "error: no check has a backend in a pool named wep\n");
    daemon.join().unwrap();
}

/// A script can ask `guidewayctl check run` whether a backend works.
#[test]
fn a_probe_that_fails_is_an_error_behind_its_steps() {
    for (result, code, end, stderr) in [
        (r#""code":"L7OK","status":200"#, 0, "L7OK     12.3 ms  status 200\n", ""),
        (r#""code":"L7OKC","status":404"#, 0, "L7OKC    12.3 ms  status 404\n", ""),
        (
            r#""code":"L7STS","status":503,"detail":"not expected""#,
            1,
            "L7STS    12.3 ms  status 503: not expected\n",
            "error: the probe failed: L7STS 503 in 12 ms: not expected\n",
        ),
        (
            r#""code":"SOCKERR","detail":"no port is free""#,
            1,
            "SOCKERR  12.3 ms  no port is free\n",
            "error: the probe failed: SOCKERR in 12 ms: no port is free\n",
        ),
    ] {
        let site = Site::new();
        let daemon = site.responds_as(CONTROLLER, &ran(result));
        let ran = run(&site, &["check", "run", "http/b1"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (code, stderr));
        assert!(ran.stdout.starts_with("probe     0.0 ms  http/b1 of pool web"), "{ran:?}");
        assert!(ran.stdout.ends_with(end), "{ran:?}");
        daemon.join().unwrap();
    }
    // Programs read it all from stdout.
    let site = Site::new();
    let daemon = site.responds_as(CONTROLLER, &ran(r#""code":"L4CON""#));
    let ran = run(&site, &["check", "run", "http/b1", "-j"]);
    let body: guideway_api::CheckRun = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, body.result.code), (1, guideway_api::CheckCode::L4Con));
    daemon.join().unwrap();
}

#[test]
fn refusals_have_their_exit_codes() {
    for (kind, code) in [("not_found", 4), ("forbidden", 5), ("failed", 1)] {
        let site = Site::new();
        let refusal = format!(
            r#"{{"response":"error","body":{{"kind":"{kind}","message":"no check is named htp"}}}}"#
        );
        let daemon = site.responds_as(CONTROLLER, &refusal);
        run(&site, &["check", "run", "htp/b1"]).is(code, "", "error: no check is named htp\n");
        daemon.join().unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_usage() {
    let site = Site::new();
    for (arguments, message) in [
        (&["check", "show"][..], "<CHECK/BACKEND>"),
        (&["check", "show", "http"], "CHECK/BACKEND is needed, for example http/b1"),
        (&["check", "run", "http/"], "CHECK/BACKEND is needed"),
        (&["check", "run", "http/b1", "--watch"], "unexpected argument"),
        (&["check", "list", "--state", "dead"], "possible values: unknown, up, draining, down"),
        (
            &["ch", "run", "http/b1"],
            "this changes something, so write it out: guidewayctl check run",
        ),
    ] {
        let ran = run(&site, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn completions_know_checks() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = site.run(&["completions", shell]);
        for word in ["unknown", "pool_panic", "Probe a backend once"] {
            // bash shows no help.
            let is_shown =
                ran.stdout.contains(word) || (shell, word.contains(' ')) == ("bash", true);
            assert!(is_shown, "{shell}: {word}");
        }
    }
}
