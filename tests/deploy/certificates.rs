//! `certs/make`, run.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use crate::architecture::top;
use crate::harness::{Finished, run, which};

fn make(folder: &std::path::Path) -> Finished {
    let mut command = Command::new(top().join("certs/make"));
    command.arg(folder);
    run(&mut command, b"", Duration::from_secs(60))
}

#[test]
fn the_script_makes_certificates_that_verify_and_writes_over_none() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("certs");
    make(&folder).must();
    let file = |name: &str| folder.join(name).display().to_string();
    let verify = |purpose: &str, more: &[&str], name: &str| {
        let mut command = Command::new(which("openssl"));
        command
            .args([
                "verify",
                "-purpose",
                purpose,
                "-CAfile",
                &file("authority.pem"),
            ])
            .args(more)
            .arg(file(name));
        run(&mut command, b"", Duration::from_secs(20))
    };
    for host in [
        ["-verify_hostname", "localhost"],
        ["-verify_ip", "127.0.0.1"],
    ] {
        verify("sslserver", &host, "server.pem").must();
    }
    verify("sslclient", &[], "client.pem").must();
    assert!(!verify("sslclient", &[], "server.pem").ok());
    assert!(
        !verify(
            "sslserver",
            &["-verify_hostname", "example.com"],
            "server.pem"
        )
        .ok()
    );
    for name in ["authority.key", "server.key", "client.key"] {
        let mode = std::fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let before = std::fs::read(file("server.pem")).unwrap();
    let told = make(&folder);
    assert!(
        !told.ok() && told.err.contains("is there already"),
        "{told:?}"
    );
    assert_eq!(std::fs::read(file("server.pem")).unwrap(), before);
}
