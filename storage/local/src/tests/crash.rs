//! kill -9 at each step of an upload (rule U2): the name is absent or whole, and what is not
//! published can be continued.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis_gate::{Durability, StageFrom};

use super::{on_disk, open, subject};
use crate::steps::{STOP_AT, reached};

const ROOT: &str = "PORTCULLIS_TEST_ROOT";
const SIZE: usize = 3 << 20;

fn old() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 253) as u8).collect()
}

fn new() -> Vec<u8> {
    (0..SIZE).map(|at| (at % 241) as u8).collect()
}

/// The child: uploads `/f`, over what stands there if anything does, and stops where it is told.
#[test]
fn child_uploads() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(upload(Path::new(&root)));
}

async fn upload(root: &Path) {
    let s = subject(&open(root));
    let standing = s.stat("/f").await;
    let from = if standing.is_some() {
        StageFrom::Existing
    } else {
        StageFrom::Empty
    };
    let staged = s.stage("/f", from).await.unwrap();
    reached("staged");
    let data = new();
    staged.write_at(0, &data[..SIZE / 2]).await.unwrap();
    reached("half");
    staged
        .write_at(SIZE as u64 / 2, &data[SIZE / 2..])
        .await
        .unwrap();
    reached("written");
    let durability = Durability::OnClose;
    match standing {
        None => staged
            .publish_new(s.permit("/f"), durability)
            .await
            .unwrap(),
        Some(old) => staged
            .publish_over(s.permit("/f"), old.identity, durability)
            .await
            .unwrap(),
    };
    reached("done");
}

/// Runs the child until it says that it came to the step, and kills it.
fn killed_at(step: &str, root: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::child_uploads", "--nocapture"])
        .env(STOP_AT, step)
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let wanted = format!("stopped at {step}");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stopped = lines.any(|line| line.unwrap().contains(&wanted));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(stopped, "the upload never came to the step {step}");
}

// rule U2
#[tokio::test(flavor = "multi_thread")]
async fn new_file_is_absent_or_whole() {
    for step in ["staged", "half", "written", "prepared", "named", "done"] {
        let root = on_disk();
        killed_at(step, root.path());
        let s = subject(&open(root.path()));
        if ["named", "done"].contains(&step) {
            assert!(s.get("/f").await.unwrap() == new(), "{step}");
            assert_eq!(s.names("/").await, ["f"], "{step}");
            continue;
        }
        assert!(s.stat("/f").await.is_none(), "{step}");
        assert_eq!(s.names("/").await, ["f*"], "{step}");
        let size = s.stat_partial("/f").await.unwrap().size;
        let expected = match step {
            "staged" => 0,
            "half" => SIZE / 2,
            _ => SIZE,
        };
        assert_eq!(size, expected as u64, "{step}");
        let staged = s.stage("/f", StageFrom::Partial).await.unwrap();
        staged.write_at(size, &new()[expected..]).await.unwrap();
        s.publish_new(&*staged, "/f").await.unwrap();
        assert!(s.get("/f").await.unwrap() == new(), "{step}");
    }
}

// rule U3
#[tokio::test(flavor = "multi_thread")]
async fn replaced_file_is_old_or_new() {
    for step in [
        "staged",
        "half",
        "written",
        "merged",
        "prepared",
        "exchanged",
        "named",
        "done",
    ] {
        let root = on_disk();
        let s = subject(&open(root.path()));
        s.put("/f", &old()).await;
        drop(s);
        killed_at(step, root.path());
        let s = subject(&open(root.path()));
        let expected = if ["exchanged", "named", "done"].contains(&step) {
            new()
        } else {
            old()
        };
        assert!(s.get("/f").await.unwrap() == expected, "{step}");
        assert_eq!(s.names("/").await, ["f"], "{step}");
        // The upload can be done again from the beginning.
        let standing = s.stat("/f").await.unwrap().identity;
        let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
        staged.write_at(0, b"again").await.unwrap();
        s.publish_over(&*staged, "/f", standing).await.unwrap();
        assert_eq!(s.get("/f").await.unwrap(), b"again", "{step}");
    }
}
