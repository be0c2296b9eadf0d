//! Replays the fuzz targets' seeds and findings, so that a finding that came back fails here, without
//! libFuzzer and at once.

use std::fs;
use std::path::Path;

#[path = "../fuzz/bodies/mod.rs"]
#[expect(unreachable_pub, reason = "a crate of its own to the fuzz targets")]
mod bodies;

/// The files of a directory with their names; none if it does not exist.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a directory that can be read").path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).expect("a file"))).collect()
}

#[test]
fn seeds_and_findings_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (target, body) in bodies::TARGETS {
        let seeds = files(&root.join("seeds").join(target));
        assert!(!seeds.is_empty(), "fuzz/seeds/{target} has no files");
        let findings = files(&root.join("regressions").join(target));
        for (name, input) in seeds.into_iter().chain(findings) {
            eprintln!("{name}");
            body(&input);
        }
    }
}

/// A directory of a misspelt target would be replayed by no one.
#[test]
fn every_directory_belongs_to_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for kind in ["seeds", "regressions"] {
        for entry in fs::read_dir(root.join(kind)).expect("fuzz/seeds and fuzz/regressions") {
            let name = entry.expect("a directory that can be read").file_name();
            let known = bodies::TARGETS.iter().any(|(target, _)| name == *target);
            assert!(known || name == "README.md", "no target is called {}", name.display());
        }
    }
}
