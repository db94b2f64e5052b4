//! The command line: JSON everywhere, help that teaches, exact errors, safe folders.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Demo, binary, eventually, portcullis, run};

#[test]
fn policy_eval_agrees_with_every_fixture() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let fixture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let told = portcullis(&["policy", "eval", &path.display().to_string()]).must();
        let mut answers = told.out.lines();
        for question in fixture["questions"].as_array().unwrap() {
            let line: Value = serde_json::from_str(answers.next().expect("an answer")).unwrap();
            let expected = json!({ "id": question["id"], "answer": question["expect"] });
            assert_eq!(line, expected, "{}: {question}", path.display());
            asked += 1;
        }
        assert_eq!(answers.next(), None);
    }
    assert!(asked >= 180);
}

#[test]
fn policy_eval_says_what_is_wrong_with_a_fixture() {
    let eval = |text: &str| {
        let mut command = Command::new(binary());
        run(
            command.args(["policy", "eval", "-"]),
            text.as_bytes(),
            Duration::from_secs(20),
        )
    };
    let with = |part: &str| {
        format!(
            r#"{{"groups": ["g"], "users": [{{"name": "ana", "groups": [], "site_admin": false}}],
               "grants": [], "fences": [], "blocks": [], "questions": [] {part}}}"#
        )
    };
    assert!(eval(&with("")).ok());
    for (bad, says) in [
        ("", "it is empty"),
        ("{", "EOF"),
        ("[]", "it holds a JSON array"),
        (&with(", \"users\": 3"), "duplicate field `users`"),
        (&with(", \"fence\": []"), "unknown field `fence`"),
    ] {
        let told = eval(bad);
        assert!(!told.ok() && told.err.contains(says), "{bad}: {told:?}");
        assert_eq!(told.out, "", "{bad}");
    }
    let told = eval(
        r#"{"groups": [], "users": [], "grants": [{"folder": "/", "user": "ana", "level": "owner",
            "recursive": true}], "fences": [], "blocks": [], "questions": []}"#,
    );
    assert!(told.err.contains("owner"), "{told:?}");
}

#[test]
fn the_printed_table_is_the_reviewed_one() {
    let told = portcullis(&["policy", "table"]).must();
    let reviewed = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permission-table.txt");
    assert_eq!(told.out, std::fs::read_to_string(reviewed).unwrap());
}

#[test]
fn every_command_has_help_and_nothing_is_a_stub() {
    // rule H5
    let mut todo = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(words) = todo.pop() {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let told = portcullis(&arguments).must();
        assert!(
            !told.out.to_lowercase().contains("not implemented"),
            "{words:?}"
        );
        assert!(told.out.contains("Usage:"), "{words:?}: {told:?}");
        seen += 1;
        let as_topic: Vec<&str> = std::iter::once("help")
            .chain(words.iter().map(String::as_str))
            .collect();
        assert_eq!(portcullis(&as_topic).must().out, told.out, "{as_topic:?}");
        let Some((_, list)) = told.out.split_once("Commands:\n") else {
            let example = format!("  portcullis {}", words.join(" "));
            assert!(
                told.out.contains("Example") && told.out.contains(&example),
                "{words:?} shows no example of itself"
            );
            continue;
        };
        for line in list.lines().take_while(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" && line.starts_with("  ") && !line.starts_with("   ") {
                let mut deeper = words.clone();
                deeper.push(name.to_owned());
                todo.push(deeper);
            }
        }
    }
    assert!(seen > 40, "only {seen} helps were found");
}

#[test]
fn lists_and_changes_speak_json() {
    let demo = Demo::start();
    demo.add_worker("carl");
    for words in [
        &["user", "list"][..],
        &["user", "show", "carl"],
        &["group", "list"],
        &["grant", "list"],
        &["fence", "list"],
        &["block", "list"],
        &["key", "list", "carl"],
        &["session", "list"],
        &["provider", "list"],
        &["site", "show"],
        &["audit", "list"],
        &["audit", "verify"],
        &["check-config"],
        &["user", "disable", "carl"],
        &["user", "enable", "carl"],
        &["user", "delete", "carl"],
    ] {
        assert!(demo.json(words).is_object() || demo.json(&["user", "list"]).is_object());
    }
}

