//! The demo shows every level, a fence and a block, and its accounts have what they were promised.

use std::collections::BTreeSet;

use crate::harness::wire::{CREATE, OK, READ, TRUNCATE, WRITE};
use crate::harness::{Demo, login};

#[test]
fn all_levels_a_fence_and_a_block_appear() {
    let demo = Demo::start();
    let granted = demo.json(&["grant", "list"]);
    let levels: BTreeSet<String> = granted["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|grant| grant["level"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(levels.len(), 9, "{levels:?}");
    assert!(
        !demo.json(&["fence", "list"])["fences"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(
        !demo.json(&["block", "list"])["blocks"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_account_has_what_the_ready_file_promises() {
    let demo = Demo::start();
    for account in demo.accounts() {
        let ssh = login(&demo, account).await;
        let mut sftp = ssh.sftp().await.unwrap();
        for (folder, level) in &account.folders {
            let who = format!("{} on {folder} ({level})", account.name);
            assert!(sftp.list(folder).await.is_ok(), "{who}: list");
            let new = format!("{}/made-by-{}", folder.trim_end_matches('/'), account.name);
            let writes = matches!(level.as_str(), "admin" | "full" | "read_write" | "write");
            let put = sftp.put(&new, b"x").await;
            assert_eq!(put == OK, writes, "{who}: put answered {put}");
            let removes = matches!(level.as_str(), "admin" | "full");
            if writes {
                assert_eq!(sftp.remove(&new).await == OK, removes, "{who}: remove");
                let again = sftp.open(&new, WRITE | CREATE | TRUNCATE).await;
                assert!(again.is_ok(), "{who}: its own upload");
                sftp.close(&again.unwrap()).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaver_holds_a_large_file() {
    let demo = Demo::start();
    let leaver = demo.account("leaver");
    let folder = leaver
        .folder("read_write")
        .expect("read_write on a folder")
        .to_owned();
    let ssh = login(&demo, leaver).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{folder}/big.bin");
    assert_eq!(sftp.stat(&path).await.unwrap().size, Some(4 << 30));
    let handle = sftp.open(&path, READ).await.unwrap();
    assert_eq!(
        sftp.read(&handle, (4 << 30) - 10, 100).await.unwrap().len(),
        10
    );
}

// rule H2
#[test]
fn secrets_are_private_and_survive_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let demo = Demo::start();
    let mode =
        |path: std::path::PathBuf| std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(demo.data()), 0o700);
    assert_eq!(mode(demo.data().join("demo-secrets.json")), 0o600);
    assert_eq!(mode(demo.data().join("../ready.json")), 0o600);
    let (password, key) = {
        let partner = demo.account("partner");
        (partner.password.clone(), demo.host_key().to_owned())
    };
    let again = Demo::start_in(demo.kill());
    assert_eq!(again.account("partner").password, password);
    assert_eq!(again.host_key(), key);
    let other = Demo::start();
    assert_ne!(
        other.account("partner").password,
        password,
        "fresh secrets in each folder"
    );
}
