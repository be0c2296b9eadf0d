//! `guidewayctl monitor`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use crate::site::{GREETING, Ran, Site};

fn events(lost: u64, events: &[&str], more: bool) -> String {
    let events = events.join(",");
    format!(r#"{{"response":"events","body":{{"lost":{lost},"events":[{events}],"more":{more}}}}}"#)
}

const DOWN: &str =
    r#"{"sequence":7,"time":"2026-01-02T03:04:05.678Z","event":"link_down","port":"edge0"}"#;
const UP: &str =
    r#"{"sequence":8,"time":"2026-01-02T03:04:06.000Z","event":"link_up","port":"edge0"}"#;

#[test]
fn each_command_is_its_request() {
    for (arguments, request) in [
        ("monitor", r#"{"request":"monitor","since":0,"follow":true}"#),
        ("m --since 1", r#"{"request":"monitor","since":1,"follow":true}"#),
        ("monitor --no-follow", r#"{"request":"monitor","follow":false}"#),
        ("monitor --no-follow --since 7", r#"{"request":"monitor","since":7,"follow":false}"#),
        (
            "monitor --kind link_up --kind link_down",
            r#"{"request":"monitor","since":0,"kinds":["link_up","link_down"],"follow":true}"#,
        ),
    ] {
        let site = Site::new();
        let daemon = site.responds(
            r#"{"response":"error","body":{"kind":"failed","message":"there are 32 already"}}"#,
        );
        let arguments: Vec<&str> = arguments.split(' ').collect();
        site.run(&arguments).is(1, "", "error: there are 32 already\n");
        assert_eq!(daemon.join().unwrap(), format!("{request}\n"), "{arguments:?}");
    }
    let site = Site::new();
    for (arguments, message) in [
        (&["monitor", "--since", "0"][..], "0 is not in 1.."),
        (&["monitor", "--kind", "link_dwn"], "link_down"),
        (&["monitor", "--watch"], "unexpected argument"),
    ] {
        let ran = site.run(arguments);
        assert!(ran.code == 2 && ran.stderr.contains(message), "{ran:?}");
    }
}

#[test]
fn events_are_printed_as_they_come_until_the_daemon_goes() {
    let site = Site::new();
    let (go_on, wait) = std::sync::mpsc::channel();
    let daemon = site.daemon(GREETING, move |mut stream| {
        stream.read_line(&mut String::new()).unwrap();
        for response in [events(0, &[DOWN], false), events(3, &[UP], false), events(1, &[], false)]
        {
            // More than the time limit of a response: none of them is late.
            thread::sleep(Duration::from_millis(1100));
            writeln!(stream.get_mut(), "{response}").unwrap();
            let () = wait.recv().unwrap();
        }
    });
    let mut child = site.spawn(&["--timeout", "1", "monitor"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for expected in [DOWN, UP] {
        assert_eq!(lines.next().unwrap().unwrap(), expected);
        go_on.send(()).unwrap();
    }
    go_on.send(()).unwrap();
    daemon.join().unwrap();
    assert!(lines.next().is_none());
    let socket = site.socket();
    Ran::from(child.wait_with_output().unwrap()).is(
        3,
        "",
        &format!(
            "note: lost 3 events\nnote: lost 1 event\nerror: the daemon at {} has gone, and no more \
             events come: it closed the connection\n",
            socket.display()
        ),
    );
}

#[test]
fn without_following_the_kept_events_are_all() {
    let site = Site::new();
    let (first, last) = (events(2, &[DOWN], true), events(0, &[UP], false));
    let daemon = site.responds(&format!("{first}\n{last}"));
    let lines = format!("{DOWN}\n{UP}\n");
    site.run(&["monitor", "--no-follow"]).is(0, &lines, "note: lost 2 events\n");
    daemon.join().unwrap();

    // The second response does not come.
    let site = Site::new();
    let daemon = site.responds(&first);
    let ran = site.run(&["monitor", "--no-follow"]);
    assert_eq!((ran.code, ran.stdout), (3, format!("{DOWN}\n")));
    daemon.join().unwrap();
}

#[test]
fn a_table_is_for_people() {
    let changed = r#"{"sequence":9,"time":"t\u001b[2J","event":"changed","uid":0,"pid":7,"process":"guidewayctl","request":"config_apply","before":"generation 3","after":"","outcome":"applied","reason":"say \"\u001b]0;x\u0007\u009b2J\" = no"}"#;
    let site = Site::new();
    let daemon = site.responds(&events(0, &[DOWN, changed], false));
    let text = concat!(
        "2026-01-02T03:04:05.678Z  link_down            port=edge0\n",
        "t?[2J  changed              uid=0 pid=7 process=guidewayctl request=config_apply ",
        r#"before="generation 3" after="" outcome=applied reason="say \"\u001b]0;x\u0007?2J\" = no""#,
        "\n",
    );
    site.run(&["monitor", "--no-follow", "-o", "table"]).is(0, text, "");
    daemon.join().unwrap();
    // A document each.
    let site = Site::new();
    let daemon = site.responds(&events(0, &[UP], false));
    let ran = site.run(&["monitor", "--no-follow", "-j"]);
    assert!(ran.code == 0 && ran.stdout.contains("\n  \"event\": \"link_up\",\n"), "{ran:?}");
    daemon.join().unwrap();
}

#[test]
fn a_reader_that_goes_ends_it_although_nothing_happens() {
    let site = Site::new();
    let daemon = site.daemon(GREETING, |mut stream| {
        stream.read_line(&mut String::new()).unwrap();
        writeln!(stream.get_mut(), "{}", events(0, &[DOWN], false)).unwrap();
        // Until the client closes the connection.
        stream.read_line(&mut String::new()).unwrap()
    });
    let mut child = site.spawn(&["monitor"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    let gone = Instant::now();
    drop(reader);
    Ran::from(child.wait_with_output().unwrap()).is(0, "", "");
    assert!(gone.elapsed() < Duration::from_secs(5));
    assert_eq!(daemon.join().unwrap(), 0);
}

#[test]
fn an_interrupt_is_quiet() {
    let site = Site::new();
    let daemon = site.daemon(GREETING, |mut stream| {
        stream.read_line(&mut String::new()).unwrap();
        writeln!(stream.get_mut(), "{}", events(0, &[DOWN], false)).unwrap();
        stream.read_line(&mut String::new()).unwrap()
    });
    let mut child = site.spawn(&["monitor"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status: ExitStatus = child.wait().unwrap();
    assert_eq!(status.signal(), Some(2), "a shell that runs a script must see the interrupt");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    daemon.join().unwrap();
}
