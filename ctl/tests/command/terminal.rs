//! Colours and control characters on a terminal.

use crate::site::{Site, Terminal};

const BACKENDS: &str = r#"{"response":"backends","body":[{"pool":"web","name":"b\u001b[31m1","address":"10.0.0.5","weight":1,"state":"active","since":"2026-01-02T03:04:05.678Z","source":"file","encapsulation":null,"encapsulation_choice":null,"share":1.0,"next_hop":{"state":"no_mac","port":"edge0","address":"10.0.0.9"},"traffic":{"packets":1,"bytes":2,"flows":3}},{"pool":"web","name":"b2","address":"10.0.0.6","weight":0,"state":"draining","since":"2026-01-02T03:04:05.678Z","source":"operator","reason":"a\u009b2Jdisk","encapsulation":null,"encapsulation_choice":null,"share":0.0,"next_hop":{"state":"no_mac","port":"edge0","address":"10.0.0.9"},"traffic":{"packets":1,"bytes":2,"flows":3}},{"pool":"web","name":"b3","address":"10.0.0.7","weight":1,"state":"unresolved","since":"2026-01-02T03:04:05.678Z","source":"file","encapsulation":null,"encapsulation_choice":null,"share":0.0,"next_hop":{"state":"unreachable","reason":"not_a_port","interface":"e\u009b2Jth"},"traffic":{"packets":1,"bytes":2,"flows":3}}]}"#;

fn shown(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let site = Site::new();
    let daemon = site.responds(BACKENDS);
    let mut command = site.command(arguments);
    command.env("TERM", "xterm").env_remove("NO_COLOR").envs(environment.iter().copied());
    let shown = Terminal::new().shows(command, None);
    daemon.join().unwrap();
    shown
}

/// Removes the colours that this program uses.
fn colourless(text: &str) -> String {
    let colours = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];
    colours.iter().fold(text.to_owned(), |text, colour| text.replace(colour, ""))
}

#[test]
fn colours_are_for_terminals_only() {
    let site = Site::new();
    let daemon = site.responds(BACKENDS);
    let piped = site.run(&["backend", "list"]);
    daemon.join().unwrap();
    assert!(!piped.stdout.contains('\x1b') && piped.code == 0, "{piped:?}");

    let coloured = shown(&["backend", "list"], &[]);
    for painted in [
        "\x1b[1mPOOL\x1b[0m",
        "\x1b[32mactive\x1b[0m",
        "\x1b[33mdraining\x1b[0m",
        "\x1b[31munresolved\x1b[0m",
    ] {
        assert!(coloured.contains(painted), "{painted:?} in {coloured:?}");
    }
    assert_eq!(colourless(&coloured), piped.stdout, "the same columns, and a name has no colour");
    assert!(
        coloured.contains("b?[31m1")
            && coloured.contains("e?2Jth")
            && coloured.contains("a?2Jdisk"),
        "{coloured:?}"
    );
    assert_eq!(shown(&["backend", "list"], &[("NO_COLOR", "")]), coloured, "an empty one is none");

    for plain in [[("NO_COLOR", "1")], [("NO_COLOR", "0")], [("TERM", "dumb")]] {
        assert_eq!(shown(&["backend", "list"], &plain), piped.stdout, "{plain:?}");
    }
}

#[test]
fn json_has_no_colours_and_no_control_characters() {
    for output in ["json", "jsonl"] {
        let text = shown(&["backend", "list", "-o", output], &[]);
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(text.contains("e\\u009b2Jth") && text.contains("b\\u001b[31m1"), "{text}");
    }
}

#[test]
fn an_event_has_the_colour_of_its_severity() {
    let events = r#"{"response":"events","body":{"lost":0,"events":[{"sequence":1,"time":"t","event":"link_up","port":"a"},{"sequence":2,"time":"t","event":"link_down","port":"\u001b[32ma"},{"sequence":3,"time":"t","event":"generation_late","generation":4}],"more":false}}"#;
    let site = Site::new();
    let daemon = site.responds(events);
    let mut command = site.command(&["monitor", "--no-follow", "-o", "table"]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let shown = Terminal::new().shows(command, None);
    daemon.join().unwrap();
    let expected = "\
t  \x1b[32mlink_up\x1b[0m              port=a
t  \x1b[33mlink_down\x1b[0m            port=\"\\u001b[32ma\"
t  \x1b[31mgeneration_late\x1b[0m      generation=4
";
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn a_configuration_loses_control_characters_on_a_terminal_only() {
    let response = r##"{"response":"config","body":{"text":"# \u001b[2J\n","generation":5}}"##;
    let site = Site::new();
    let daemon = site.responds(response);
    site.run(&["config", "show"]).is(0, "# \x1b[2J\n", "");
    daemon.join().unwrap();
    let site = Site::new();
    let daemon = site.responds(response);
    assert_eq!(Terminal::new().shows(site.command(&["config", "show"]), None), "# ?[2J\n");
    daemon.join().unwrap();
}
