//! `decide` against every fixture, one by one.

use super::oracle;
use super::site::Site;

fn fixtures() -> Vec<(String, Site)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let mut found: Vec<(String, Site)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("policy-") && name.ends_with(".json")
        })
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let site = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.display().to_string(), site)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn decide_agrees_with_every_fixture() {
    let mut asked = 0;
    let mut wrong = Vec::new();
    for (file, site) in fixtures() {
        for question in &site.questions {
            asked += 1;
            let answer = site.answer(question);
            if Some(answer) != question.expect.as_deref() {
                wrong.push(format!("{file}: {question:?} answered {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asked >= 180, "only {asked} questions were found");
}

#[test]
fn the_oracle_agrees_with_every_fixture() {
    for (file, site) in fixtures() {
        for question in &site.questions {
            let answer = oracle::answer(&site, question);
            assert_eq!(
                Some(answer),
                question.expect.as_deref(),
                "{file}: {question:?}"
            );
        }
    }
}

#[test]
fn fixtures_ask_every_action() {
    let asked: std::collections::BTreeSet<_> = fixtures()
        .iter()
        .flat_map(|(_, site)| site.questions.iter().map(|question| question.action))
        .collect();
    assert_eq!(asked.len(), crate::Action::ALL.len());
}
