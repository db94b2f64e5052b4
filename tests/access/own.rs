//! Own uploads (permissions.md 4, rules U5 to U7).

use crate::harness::wire::{CREATE, NO_SUCH_FILE, OK, PERMISSION_DENIED, TRUNCATE, WRITE};
use crate::harness::{Demo, login_key};

// rule U6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_keeps_its_uploads_over_connections() {
    let demo = Demo::start();
    let account = demo.add_user("wera");
    demo.make_file("/drop/theirs", "theirs");
    demo.make_folder("/drop/sub");
    demo.grant("/drop", "write", "wera");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put("/drop/mine", b"one").await, OK);
    assert_eq!(sftp.list("/drop").await.unwrap(), ["mine", "sub"]);

    // Another connection of the same account, credential and address.
    let second = login_key(&demo, &account).await;
    let mut sftp = second.sftp().await.unwrap();
    assert_eq!(sftp.stat("/drop/mine").await.unwrap().size, Some(3));
    assert_eq!(sftp.put("/drop/mine", b"twice").await, OK);
    assert_eq!(sftp.set_times("/drop/mine", 1_000_000_000).await, OK);
    assert_eq!(sftp.rename("/drop/mine", "/drop/named").await, OK);
    assert_eq!(
        sftp.rename("/drop/named", "/drop/sub/named").await,
        PERMISSION_DENIED
    );
    assert_eq!(sftp.remove("/drop/named").await, PERMISSION_DENIED);
    assert_eq!(sftp.stat("/drop/theirs").await, Err(NO_SUCH_FILE));

    // With another credential it is a stranger's.
    let mut other = account.clone();
    other.ssh_key_file = Some(demo.new_key("wera-two"));
    demo.add_key("wera", other.ssh_key_file.as_deref().unwrap());
    let third = login_key(&demo, &other).await;
    let mut sftp = third.sftp().await.unwrap();
    assert_eq!(sftp.stat("/drop/named").await, Err(NO_SUCH_FILE));
    assert_eq!(sftp.list("/drop").await.unwrap(), ["sub"]);
}

// rule U6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_someone_else_replaced_is_no_longer_own() {
    let demo = Demo::start();
    let account = demo.add_user("wera");
    let full = demo.add_user("fritz");
    demo.make_folder("/drop");
    demo.grant("/drop", "read_write", "wera");
    demo.grant("/drop", "full", "fritz");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.put("/drop/f", b"mine").await, OK);
    let other = login_key(&demo, &full).await;
    assert_eq!(
        other.sftp().await.unwrap().put("/drop/f", b"theirs").await,
        OK
    );
    assert_eq!(sftp.put("/drop/f", b"again").await, PERMISSION_DENIED);
    assert_eq!(std::fs::read(demo.on_disk("/drop/f")).unwrap(), b"theirs");
}

// rule U7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_may_set_times_and_mode_of_a_folder_they_just_made() {
    let demo = Demo::start();
    let account = demo.add_user("wera");
    demo.make_folder("/drop/old");
    demo.grant("/drop", "write", "wera");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.make_folder("/drop/new").await, OK);
    assert_eq!(sftp.set_mode("/drop/new", 0o755).await, OK);
    assert_eq!(sftp.set_times("/drop/new", 1_000_000_000).await, OK);
    assert_eq!(sftp.set_mode("/drop/old", 0o755).await, PERMISSION_DENIED);
}

// rule U7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_special_bits_and_no_owners() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("wera");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{folder}/f");
    assert_eq!(sftp.put(&path, b"x").await, OK);
    assert_eq!(sftp.set_mode(&path, 0o7777).await, OK);
    let owner = std::fs::metadata(demo.on_disk(&path)).unwrap().uid();
    let chown = crate::harness::wire::Body::new()
        .text(&path)
        .u32(2)
        .u32(12_345)
        .u32(12_345);
    assert_eq!(sftp.code(9, &chown).await, OK);
    let metadata = std::fs::metadata(demo.on_disk(&path)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7000, 0);
    assert_eq!(metadata.uid(), owner);
}

// rule U2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_appears_whole_when_it_is_closed() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("wera");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let path = format!("{folder}/f");
    let handle = sftp.open(&path, WRITE | CREATE | TRUNCATE).await.unwrap();
    assert_eq!(sftp.write(&handle, 0, b"part").await, OK);
    assert!(!demo.on_disk(&path).exists());
    assert_eq!(sftp.close(&handle).await, OK);
    assert_eq!(std::fs::read(demo.on_disk(&path)).unwrap(), b"part");
}
