//! Several files: how they are joined, and whose a mistake is.

use std::fs;
use std::path::Path;

use super::mistakes::mistakes;
use super::{EXAMPLE, changed};
use crate::{Source, parse};

/// The text of a directory with a main file and further ones.
fn joined(main: &str, further: &[(&str, &str)]) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("main.toml"), main).unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in further {
        fs::write(directory.path().join("conf.d").join(name), text).unwrap();
    }
    read(directory.path())
}

fn read(directory: &Path) -> Result<String, String> {
    let mut source = Source::new(directory.join("main.toml"));
    source.read(|| false).map_err(|error| error.to_string())
}

const SERVICE: &str = "[[service]]\nname = 's2'\naddress = '203.0.113.11'\nprotocol = 'udp'\n\
                       port = 53\npool = 'web'\n";

#[test]
fn tables_are_merged_and_arrays_of_tables_joined() {
    let further = [
        ("20-service.toml", SERVICE),
        ("10-flow.toml", "[flow.timeout]\nsyn = 5\n"),
        ("30-more.toml", "[flow]\nentries = 64\ntimeout.udp = 7\n[node]\n"),
        (".hidden.toml", "nonsense"),
        ("note.txt", "nonsense"),
        ("40-empty.toml", ""),
    ];
    let text = joined(EXAMPLE.trim_end(), &further).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#: file ")).collect();
    assert_eq!(
        names,
        [
            "main.toml",
            "conf.d/10-flow.toml",
            "conf.d/20-service.toml",
            "conf.d/30-more.toml",
            "conf.d/40-empty.toml"
        ]
    );
    let configuration = parse(&text).unwrap().configuration;
    assert_eq!(configuration.services.len(), 2);
    let timeouts = configuration.flow.timeouts;
    assert_eq!((timeouts.syn.as_secs(), timeouts.udp.as_secs()), (5, 7));
    assert_eq!((configuration.flow.entries, configuration.node.name.as_str()), (64, "lb1"));

    // Without further files the text is the main file's, byte for byte.
    assert_eq!(joined(EXAMPLE, &[]).unwrap(), EXAMPLE);
    assert_eq!(joined(EXAMPLE, &[("README", "nonsense")]).unwrap(), EXAMPLE);
}

#[test]
fn a_mistake_names_its_file_and_line() {
    let main = changed(&[("mtu = 1500", "mtuu = 1500")]);
    let service = SERVICE.replace("53", "70000").replace("'s2'", "'web'");
    let found =
        mistakes(&joined(&main, &[("a.toml", "[icmp]\nrate = 1"), ("b.toml", &service)]).unwrap());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found[0].starts_with("main.toml: line 19: port[0].mtuu: unknown key"), "{found:#?}");
    assert_eq!(
        found[1],
        "conf.d/b.toml: line 2: service[1].name: is \"web\" as on line 32 of main.toml; each must \
         have its own"
    );
    assert!(found[2].starts_with("conf.d/b.toml: line 5: service[1].port: is the"), "{found:#?}");
    assert_eq!(found.len(), 3);
}