#[test]
fn errors_say_what_happened_to_what_and_what_next() {
    let demo = Demo::start();
    for (words, says) in [
        (&["user", "show", "nobody"][..], "nobody"),
        (&["user", "disable", "nobody"], "nobody"),
        (&["user", "show", "partnr"], "Did you mean `partner`?"),
        (&["user", "disable", "Levaer"], "Did you mean `leaver`?"),
        (&["group", "show", "staf"], "Did you mean `staff`?"),
        (&["user", "add", "partner"], "partner"),
        (&["user", "add", "a/b"], "character"),
        (
            &["grant", "add", "/x", "owner", "--user", "partner"],
            "owner",
        ),
        (
            &["grant", "add", "/x", "read", "--user", "nobody"],
            "nobody",
        ),
        (&["grant", "add", "/x", "read"], "--user"),
        (
            &["grant", "add", "/../x", "read", "--user", "partner"],
            "root",
        ),
        (&["fence", "add", "/"], "/"),
        (&["grant", "remove", "999999"], "999999"),
        (&["member", "add", "nogroup", "partner"], "nogroup"),
        (&["policy", "explain", "nobody", "read", "/x"], "nobody"),
        (&["site", "set", "nonsense", "on"], "nonsense"),
    ] {
        let told = demo.cli(words);
        assert!(!told.ok() && told.err.contains(says), "{words:?}: {told:?}");
        let mut with_json = words.to_vec();
        with_json.push("--json");
        assert!(!demo.cli(&with_json).ok(), "{words:?}");
    }
}

// CVE-2026-42167: names are parameters, never parts of a statement.
#[test]
fn names_with_quotes_are_only_names() {
    let demo = Demo::start();
    for name in [
        "o'brien",
        "x'; drop table accounts; --",
        "a\"b",
        "%{user}",
        "a' or '1'='1",
        "$(id)",
    ] {
        demo.cli(&["user", "add", name]).must();
        demo.cli(&["group", "add", name]).must();
        demo.cli(&["member", "add", name, name]).must();
        demo.cli(&["grant", "add", "/handbook", "list", "--user", name])
            .must();
        let shown = demo.json(&["user", "show", name]).to_string();
        assert!(shown.contains(&json!(name).to_string()), "{shown}");
        demo.cli(&["user", "disable", name]).must();
        demo.cli(&["user", "delete", name]).must();
        demo.cli(&["group", "delete", name]).must();
    }
    assert!(demo.cli(&["user", "list"]).must().out.contains("partner"));
}

#[test]
fn explain_gives_reasons() {
    let demo = Demo::start();
    demo.add_user("carl");
    demo.make_file("/a/b/f", "x");
    demo.cli(&["group", "add", "readers"]).must();
    demo.cli(&["member", "add", "readers", "carl"]).must();
    demo.cli(&["grant", "add", "/a", "read", "--group", "readers"])
        .must();
    demo.cli(&["fence", "add", "/a/b"]).must();
    let told = demo.json(&["policy", "explain", "carl", "read", "/a/b/f"]);
    assert_eq!(told["answer"], "not_found", "{told}");
    let text = told.to_string();
    assert!(
        text.contains("readers") && text.contains("/a/b") && text.contains("fence"),
        "{told}"
    );
    assert_eq!(
        told["change"],
        json!({"do": "remove_fence", "folder": "/a/b"})
    );
    let words = demo.cli(&["policy", "explain", "carl", "read", "/a/b/f"]);
    let change = "what would turn it: portcullis fence remove /a/b";
    assert!(words.must().out.contains(change));
    let told = demo.json(&["policy", "explain", "carl", "read", "/a/f"]);
    assert_eq!(told["answer"], "allow", "{told}");
}

// permissions.md 8: what is printed can be typed, and all of it is said
#[test]
fn what_would_turn_an_answer_can_be_typed() {
    let demo = Demo::start();
    demo.add_user("carl");
    demo.make_folder("/our files");
    let ask = || {
        demo.cli(&["policy", "explain", "carl", "read", "/our files/f"])
            .must()
            .out
    };
    let grant = "portcullis grant add '/our files' read --user carl";
    let told = ask();
    assert!(
        told.contains(&format!("what would turn it: {grant}")),
        "{told}"
    );
    demo.cli(&["user", "disable", "carl"]).must();
    let told = ask();
    assert!(told.contains("no single change would turn it"), "{told}");
    assert!(told.contains("    portcullis user enable carl\n"), "{told}");
    assert!(told.contains(grant), "{told}");
}

#[test]
fn secrets_are_never_arguments() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "carl"]).must();
    for words in [
        &["password", "set", "carl", "secret-Pass-1"][..],
        &["password", "set", "carl", "--password", "secret-Pass-1"],
        &["totp", "set", "carl", "JBSWY3DPEHPK3PXP"],
        &["invite", "accept", "token"],
    ] {
        assert_eq!(demo.cli(words).code, Some(2), "{words:?}");
    }
    let short = demo.cli_with(&["password", "set", "carl", "--stdin"], b"short\n");
    assert!(!short.ok() && short.err.contains("short"), "{short:?}");
}

