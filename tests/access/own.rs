//! Own uploads (permissions.md 4, rules U5 to U7).

use crate::harness::wire::{
    Body, CREATE, FAILURE, NO_SUCH_FILE, OK, PERMISSION_DENIED, TRUNCATE, WRITE,
};
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
    let chown = Body::new().text(&path).u32(2).u32(12_345).u32(12_345);
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

// rule U5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_upload_is_reached_by_name_from_another_connection() {
    use std::os::unix::fs::MetadataExt;
    let demo = Demo::start();
    let account = demo.add_user("wera");
    demo.make_folder("/drop/sub");
    demo.grant("/drop", "write", "wera");
    let first = login_key(&demo, &account).await;
    let mut writer = first.sftp().await.unwrap();
    let flags = WRITE | CREATE | TRUNCATE;
    let handle = writer.open("/drop/f.part", flags).await.unwrap();
    assert_eq!(writer.write(&handle, 0, b"text").await, OK);

    // With another key: the upload is the account's, not the session's.
    let mut same = account.clone();
    same.ssh_key_file = Some(demo.new_key("wera-two"));
    demo.add_key("wera", same.ssh_key_file.as_deref().unwrap());
    let second = login_key(&demo, &same).await;
    let mut other = second.sftp().await.unwrap();
    assert_eq!(other.stat("/drop/f.part").await.unwrap().size, Some(4));
    assert_eq!(other.set_times("/drop/f.part", 1_000_000_000).await, OK);
    assert_eq!(other.set_mode("/drop/f.part", 0o600).await, OK);
    let away = other.rename("/drop/f.part", "/drop/sub/f").await;
    assert_eq!(away, PERMISSION_DENIED);
    assert_eq!(other.rename("/drop/f.part", "/drop/f").await, OK);
    assert_eq!(other.stat("/drop/f.part").await, Err(NO_SUCH_FILE));
    assert!(!demo.on_disk("/drop/f").exists());
    assert_eq!(writer.close(&handle).await, OK);
    let published = std::fs::metadata(demo.on_disk("/drop/f")).unwrap();
    assert_eq!((published.len(), published.mtime()), (4, 1_000_000_000));
    assert_eq!(published.mode() & 0o777, 0o600);

    // A stranger's upload is not there, whatever the level.
    let full = demo.add_user("fritz");
    demo.grant("/drop", "full", "fritz");
    let handle = writer.open("/drop/g", flags).await.unwrap();
    let ssh = login_key(&demo, &full).await;
    let mut fritz = ssh.sftp().await.unwrap();
    assert_eq!(fritz.set_mode("/drop/g", 0o600).await, NO_SUCH_FILE);
    assert_eq!(fritz.rename("/drop/g", "/drop/h").await, NO_SUCH_FILE);
    assert_eq!(fritz.remove("/drop/g").await, NO_SUCH_FILE);
    assert_eq!(writer.close(&handle).await, OK);
}

// rules U4, U5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_upload_can_be_removed() {
    let demo = Demo::start();
    let account = demo.add_user("wera");
    demo.make_folder("/drop");
    demo.grant("/drop", "write", "wera");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let flags = WRITE | CREATE | TRUNCATE;
    let handle = sftp.open("/drop/f", flags).await.unwrap();
    assert_eq!(sftp.write(&handle, 0, b"text").await, OK);
    assert_eq!(sftp.remove("/drop/f").await, OK);
    assert_eq!(sftp.list("/drop").await.unwrap(), Vec::<String>::new());
    assert_eq!(sftp.write(&handle, 4, b"more").await, FAILURE);
    assert_eq!(sftp.close(&handle).await, OK, "who removed it knows");

    let handle = sftp.open("/drop/f", flags).await.unwrap();
    let second = login_key(&demo, &account).await;
    assert_eq!(second.sftp().await.unwrap().remove("/drop/f").await, OK);
    let closed = sftp.request(4, &Body::new().text(&handle)).await.unwrap();
    assert_eq!(closed.status(), FAILURE, "who did not must hear");
    assert_eq!(
        closed.message(),
        "this upload was removed; nothing of it was published"
    );
    assert_eq!(std::fs::read_dir(demo.on_disk("/drop")).unwrap().count(), 0);
}

// rule U5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_waits_for_the_close_that_another_connection_sent() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("wera");
    let first = login_key(&demo, &account).await;
    let second = login_key(&demo, &account).await;
    let mut writer = first.sftp().await.unwrap();
    let mut other = second.sftp().await.unwrap();
    for round in 0..50 {
        let (part, whole) = (format!("{folder}/f.part"), format!("{folder}/f{round}"));
        let handle = writer.open(&part, WRITE | CREATE).await.unwrap();
        assert_eq!(writer.write(&handle, 0, b"text").await, OK);
        let close = Body::new().text(&handle);
        let (closed, renamed) = tokio::join!(writer.code(4, &close), other.rename(&part, &whole));
        assert_eq!((closed, renamed), (OK, OK), "round {round}");
        assert_eq!(std::fs::read(demo.on_disk(&whole)).unwrap(), b"text");
    }
}
