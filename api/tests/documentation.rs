//! The documentation's table of events is that of the code.

use guideway_api::Happening;

#[test]
fn operations_has_every_kind_of_event() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let chapter = text.split("\n### Events of the daemon\n").nth(1).unwrap();
    let chapter = chapter.split("\n### ").next().unwrap();
    let rows = chapter.lines().filter(|line| line.starts_with("| `"));
    let expected = Happening::KINDS.iter().map(|(name, severity, meaning)| {
        let severity = serde_json::to_value(severity).unwrap();
        format!("| `{name}` | {} | {meaning} |", severity.as_str().unwrap())
    });
    let (rows, expected): (Vec<_>, Vec<_>) = (rows.collect(), expected.collect());
    assert_eq!(rows, expected, "the rows should be:\n{}", expected.join("\n"));
}
