//! The house rules that a compiler does not check: who may know whom, and how a file begins. ARCHITECTURE.md has them
//! as invariants.

use std::path::{Path, PathBuf};

/// Crates of ours, and which of ours each may need.
const CRATES: [(&str, &[&str]); 4] = [
    ("config", &[]),
    ("discovery", &["config"]),
    ("security", &["config"]),
    ("gateway", &["config", "discovery", "security"]),
];

/// Crates that only some of ours may need.
const PRIVATE_CRATES: [(&str, &[&str]); 6] = [
    ("pingora", &["gateway"]),
    ("axum", &["gateway"]),
    ("arc-swap", &["gateway"]),
    ("clap", &["gateway"]),
    ("bollard", &["discovery"]),
    ("notify", &["discovery"]),
];

/// Folders (or files) of `gateway/src`, and what their code must not name.
const ROOMS: [(&str, &[&str]); 4] = [
    ("proxy", &["crate::control", "super::control"]),
    ("control", &["crate::proxy", "super::proxy"]),
    ("snapshot", &["crate::proxy", "crate::control", "crate::app", "super::proxy", "super::control"]),
    ("middleware", &["crate::proxy", "crate::control", "crate::app", "super::proxy", "super::control"]),
];

/// The adapter: the one file that joins our stages to Pingora's phases, and the one that gives Pingora a connection.
const ADAPTER: [&str; 2] = ["gateway/src/proxy/pingora.rs", "gateway/src/proxy/client_io.rs"];

/// What only the adapter names.
const PINGORA_WORDS: [&str; 2] = ["ProxyHttp", "Session"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All sources below a folder or file of the workspace, each with its path from the root.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(below)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("the workspace can be read");
            open.extend(entries.map(|entry| entry.expect("the workspace can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("it lies below the root").display().to_string();
            found.push((name, read(&path)));
        }
    }
    found.sort();
    found
}

/// The lines of code, numbered from 1; whole-line comments are left out.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// `word` stands in `line` as a word of its own.
fn names(line: &str, word: &str) -> bool {
    let part_of_a_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_a_name) && !line[at + word.len()..].starts_with(part_of_a_name)
    })
}

/// Names in `[dependencies]` of a manifest: what the program itself needs, tests apart.
fn dependencies(package: &str) -> Vec<String> {
    let manifest = read(&root().join(package).join("Cargo.toml"));
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_crate_needs_only_those_below_it() {
    for (package, allowed) in CRATES {
        let ours: Vec<_> = dependencies(package)
            .into_iter()
            .filter(|name| CRATES.iter().any(|(other, _)| other == name))
            .filter(|name| !allowed.contains(&name.as_str()))
            .collect();
        assert!(ours.is_empty(), "{package} may need {allowed:?}, and needs {ours:?} as well");
    }
}

#[test]
fn a_neighbour_is_known_to_one_crate_only() {
    for (package, _) in CRATES {
        for name in dependencies(package) {
            if let Some((_, owners)) = PRIVATE_CRATES.iter().find(|(private, _)| *private == name) {
                assert!(owners.contains(&package), "{package} needs {name}, which belongs to {owners:?}");
            }
        }
    }
}

#[test]
fn the_two_flows_of_the_gateway_do_not_know_each_other() {
    let mut offences = Vec::new();
    for (room, forbidden) in ROOMS {
        for (file, source) in sources(&format!("gateway/src/{room}")) {
            for (number, line) in code(&source) {
                let named = forbidden.iter().filter(|path| names(line, path));
                offences.extend(named.map(|path| format!("{file}:{number} names {path}")));
                // `use crate::{control, …}` names it as well.
                if line.trim_start().starts_with("use crate::{") {
                    let inner = forbidden.iter().filter_map(|path| path.strip_prefix("crate::"));
                    let named = inner.filter(|module| names(line, module));
                    offences.extend(named.map(|module| format!("{file}:{number} uses {module}")));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn only_the_adapter_names_the_types_of_pingora() {
    let mut offences = Vec::new();
    for (file, source) in sources("gateway/src") {
        if ADAPTER.contains(&file.as_str()) {
            continue;
        }
        for (number, line) in code(&source) {
            let named = PINGORA_WORDS.iter().filter(|word| names(line, word));
            offences.extend(named.map(|word| format!("{file}:{number} names {word}")));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn only_the_hot_path_names_pingora() {
    let mut offences = Vec::new();
    for (file, source) in sources("gateway/src") {
        if !file.starts_with("gateway/src/proxy/") {
            let named = code(&source).filter(|(_, line)| line.contains("pingora::"));
            offences.extend(named.map(|(number, _)| format!("{file}:{number} names Pingora")));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn every_file_opens_by_saying_what_lives_in_it() {
    let folders = ["config", "discovery", "security", "gateway", "tests", "benches"];
    let silent: Vec<_> = folders
        .into_iter()
        .flat_map(sources)
        .filter(|(_, source)| {
            let first = source.lines().next().unwrap_or_default();
            first.strip_prefix("//!").is_none_or(|text| text.trim().len() < 10)
        })
        .map(|(file, _)| file)
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!` and a sentence: {silent:#?}");
}

#[test]
fn no_test_sleeps() {
    // A sleep in a test hides a race; a condition is waited for.
    let mut offences = Vec::new();
    for (file, source) in sources("tests").into_iter().chain(sources("gateway/tests")) {
        if file.starts_with("tests/support/") {
            continue;
        }
        offences.extend(
            code(&source)
                .filter(|(_, line)| line.contains(concat!("sle", "ep(")))
                .map(|(number, _)| format!("{file}:{number} sleeps")),
        );
    }
    assert!(offences.is_empty(), "{offences:#?}");
}
