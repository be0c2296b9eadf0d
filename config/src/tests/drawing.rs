//! Mistakes as a terminal shows them.

use std::path::Path;

use super::mistakes::mistakes;
use super::{EXAMPLE, changed};
use crate::{draw, parse};

fn drawn(text: &str) -> String {
    let draw = |mistake| draw(mistake, text, Path::new("/etc/g.toml"), false, false);
    mistakes(text).iter().map(draw).collect()
}

#[test]
fn a_line_a_caret_and_what_would_be_right() {
    let text = changed(&[("eal_args = []", "[icmp]\nbrust = 1"), ("weight = 1 ", "weight = -1 ")]);
    let expected = r#"error: icmp.brust: unknown key
  --> /etc/g.toml:13:1
   |
13 | brust = 1
   | ^^^^^ the nearest known one is "burst"
   |
   = note: known here: rate, burst
error: pool[0].backends[0].weight: is the integer -1
  --> /etc/g.toml:30:60
   |
30 | backends = [ { name = "b1", address = "10.0.0.5", weight = -1 }, { name = "b2", address = "2001:db8:b::2" } ]
   |                                                            ^^ expected an integer from 0 to 1000000
"#;
    let found = drawn(&text);
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn files_are_named_and_syntax_is_drawn() {
    let text = format!("#: file g.toml\n{EXAMPLE}#: file conf.d/a.toml\nx = [1\n");
    let found = drawn(&text);
    assert!(found.contains("--> /etc/conf.d/a.toml:"), "{found}");
    let text = changed(&[("name = \"lb1\"", "name = lb1")]);
    assert!(drawn(&text).contains("2 | name = lb1\n"), "{}", drawn(&text));
}

#[test]
fn secrets_and_endless_lines_are_not_shown() {
    let text = changed(&[("0e0f\"", "0e\"")]);
    let found = drawn(&text);
    assert!(found.contains("hash.key: has 30 digits") && !found.contains("000102"), "{found}");
    let warning = parse(&changed(&[("000102030405060708090a0b0c0d0e0f", &"0".repeat(32))]));
    let warning = &warning.unwrap().warnings[0];
    let drawn_warning = draw(warning, EXAMPLE, Path::new("f"), true, false);
    assert!(drawn_warning.starts_with("warning: hash.key") && !drawn_warning.contains("00000"));
    let text = format!("x = \"{}\"", "a ".repeat(100_000));
    assert!(drawn(&text).len() < 10_000);
}
