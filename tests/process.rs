//! What the running process can be told: to read its settings again, to leave.

use std::time::Duration;

use crate::harness::wire::OK;
use crate::harness::{Demo, Login, Ssh, eventually, login_key};

fn settings(demo: &Demo) -> String {
    std::fs::read_to_string(demo.data().join("portcullis.toml")).unwrap()
}

fn write(demo: &Demo, settings: &str) {
    std::fs::write(demo.data().join("portcullis.toml"), settings).unwrap();
}

fn hang_up(demo: &Demo) {
    let pid = rustix::process::Pid::from_raw(demo.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

/// Another address of loopback on the gateway's own port, beside the one that it has.
fn with_another_address(demo: &Demo) -> String {
    let port = demo.port();
    settings(demo).replace(
        &format!("listen = \"127.0.0.1:{port}\""),
        &format!("listen = [\"127.0.0.1:{port}\", \"127.0.0.9:{port}\"]"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_again_and_nothing_ends() {
    let demo = Demo::serve("");
    let (olga, folder) = demo.add_worker("olga");
    let stays = login_key(&demo, &olga).await;
    let mut sftp = stays.sftp().await.unwrap();
    let before = settings(&demo);
    write(
        &demo,
        &with_another_address(&demo).replace("[limits]", "[limits]\nsessions = 77\nchannels = 2"),
    );
    let told = demo.json(&["reload"]);
    assert_eq!(told["addresses"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(
        told["at_next_start"],
        serde_json::json!(["limits.sessions"])
    );
    assert!(sftp.stat(&folder).await.is_ok());
    let mut there = Ssh::connect_to("127.0.0.9", demo.port()).await.unwrap();
    let key_file = olga.ssh_key_file.as_deref().unwrap();
    assert_eq!(there.try_key("olga", key_file).await, Login::Accepted);
    let mut channels = Vec::new();
    for _ in 0..2 {
        channels.push(there.channel().await.unwrap());
    }
    assert!(
        there.channel().await.is_err(),
        "a new connection comes under the new limit"
    );

    write(&demo, "[sftp]\nlisten = \"nowhere\"\n");
    let refused = demo.cli(&["reload"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("line 2"), "{refused:?}");
    assert!(Ssh::connect_to("127.0.0.9", demo.port()).await.is_ok());

    write(&demo, &before);
    hang_up(&demo);
    eventually(Duration::from_secs(10), "the address is given up", || {
        std::net::TcpStream::connect(("127.0.0.9", demo.port())).is_err()
    });
    assert!(sftp.stat(&folder).await.is_ok());
    assert!(!there.is_ended());
    let kept = demo.json(&["audit", "list", "--kind", "administration"]);
    let outcomes: Vec<&str> = kept["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["action"] == "gateway.reload")
        .map(|record| record["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["done", "refused"], "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_key_is_served_after_a_reload() {
    let demo = Demo::serve("");
    demo.add_user("olga");
    let old = demo.json(&["reload"])["host_keys"].clone();
    let file = demo.data().join("host_ecdsa.key");
    let mut keygen = std::process::Command::new(crate::harness::which("ssh-keygen"));
    keygen
        .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
        .arg(&file);
    crate::harness::run(&mut keygen, b"", Duration::from_secs(20)).must();
    let new = demo.json(&["reload"])["host_keys"].clone();
    assert_eq!(
        new.as_array().unwrap().len(),
        old.as_array().unwrap().len() + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_leaves_with_its_last_session() {
    let mut demo = Demo::serve("");
    let (olga, folder) = demo.add_worker("olga");
    let stays = login_key(&demo, &olga).await;
    let mut sftp = stays.sftp().await.unwrap();
    assert_eq!(demo.json(&["drain"])["sessions"], 1);
    eventually(Duration::from_secs(10), "nothing listens", || {
        std::net::TcpStream::connect((demo.host(), demo.port())).is_err()
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(sftp.stat(&folder).await.is_ok());
    assert!(demo.lives());
    let refused = demo.cli(&["reload"]);
    assert!(refused.err.contains("leaving"), "{refused:?}");
    stays.leave().await;
    eventually(Duration::from_secs(20), "the gateway has left", || {
        !demo.lives()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_after_so_long_and_says_why() {
    let mut demo = Demo::serve("");
    let (olga, _) = demo.add_worker("olga");
    let mut stays = login_key(&demo, &olga).await;
    demo.json(&["drain", "--within", "1"]);
    assert!(stays.wait_for_end(Duration::from_secs(20)).await);
    // rule C8
    assert!(stays.last_words().is_some());
    eventually(Duration::from_secs(20), "the gateway has left", || {
        !demo.lives()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_for_machines_holds_one_object_a_line_and_no_secret() {
    let demo = Demo::serve("login_seconds = 30\n[log]\nformat = \"json\"\nfilter = \"debug\"\n");
    let (account, folder) = demo.add_worker("jens");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put(&format!("{folder}/f"), b"contents-of-f").await, OK);
    let mut stranger = Ssh::connect(&demo).await.unwrap();
    let wrong = stranger.try_password("jens", "hunter2-my-password").await;
    assert_eq!(wrong, Login::Refused);
    drop((stranger, ssh));
    let log = demo.log();
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in ["timestamp", "level", "target"] {
            assert!(object[key].is_string(), "{key}: {line}");
        }
        assert!(object["fields"]["message"].is_string(), "message: {line}");
    }
    for secret in ["hunter2-my-password", "contents-of-f"] {
        assert!(!log.contains(secret), "{log}");
    }
}
