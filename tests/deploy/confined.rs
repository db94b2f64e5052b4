//! The gateway at work, confined as the unit and the image confine it.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::service::allowed_calls;
use crate::architecture::top;
use crate::harness::wire::OK;
use crate::harness::{Demo, Own, Serve, eventually, inside, login_key, run, which};

/// The words that run a program confined, with `data` as all it may write to.
fn confined(scratch: &Path, data: &Path) -> Vec<String> {
    let calls = scratch.join("calls");
    std::fs::write(&calls, allowed_calls().join("\n")).unwrap();
    // An ordinary user goes through it to the data folder.
    std::fs::set_permissions(scratch, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = top().join("tests/deploy/sandbox.py");
    let words = [script.as_path(), &calls, data];
    std::iter::once(which("python3"))
        .chain(words.map(|word| word.display().to_string()))
        .collect()
}

fn heard(manager: &UnixDatagram) -> String {
    let mut words = [0; 256];
    let length = manager.recv(&mut words).unwrap();
    String::from_utf8_lossy(&words[..length]).into_owned()
}

#[test]
fn it_serves_and_stops_in_good_order() {
    let test = "deploy::confined::it_serves_and_stops_in_good_order";
    inside(Own::Mounts, test, async || {
        let name = format!("portcullis-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut serve = Serve::default();
        let (env, socket) = (which("env"), format!("NOTIFY_SOCKET=@{name}"));
        serve.under = confined(serve.folder.path(), &serve.data());
        serve.under.extend([env, socket]);
        let mut demo = Demo::serve_with(serve);
        assert!(heard(&manager).starts_with("READY=1\n"));

        let mia = demo.add_user("mia");
        demo.grant("/", "full", "mia");
        let sftp = &mut login_key(&demo, &mia).await.sftp().await.unwrap();
        let data = vec![7; 300_000];
        assert_eq!(sftp.put("/new", &data).await, OK);
        assert_eq!(sftp.posix_rename("/new", "/kept").await, OK);
        assert_eq!(sftp.make_folder("/folder").await, OK);
        assert_eq!(sftp.rename("/folder", "/moved").await, OK);
        assert_eq!(sftp.set_times("/kept", 1_700_000_000).await, OK);
        assert_eq!(sftp.get("/kept").await.unwrap(), data);
        assert_eq!(sftp.list("/").await.unwrap().len(), 2);
        let told = demo.json(&["user", "disable", "mia"]);
        assert_eq!(told["sessions_ended"], 1, "{told}");
        demo.cli(&["audit", "verify"]).must();

        let pid = rustix::process::Pid::from_raw(demo.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(heard(&manager).starts_with("STOPPING=1\n"));
        eventually(Duration::from_secs(20), "it stops", || !demo.lives());
        let log = demo.log();
        // Each call that the filter refuses would be told of here, or should be.
        assert!(
            !log.contains("ERROR") && !log.contains("not permitted"),
            "{log}"
        );
    });
}

/// What the other test proves rests on a confinement that does confine.
#[test]
fn the_confinement_holds() {
    let test = "deploy::confined::the_confinement_holds";
    inside(Own::Mounts, test, async || {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let mut words = confined(folder.path(), &data);
        let script = "
import errno, os
def refusal(call, *arguments):
    try: return call(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
print(refusal(os.mkdir, '../beside'), refusal(os.mkdir, '/tmp/portcullis'))
print(refusal(os.mkdir, 'inside'), refusal(os.chown, 'inside', 1, 1), refusal(os.nice, 1))
print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')][0])
";
        words.extend([which("python3"), "-c".to_owned(), script.to_owned()]);
        let mut command = Command::new(&words[0]);
        let told = run(command.args(&words[1..]), b"", Duration::from_secs(20)).must();
        let said: Vec<&str> = told.out.split_whitespace().collect();
        let want = [
            "EROFS",
            "EROFS",
            "None",
            "EPERM",
            "EPERM",
            "NoNewPrivs:",
            "1",
        ];
        assert_eq!(said, want, "{told:?}");
    });
}