// rule P2
#[test]
fn the_last_administrator_goes_with_a_warning() {
    let demo = Demo::start();
    let says = "no active site administrator is left";
    let told = demo.json(&["user", "disable", "admin"]);
    let warned = told["warnings"][0].as_str().unwrap();
    assert!(warned.contains(says), "{told}");
    demo.cli(&["user", "enable", "admin"]).must();
    let told = demo.cli(&["user", "delete", "admin"]).must();
    assert!(told.err.contains(says), "{told:?}");
    let told = demo.json(&["user", "delete", "leaver"]);
    assert_eq!(told["warnings"], json!([]), "{told}");
}

// rule D3
#[test]
fn a_rule_on_a_folder_that_is_not_there_is_made_with_a_warning() {
    let demo = Demo::start();
    demo.make_file("/there/f", "x");
    for rule in [
        &["grant", "add", "FOLDER", "read", "--user", "partner"][..],
        &["fence", "add", "FOLDER"],
        &["block", "add", "FOLDER", "--user", "partner"],
    ] {
        let on = |folder: &'static str| -> Vec<&str> {
            rule.iter()
                .map(|word| if *word == "FOLDER" { folder } else { word })
                .collect()
        };
        let told = demo.cli(&on("/there")).must();
        assert_eq!(told.err, "", "{rule:?}");
        let told = demo.cli(&on("/absent")).must();
        assert!(told.err.contains("no folder /absent"), "{told:?}");
        let told = demo.json(&on("/absent2"));
        let warned = told["warnings"][0].as_str().unwrap();
        assert!(warned.contains("no folder /absent2"), "{told}");
    }
    let told = demo.cli(&["check-config"]).must().out;
    let dangling = told.matches("there is no such folder").count();
    assert_eq!(dangling, 6, "{told}");
}

// rule F1
#[test]
fn check_config_lists_both_exceptions_from_the_factor_rule() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "carl", "--factor", "always"])
        .must();
    let told = demo.cli(&["check-config"]).must().out;
    let (doubts, acts) = told.split_once("Set by an administrator:").unwrap();
    assert!(acts.contains("carl needs a second factor"), "{told}");
    assert!(doubts.contains("employee never needs"), "{told}");
    assert!(!doubts.contains("carl"), "{told}");
    let told = demo.json(&["check-config"])["findings"].to_string();
    assert!(told.contains("factor_always") && told.contains("carl"));
}

// rule H2
#[test]
fn a_demo_tells_no_account_that_is_gone() {
    let demo = Demo::start();
    demo.cli(&["user", "delete", "employee"]).must();
    demo.cli(&["user", "disable", "leaver"]).must();
    demo.cli(&["totp", "remove", "partner"]).must();
    let again = Demo::start_in(demo.kill());
    let ready = std::fs::read(again.data().join("../ready.json")).unwrap();
    let ready: Value = serde_json::from_slice(&ready).unwrap();
    let accounts = ready["accounts"].as_object().unwrap();
    assert_eq!(
        accounts.keys().collect::<Vec<_>>(),
        ["admin", "leaver", "partner"]
    );
    assert_eq!(accounts["leaver"]["disabled"], true);
    assert_eq!(accounts["admin"].get("disabled"), None);
    assert_eq!(accounts["partner"].get("totp_secret"), None);
    assert!(accounts["partner"]["password"].is_string());
    // It is told after the ready file is written.
    let told = |log: &str| {
        let (before, last) = log.rsplit_once("Portcullis runs a demo")?;
        let whole = before.contains("Portcullis runs a demo") && last.contains("Also worth a look");
        whole.then(|| last.to_owned())
    };
    eventually(Duration::from_secs(10), "the second text", || {
        told(&again.log()).is_some()
    });
    let printed = told(&again.log()).unwrap();
    assert!(!printed.contains("employee@"), "{printed}");
    assert!(printed.contains("since the first start: employee."));
    assert!(printed.contains("it is disabled"), "{printed}");
}

