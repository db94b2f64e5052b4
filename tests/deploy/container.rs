//! `deploy/Containerfile`: what it says, and whether its sources are whole.
//!
//! Nothing here builds the image, which takes a network and minutes; `confined` runs the same
//! command line as an ordinary user on a root that nobody can write to.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{file, service};
use crate::architecture::top;
use crate::harness::run;

/// The instructions of each stage: their first words and the rest.
fn stages() -> Vec<Vec<(String, String)>> {
    let text = file("deploy/Containerfile").replace("\\\n", " ");
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "FROM" {
            stages.push(Vec::new());
        }
        let stage = stages.last_mut().expect("FROM comes first");
        stage.push((word.to_owned(), rest.trim().to_owned()));
    }
    stages
}

#[track_caller]
fn only<'a>(stage: &'a [(String, String)], word: &str) -> &'a str {
    let mut found = stage.iter().filter(|(first, _)| first == word);
    let (_, rest) = found.next().unwrap_or_else(|| panic!("no {word}"));
    assert!(found.next().is_none(), "more than one {word}");
    rest
}

#[test]
fn the_image_runs_as_nobody_with_one_place_to_write() {
    let stages = stages();
    let [_, image] = stages.as_slice() else {
        panic!("a stage that builds, and one that runs");
    };
    let user = only(image, "USER");
    let mut ids = user.split(':').map(|id| id.parse::<u32>().unwrap());
    assert!(ids.all(|id| id > 0), "{user}");
    let data = only(image, "VOLUME");
    assert_eq!(only(image, "ENV"), format!("PORTCULLIS_DATA={data}"));
    assert_eq!(only(image, "WORKDIR"), data);
    let owned = format!("--from=build --chown={user} /data {data}");
    assert!(image.contains(&("COPY".to_owned(), owned)), "{image:?}");
    assert_eq!(only(image, "EXPOSE"), "2022");
    assert!(!image.iter().any(|(word, _)| word == "ADD" || word == "RUN"));

    let words = |word| -> Vec<String> { serde_json::from_str(only(image, word)).unwrap() };
    let command = [words("ENTRYPOINT"), words("CMD")].concat().join(" ");
    assert_eq!(
        service::settings("ExecStart"),
        [command],
        "as the unit does"
    );
}

#[test]
fn it_is_built_by_the_compiler_of_every_check_for_the_libraries_it_finds() {
    let stages = stages();
    let (_, tag) = only(&stages[0], "FROM").split_once(':').unwrap();
    let (compiler, rest) = tag.split_once('-').unwrap();
    let channel = format!("channel = \"{compiler}.");
    assert!(file("rust-toolchain.toml").contains(&channel), "{compiler}");
    let release = rest.strip_suffix(" AS build").unwrap();
    let image = only(&stages[1], "FROM");
    assert_eq!(image, format!("debian:{release}-slim"));
}

#[test]
fn the_sources_that_it_takes_are_a_whole_workspace() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = 0;
    for (_, words) in stages()[0].iter().filter(|(word, _)| word == "COPY") {
        let words: Vec<&str> = words.split_whitespace().collect();
        let (_, sources) = words.split_last().unwrap();
        for source in sources {
            let from = top().join(source);
            let to = folder.path().join(source);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(from, to).unwrap();
            taken += 1;
        }
    }
    assert!(taken > 5, "only {taken} sources");
    assert!(folder.path().join("Cargo.lock").exists());
    assert!(resolves(folder.path()));
    std::fs::remove_file(folder.path().join("storage")).unwrap();
    assert!(
        !resolves(folder.path()),
        "without a part it is no workspace"
    );
}

fn resolves(folder: &Path) -> bool {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "metadata",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(folder);
    run(&mut command, b"", Duration::from_secs(120)).ok()
}
