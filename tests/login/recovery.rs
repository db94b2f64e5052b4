//! Recovery codes at a real prompt (rule L5).

use crate::harness::{Demo, Login, Ssh};

// rule L5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_code_lets_in_once() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    let password = partner.password.clone().unwrap();
    let made = demo.json(&["recovery-codes", "make", "partner"]);
    let code = made["recovery_codes"][3].as_str().unwrap().to_lowercase();
    let login = async || {
        let mut ssh = Ssh::connect(&demo).await.unwrap();
        let asked = ssh.ask("partner").await;
        assert_eq!(asked, Login::Asked(vec!["Password: ".to_owned()]));
        let asked = ssh.answer(&[&password]).await;
        assert_eq!(asked, Login::Asked(vec!["Code: ".to_owned()]));
        ssh.answer(&[&code]).await
    };
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let appended = format!("{password}{code}");
    assert_eq!(ssh.try_password("partner", &appended).await, Login::Refused);
    assert_eq!(login().await, Login::Accepted);
    assert_eq!(login().await, Login::Refused, "it is spent");
    let shown = demo.json(&["user", "show", "partner"]);
    assert_eq!(shown["recovery_codes"], 9);
    let audit = demo
        .json(&["audit", "list", "--kind", "factor"])
        .to_string();
    assert!(audit.contains("\"recovery\""), "{audit}");
}