#[test]
fn with_json_a_usage_error_is_one_object_on_standard_error() {
    for words in [
        &["--json"][..],
        &["user", "--json"],
        &["--json", "user", "shw"],
        &["user", "show", "--json"],
        &["user", "add", "a/b", "--json"],
        &["grant", "add", "/x", "owner", "--user", "ana", "--json"],
        &["frob", "--json"],
        &["user", "set", "ana", "--json"],
    ] {
        let told = portcullis(words);
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""), "{words:?}");
        let error: Value = serde_json::from_str(&told.err)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {told:?}"));
        assert!(error["error"].is_string(), "{words:?}: {error}");
    }
    let told = portcullis(&["user", "add", "--json", "--help"]).must();
    assert!(told.out.contains("Usage:"), "help is no error");
    let told = portcullis(&["user", "show", "--", "a", "--json"]);
    assert!(told.err.starts_with("error: "), "{told:?}");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let demo = Demo::start();
    let data = demo.data().display().to_string();
    for words in [
        "user list",
        "audit list",
        "audit export",
        "policy table",
        "--help",
    ] {
        let mut command = Command::new("sh");
        // The reader closes before a word is written.
        let script = "exec 3>&1; { sleep 0.2; \"$0\" $1 --data \"$2\"; echo $? >&3; } | true";
        command.args(["-c", script, &binary(), words, &data]);
        let told = run(&mut command, b"", Duration::from_secs(20));
        assert_eq!((told.out.trim(), told.err.as_str()), ("0", ""), "{words}");
    }
}

// rule H2
#[test]
fn serve_refuses_a_demo_folder() {
    let demo = Demo::start();
    let data = demo.kill();
    let path = data.path().join("data").display().to_string();
    let told = portcullis(&["serve", "--data", &path]);
    assert!(!told.ok() && told.err.contains("demo"), "{told:?}");
}

// rule M5
#[test]
fn commands_work_without_a_running_gateway_and_under_long_paths() {
    let top = tempfile::tempdir().unwrap();
    let long = top.path().join("d".repeat(90)).join("e".repeat(90));
    std::fs::create_dir_all(&long).unwrap();
    let data = long.join("data").display().to_string();
    assert!(portcullis(&["user", "add", "carl", "--data", &data]).ok());
    assert!(
        portcullis(&["user", "list", "--data", &data])
            .must()
            .out
            .contains("carl")
    );
    let demo = Demo::start_in(
        tempfile::Builder::new()
            .prefix(&"f".repeat(120))
            .tempdir()
            .unwrap(),
    );
    assert!(demo.cli(&["user", "list"]).must().out.contains("partner"));
    assert_eq!(
        demo.json(&["session", "list"])["sessions"],
        json!([]),
        "asked over the socket"
    );
}

// rule M5
#[test]
fn a_second_gateway_on_the_same_folder_is_refused() {
    let demo = Demo::start();
    let data = demo.data().display().to_string();
    let told = portcullis(&["demo", "--data", &data]);
    assert!(!told.ok() && !told.err.is_empty(), "{told:?}");
}

#[test]
fn check_config_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    portcullis(&["user", "add", "carl", "--data", &data]).must();
    let file = folder.path().join("data/portcullis.toml");
    std::fs::write(
        &file,
        "[sftp]\nlisten = [\"127.0.0.1:2022\"]\n\n[limits]\nsesions = 3\n",
    )
    .unwrap();
    let told = portcullis(&["check-config", "--data", &data]);
    assert!(!told.ok(), "{told:?}");
    let text = told.out + &told.err;
    assert!(
        text.contains("line 5") && text.contains("sesions"),
        "{text}"
    );
}

// rule H1
#[test]
fn a_root_that_holds_the_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = data.display().to_string();
    portcullis(&["user", "add", "carl", "--data", &path]).must();
    for root in [folder.path().to_path_buf(), data.clone(), data.join("keys")] {
        std::fs::create_dir_all(&root).unwrap();
        let settings = format!(
            "[sftp]\nlisten = \"127.0.0.1:0\"\n[storage]\nroot = {:?}\n",
            root.display().to_string()
        );
        std::fs::write(data.join("portcullis.toml"), settings).unwrap();
        let mut command = Command::new(binary());
        let told = run(
            command.args(["serve", "--data", &path]),
            b"",
            Duration::from_secs(15),
        );
        assert!(
            told.code.is_some_and(|code| code != 0),
            "{}: {told:?}",
            root.display()
        );
    }
}

// rule P2
#[test]
fn serve_warns_until_there_is_a_break_glass_administrator() {
    let mut demo = Demo::serve("");
    let warned = || demo.log().contains("break-glass");
    crate::harness::eventually(Duration::from_secs(5), "the warning", warned);
    assert!(demo.lives());
}

// rule P2
#[test]
fn setup_makes_the_break_glass_administrator_once() {
    use std::io::{BufRead, Write};
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut child = Command::new(binary())
        .args(["setup", "--stdin", "--json", "--data", &data])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "breakglass-Pass-1").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let secret = told["totp_secret"].as_str().unwrap();
    writeln!(
        input,
        "{}",
        crate::harness::code_at(secret, crate::harness::unix_now())
    )
    .unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    let users = portcullis(&["user", "list", "--json", "--data", &data])
        .must()
        .json();
    assert!(users.to_string().contains("administrator"), "{users}");
}