#[test]
fn what_is_set_twice_names_both_places() {
    let further = [
        ("a.toml", "[dpdk]\nhugepages = false\nworkers = [3]\n[hash]\nother.key = 1\n"),
        ("b.toml", "port = 1\n[hash]\nother = 2\n[[node]]\nname = 'b'\n"),
    ];
    let found = mistakes(&joined(EXAMPLE, &further).unwrap());
    let twice: Vec<String> = found
        .iter()
        .filter(|mistake| mistake.message.contains("again"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        twice,
        [
            "conf.d/a.toml: line 2: dpdk.hugepages: is set in main.toml:11 and again in \
             conf.d/a.toml:2; keep one of them",
            "conf.d/a.toml: line 3: dpdk.workers: is set in main.toml:10 and again in \
             conf.d/a.toml:3; keep one of them",
            "conf.d/b.toml: line 1: port: is set in main.toml:14 and again in conf.d/b.toml:1; \
             keep one of them",
            "conf.d/b.toml: line 3: hash.other: is set in conf.d/a.toml:5 and again in \
             conf.d/b.toml:3; keep one of them",
            "conf.d/b.toml: line 4: node: is set in main.toml:1 and again in conf.d/b.toml:4; \
             keep one of them",
        ]
    );
}

#[test]
fn every_file_is_judged_even_if_one_is_not_toml() {
    let further = [("a.toml", "[flow\n"), ("b.toml", "x = y\n"), ("c.toml", "\n[[pool]")];
    let found = mistakes(&joined(EXAMPLE, &further).unwrap());
    let found: Vec<(&str, usize)> = found.iter().map(|m| (m.file.as_str(), m.line)).collect();
    assert_eq!(found, [("conf.d/a.toml", 1), ("conf.d/b.toml", 1), ("conf.d/c.toml", 2)]);
}

#[test]
fn hostile_directories_are_refused() {
    let main = |further: &[(&str, &str)]| joined(EXAMPLE, further);
    let marked = main(&[("a.toml", "x = '''\n#: file b.toml\n'''")]).unwrap_err();
    assert!(marked.starts_with("conf.d/a.toml: line 2 begins with \"#: file \""), "{marked}");
    let long = "#".repeat(9 << 20);
    let long = main(&[("a.toml", &long), ("b.toml", &long)]).unwrap_err();
    assert_eq!(
        long,
        "conf.d/b.toml: it has more than 16 MiB, the most that a configuration may have"
    );
    let control = main(&[("a\nb.toml", "")]).unwrap_err();
    assert!(control.contains("\"a\\nb.toml\": the name of a file must be"), "{control}");

    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("main.toml"), EXAMPLE).unwrap();
    let conf = directory.path().join("conf.d");
    fs::write(&conf, "").unwrap();
    assert!(read(directory.path()).unwrap_err().starts_with("conf.d: Not a directory"));
    fs::remove_file(&conf).unwrap();
    fs::create_dir_all(conf.join("x.toml")).unwrap();
    let found = read(directory.path()).unwrap_err();
    assert_eq!(found, "conf.d/x.toml: it is a directory and not a regular file");
    fs::remove_dir(conf.join("x.toml")).unwrap();
    std::os::unix::fs::symlink("loop.toml", conf.join("loop.toml")).unwrap();
    let found = read(directory.path()).unwrap_err();
    assert!(found.starts_with("conf.d/loop.toml: Too many levels of symbolic links"), "{found}");
    fs::remove_file(conf.join("loop.toml")).unwrap();
    fs::write(conf.join("a.toml"), b"one\ntw\xffo").unwrap();
    assert_eq!(read(directory.path()).unwrap_err(), "conf.d/a.toml: line 2 is not UTF-8");
    fs::remove_file(conf.join("a.toml")).unwrap();
    let name = std::os::unix::ffi::OsStringExt::from_vec(b"\xff.toml".to_vec());
    let name: std::ffi::OsString = name;
    fs::write(conf.join(&name), "").unwrap();
    assert!(read(directory.path()).unwrap_err().contains("must be UTF-8"));
    fs::remove_file(conf.join(name)).unwrap();
    (0..10_000).for_each(|index| fs::write(conf.join(format!("{index}.toml")), "").unwrap());
    assert_eq!(read(directory.path()).unwrap_err(), "conf.d has more than 256 files");
}

/// A text may say that it is of several files, however it came here.
#[test]
fn marks_in_a_text_are_read_as_files() {
    for text in
        ["#: file ", "#: file a", "#: file a\n#: file b\n", "#: file a\n#: file a\nx = 1\n#: file"]
    {
        assert!(!mistakes(text).is_empty());
    }
    let text = format!("#: file one\n{EXAMPLE}#: file two\n[icmp]\nrate = -1\n");
    let found = mistakes(&text);
    assert_eq!((found[0].file.as_str(), found[0].line, found.len()), ("two", 2, 1));
    // Not on the first line: a comment.
    assert!(parse(&format!("\n#: file one\n{EXAMPLE}")).is_ok());
}
