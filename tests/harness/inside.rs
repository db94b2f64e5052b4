//! A test that runs in namespaces of its own: addresses and mounts that nobody else sees.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Finished, run, which};

/// Says, inside, that it is inside.
const MARK: &str = "PORTCULLIS_TEST_INSIDE";

/// What of the host a test has to itself.
#[derive(Debug, Clone, Copy)]
pub enum Own {
    /// A loopback device on which every address of 10.77.0.0/16 is the host's own, and some of
    /// fd77::/32.
    Network,
    /// Mounts.
    Mounts,
}

/// Runs `body` in namespaces of its own, by running this test once more in there. `test` is the
/// test's own path, such as `bans::loopback`.
///
/// Fails where the host lets nobody make namespaces: these tests are never skipped.
#[track_caller]
pub fn inside<F: Future<Output = ()>>(own: Own, test: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(MARK).is_some() {
        if matches!(own, Own::Network) {
            make_addresses();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(body());
    }
    let mut command = Command::new(which("unshare"));
    command
        .args(options(own))
        .args(["--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1");
    let told = run(&mut command, b"", Duration::from_secs(170));
    assert!(
        told.ok() && told.out.contains("1 passed"),
        "{test}, inside:\n{}\n{}",
        told.out,
        told.err
    );
}

/// As whom namespaces can be made here: by anyone in a user namespace, or by root without one.
#[track_caller]
fn options(own: Own) -> Vec<&'static str> {
    let kind = match own {
        Own::Network => "--net",
        Own::Mounts => "--mount",
    };
    let mut told = Vec::new();
    for options in [vec!["--map-root-user", kind], vec![kind]] {
        let mut command = Command::new(which("unshare"));
        let tried = run(
            command.args(&options).arg("true"),
            b"",
            Duration::from_secs(20),
        );
        if tried.ok() {
            return options;
        }
        told.push(tried);
    }
    panic!(
        "this host lets this user make no {kind} namespace, which the test needs: run it as root, \
         or allow unprivileged user namespaces (sysctl user.max_user_namespaces, and \
         kernel.apparmor_restrict_unprivileged_userns=0 where it exists): {told:?}"
    )
}

fn make_addresses() {
    ip(&["link", "set", "lo", "up"]);
    // All addresses of a network on a loopback device are local, as those of 127.0.0.0/8 are.
    ip(&["addr", "add", "10.77.0.1/16", "dev", "lo"]);
    for last in ["1::1", "1::2", "2::1"] {
        let address = format!("fd77:0:0:{last}/128");
        ip(&["addr", "add", &address, "dev", "lo", "nodad"]);
    }
}

#[track_caller]
fn ip(arguments: &[&str]) -> Finished {
    let mut command = Command::new(which("ip"));
    run(command.args(arguments), b"", Duration::from_secs(20)).must()
}

/// A small volume in memory, gone when dropped.
pub struct Volume {
    place: PathBuf,
}

impl Volume {
    /// Mounts one of this size, in MiB, on a folder that it makes; it is nobody else's to read.
    #[track_caller]
    pub fn mount(place: &Path, mib: u64) -> Volume {
        std::fs::create_dir_all(place).unwrap();
        let place = place.to_path_buf();
        let options = format!("size={mib}m,mode=700");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &place);
        Volume { place }
    }

    /// Changes an option, such as `ro`, `rw` or `size=64m`.
    #[track_caller]
    pub fn change(&self, option: &str) {
        mount(&["-o", &format!("remount,{option}")], &self.place);
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.place).unwrap();
        space.f_bavail * space.f_frsize
    }

    /// Fills it up until about so many bytes are free, in a file that it answers.
    pub fn fill(&self, leave: u64) -> PathBuf {
        use std::io::Write;
        let path = self.place.join("fill");
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let chunk = vec![1; 4096];
        while self.free() > leave && file.write_all(&chunk).is_ok() {}
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A gateway that still runs holds it: it leaves with the last handle.
        let mut command = Command::new(which("umount"));
        run(
            command.arg("--lazy").arg(&self.place),
            b"",
            Duration::from_secs(20),
        );
    }
}

#[track_caller]
fn mount(options: &[&str], place: &Path) {
    let mut command = Command::new(which("mount"));
    command.args(options).arg(place);
    run(&mut command, b"", Duration::from_secs(20)).must();
}
