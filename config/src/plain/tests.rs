//! What this reader accepts is what the `toml` crate reads, with the same positions.

use proptest::prelude::*;
use toml::de::DeTable;

use super::*;

/// The tree of the crate, if it finds no mistake.
fn by_crate(text: &str) -> Option<Table<'_>> {
    DeTable::parse(text).ok().map(|tree| Table::of_crate(tree.into_inner(), 0))
}

/// Whether this reader accepts a text. If it does, the crate has the same tree.
#[track_caller]
fn is_plain(text: &str) -> bool {
    let Some(tree) = tree(text, 0) else { return false };
    assert_eq!(Some(tree), by_crate(text), "{text}");
    true
}

#[test]
fn what_configurations_consist_of_is_plain() {
    let plain = [
        "",
        "\n\n  \n",
        "# a comment",
        "a = 1 # a comment: \"é\" ]",
        "a=1#b\n\tb\t=\t2\t\n",
        "a = true\nb = false\nc = 0\nd = 4294967296123456789012345",
        "a = \"\"\nb = ''\nc = \"it's [#] é\tx\"\nd = 'a\\b\"c'",
        "1-_a = 1",
        "a = []\nb = [ 1 , 2 ,]\nc = [\n# comment\n1, # another\n\n2\n]\nd=[[1,2],[]]",
        "a = {}\nb = { c = 1, d = [ { e = 'f' } ], }\ng = {\n h = 1,\n}\n",
        "a = 1\n[b]\nc = 2\n[b.d] # comment\ne = 3\n[f.g.h]\n[f.i]\n",
        "[[a]]\nb = 1\n[[a]]\n[[a.c]]\nd = 1\n[[a.c]]\n[a.e]\nf = 2\n[[a]]\n[[a.c]]\n",
        "[a]\n[[a.b]]\n[[a.b.c]]\n[a.b.d]",
    ];
    for text in plain {
        assert!(is_plain(text), "{text}");
        assert!(is_plain(&text.replace('\n', "\n# more\n")), "{text}");
    }
}

#[test]
fn all_else_is_left_to_the_crate() {
    let other = [
        // Valid.
        "a.b = 1",
        "\"a\" = 1",
        "a = -1",
        "a = 1_000",
        "a = 0x1f",
        "a = 1.5",
        "a = 1979-05-27",
        "a = inf",
        "a = \"\\n\"",
        "a = \"\"\"b\"\"\"",
        "a = ''''''",
        "a = 1\r\nb = 2",
        "\u{feff}a = 1",
        "[ a ]",
        "[a.b]\n[a]\n",
        "a = [[[[[[[[[1]]]]]]]]]",
        // Mistakes.
        "a",
        "a =",
        "= 1",
        "a = 1 2",
        "a = 1 b = 2",
        "a = 01",
        "a = 1]",
        "a = truex",
        "a = \"b",
        "a = \"b\nc\"",
        "a = 'b\u{7}'",
        "a = \"\u{7f}\"",
        "# \u{1}",
        "a = [1 2]",
        "a = [,]",
        "a = [1",
        "a = [1,,2]",
        "a = { b = 1 c = 2 }",
        "a = { b }",
        "a = {,}",
        "a = { b = 1",
        "a = 1\na = 2",
        "a = { b = 1, b = 2 }",
        "[a",
        "[a]]",
        "[[a]",
        "[]",
        "[a.]",
        "[.a]",
        "[a]b = 1",
        "[a]\n[a]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "a = []\n[[a]]",
        "a = [{}]\n[[a]]",
        "a = [{}]\n[a.b]",
        "a = {}\n[a.b]",
        "a = 1\n[a.b]",
        "[a]\nb = 1\n[a.b]",
        "[[a]]\nb = [{}]\n[[a.b]]",
    ];
    for text in other {
        assert!(tree(text, 0).is_none(), "{text}");
    }
}

