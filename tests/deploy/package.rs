//! The Debian package: made from a small binary, and its scripts run with a host that only notes
//! what they ask for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::file;
use crate::architecture::top;
use crate::harness::{Finished, run, which};

/// Makes the package in this folder.
fn build(folder: &Path) -> PathBuf {
    let mut command = Command::new(top().join("deploy/deb/build"));
    // Any program of this host will do: what is packed is not run.
    command.arg(which("env")).arg(folder);
    let told = run(&mut command, b"", Duration::from_secs(60)).must();
    PathBuf::from(told.out.trim())
}

fn dpkg_deb(arguments: &[&str]) -> String {
    let mut command = Command::new(which("dpkg-deb"));
    run(command.args(arguments), b"", Duration::from_secs(60))
        .must()
        .out
}

#[test]
fn it_holds_what_a_host_needs_and_nothing_of_a_site() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path()).display().to_string();
    let fields = dpkg_deb(&["--field", &package]);
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    assert!(fields.contains(&version), "{fields}");
    assert!(
        fields.contains("\nDepends: adduser, libc6 (>= "),
        "{fields}"
    );

    let listing = dpkg_deb(&["--contents", &package]);
    for (mode, path) in [
        ("-rwxr-xr-x", "./usr/bin/portcullis"),
        ("-rw-r--r--", "./lib/systemd/system/portcullis.service"),
        ("-rw-r--r--", "./usr/share/doc/portcullis/copyright"),
        ("-rw-r--r--", "./usr/share/doc/portcullis/operations.md.gz"),
        (
            "-rw-r--r--",
            "./usr/share/doc/portcullis/examples/portcullis.toml",
        ),
    ] {
        let line = listing
            .lines()
            .find(|line| line.ends_with(&format!(" {path}")));
        let line = line.unwrap_or_else(|| panic!("no {path}:\n{listing}"));
        assert!(line.starts_with(&format!("{mode} root/root ")), "{line}");
    }
    assert!(
        !listing.contains("./var") && !listing.contains("./etc"),
        "{listing}"
    );

    let tree = folder.path().join("tree");
    dpkg_deb(&["--extract", &package, &tree.display().to_string()]);
    let unit = std::fs::read_to_string(tree.join("lib/systemd/system/portcullis.service"));
    assert_eq!(unit.unwrap(), file("deploy/portcullis.service"));
}

#[test]
fn the_same_binary_gives_the_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.map(|folder| std::fs::read(build(folder.path())).unwrap());
    assert!(one == other && !one.is_empty());
}

/// A host on which the package's scripts run, with programs that only note how they were called.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new(with_systemd: bool) -> Host {
        let host = Host {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(host.path("bin")).unwrap();
        for program in ["adduser", "systemctl", "install"] {
            host.program(program, "echo \"${0##*/} $*\" >>\"$NOTES\"");
        }
        host.program("getent", "exit 2");
        if with_systemd {
            std::fs::create_dir_all(host.path("root/run/systemd/system")).unwrap();
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, does: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a script of the package; answers how it went, and what it asked for since the last.
    fn run(&self, script: &str, arguments: &[&str]) -> (Finished, String) {
        let notes = self.path("notes");
        std::fs::write(&notes, "").unwrap();
        let paths = format!(
            "{}:{}",
            self.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new(top().join("deploy/deb").join(script));
        command
            .args(arguments)
            .env("PATH", paths)
            .env("NOTES", &notes)
            .env("DPKG_ROOT", self.path("root"));
        let told = run(&mut command, b"", Duration::from_secs(20)).must();
        (told, std::fs::read_to_string(notes).unwrap())
    }
}

#[test]
fn an_installation_makes_a_user_and_a_private_folder_and_starts_nothing() {
    let host = Host::new(true);
    let (_, asked) = host.run("postinst", &["configure", ""]);
    assert!(asked.contains("adduser --system --group"), "{asked}");
    assert!(
        asked.contains("install -d -m 0700 -o portcullis"),
        "{asked}"
    );
    assert!(asked.contains("systemctl daemon-reload"), "{asked}");
    assert!(!asked.contains("start"), "{asked}");
}

#[test]
fn an_upgrade_touches_no_data_and_runs_the_new_binary_where_the_old_one_ran() {
    let host = Host::new(true);
    std::fs::create_dir_all(host.path("root/var/lib/portcullis")).unwrap();
    host.program("getent", "exit 0");
    assert_eq!(host.run("prerm", &["upgrade", "0.2.0"]).1, "", "it goes on");
    let (_, asked) = host.run("postinst", &["configure", "0.0.9"]);
    let want = "systemctl daemon-reload\nsystemctl try-restart portcullis.service\n";
    assert_eq!(asked, want);
    let without = Host::new(false);
    assert!(
        !without
            .run("postinst", &["configure", "0.0.9"])
            .1
            .contains("systemctl")
    );
}

#[test]
fn a_purge_keeps_the_data_and_says_so() {
    let host = Host::new(true);
    let data = host.path("root/var/lib/portcullis");
    std::fs::create_dir_all(&data).unwrap();
    let (_, asked) = host.run("prerm", &["remove"]);
    assert_eq!(asked, "systemctl disable --now portcullis.service\n");
    let (told, _) = host.run("postrm", &["purge"]);
    assert!(told.err.contains("stay"), "{told:?}");
    assert!(data.is_dir());
}