#[test]
fn the_number_of_entries_is_limited() {
    for (line, end) in [("k# = 1\n", ""), ("[k#]\n", ""), ("[k#.a]\n", ""), ("k# = 1, ", " }")] {
        let text = |count: usize| {
            let lines: String = (0..count).map(|n| line.replace('#', &n.to_string())).collect();
            if end.is_empty() { lines } else { format!("a = {{ {lines}{end}") }
        };
        assert!(is_plain(&text(ENTRIES - 1)), "{line}");
        assert!(tree(&text(ENTRIES + 2), 0).is_none(), "{line}");
    }
    // Of elements there is no limit.
    assert!(is_plain(&format!("a = [{}]", "{ b = 1 },\n".repeat(10_000))));
    assert!(is_plain(&"[[a]]\n[[a.b]]\nc = 1\n".repeat(10_000)));
}

#[test]
fn positions_are_those_of_the_whole_text() {
    let text = "a = { b = [1] }\n[c]\n[[d]]\n[c.e.f]\n";
    let moved = |at: usize| at + 1000;
    assert_eq!(tree(text, moved(0)), {
        let tree = DeTable::parse(text).unwrap().into_inner();
        Some(Table::of_crate(tree, moved(0)))
    });
}

/// A value; most are valid.
fn value() -> impl Strategy<Value = String> {
    let scalar = proptest::sample::select(
        &[
            "1", "0", "80", "007", "true", "false", "\"x\"", "''", "'a b'", "\"é#\"", "-1", "1.5",
            "x", "\"\\t\"",
        ][..],
    );
    scalar.prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
        let space = proptest::sample::select(&["", " ", "\n", " # c\n "][..]);
        let array = (proptest::collection::vec(inner.clone(), 0..4), space.clone(), any::<bool>());
        let array = array.prop_map(|(elements, space, is_open)| {
            let comma = if is_open && !elements.is_empty() { "," } else { "" };
            format!("[{space}{}{comma}{space}]", elements.join(&format!("{space},{space}")))
        });
        let pair = ("[a-d]", inner).prop_map(|(key, value)| format!("{key} = {value}"));
        let table = (proptest::collection::vec(pair, 0..3), space);
        let table = table.prop_map(|(pairs, space)| {
            format!("{{{space}{}{space}}}", pairs.join(&format!("{space},{space}")))
        });
        prop_oneof![array, table]
    })
}

/// A text of few keys, so that they come again.
fn document() -> impl Strategy<Value = String> {
    let pair = ("[a-d]", value()).prop_map(|(key, value)| format!("{key} = {value}"));
    let header = "\\[[a-c](\\.[a-c]){0,2}\\]|\\[\\[[a-c](\\.[a-c]){0,2}\\]\\]";
    let line = prop_oneof![
        4 => pair,
        4 => header.prop_map(|header| header),
        1 => proptest::sample::select(&["", "# c", "\t", " # é"][..]).prop_map(str::to_owned),
    ];
    proptest::collection::vec(line, 0..10).prop_map(|lines| lines.join("\n"))
}

/// Pieces of TOML.
fn pieces() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(
        &[
            "a", "b", "1", "0", "true", "\"x\"", "'y'", "\"", "'", "\"\"", "=", " = ", " ", "\t",
            "\n", "\r\n", "[", "]", "[[", "]]", "{", "}", ",", ".", "#", "# c\n", "-", "_", "\\",
            "é", "\u{7f}", "\u{0}", "a = 1\n", "[a]\n",
        ][..],
    );
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_document_is_what_the_crate_reads(text in document()) {
        is_plain(&text);
    }

    /// A character of a document is another one, or missing.
    #[test]
    fn a_mistaken_document_is_what_the_crate_reads(
        text in document(),
        at in any::<prop::sample::Index>(),
        other in proptest::option::of(proptest::sample::select(&[
            'a', '1', '"', '\'', '=', ' ', '\n', '[', ']', '{', '}', ',', '.', '#', '\\', 'é', '\r',
        ][..])),
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        if !letters.is_empty() {
            let at = at.index(letters.len());
            letters.splice(at..=at, other);
        }
        is_plain(&letters.into_iter().collect::<String>());
    }

    #[test]
    fn pieces_are_what_the_crate_reads(text in pieces()) {
        is_plain(&text);
    }
}

/// Otherwise the properties above would say little.
#[test]
fn many_documents_are_plain() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..1000 {
        accepted += u32::from(is_plain(&document().new_tree(&mut runner).unwrap().current()));
    }
    assert!(accepted > 100, "{accepted}");
}
