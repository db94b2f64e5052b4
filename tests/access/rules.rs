//! Groups, fences, blocks, views of the root, flags; and their changes under open sessions.

use crate::harness::wire::{NO_SUCH_FILE, OK, PERMISSION_DENIED, READ};
use crate::harness::{Demo, Login, Ssh, login_key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_unions_and_groups_of_which_all_are_needed() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    for folder in ["/one", "/both"] {
        demo.make_file(&format!("{folder}/f"), "x");
    }
    for group in ["red", "blue"] {
        demo.cli(&["group", "add", group]).must();
    }
    demo.cli(&["member", "add", "red", "gus"]).must();
    demo.cli(&["grant", "add", "/one", "list", "--group", "red"])
        .must();
    let both = [
        "grant", "add", "/both", "read", "--group", "red", "--group", "blue",
    ];
    demo.cli(&both).must();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.list("/").await.unwrap(), ["one"]);
    assert_eq!(sftp.get("/one/f").await, Err(PERMISSION_DENIED));
    // The union of levels, with a grant of its own.
    demo.grant("/one", "read", "gus");
    assert_eq!(sftp.get("/one/f").await.unwrap(), b"x");
    // The second group: at the next operation of the open session.
    assert_eq!(sftp.get("/both/f").await, Err(NO_SUCH_FILE));
    demo.cli(&["member", "add", "blue", "gus"]).must();
    assert_eq!(sftp.get("/both/f").await.unwrap(), b"x");
    demo.cli(&["member", "remove", "red", "gus"]).must();
    assert_eq!(sftp.get("/both/f").await, Err(NO_SUCH_FILE));
}

// rule D6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_a_group_widens_nothing() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    demo.make_file("/both/f", "x");
    demo.make_file("/shut/f", "x");
    for group in ["red", "blue", "barred"] {
        demo.cli(&["group", "add", group]).must();
    }
    demo.cli(&["member", "add", "red", "gus"]).must();
    demo.cli(&["member", "add", "barred", "gus"]).must();
    demo.cli(&[
        "grant", "add", "/both", "read", "--group", "red", "--group", "blue",
    ])
    .must();
    demo.grant("/shut", "read", "gus");
    demo.cli(&["block", "add", "/shut", "--group", "barred"])
        .must();
    demo.cli(&["group", "delete", "blue"]).must();
    demo.cli(&["group", "delete", "barred"]).must();
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(
        sftp.stat("/both/f").await,
        Err(NO_SUCH_FILE),
        "the AND list shrank"
    );
    assert_eq!(
        sftp.stat("/shut/f").await,
        Err(NO_SUCH_FILE),
        "the block lost its members"
    );
    // A group made again inherits nothing.
    demo.cli(&["group", "add", "blue"]).must();
    demo.cli(&["member", "add", "blue", "gus"]).must();
    assert_eq!(sftp.stat("/both/f").await, Err(NO_SUCH_FILE));
}

// rule C3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_and_blocks_cut_at_the_next_operation() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    let admin = demo.add_user("ada");
    demo.make_file("/a/b/c/f", "x");
    demo.grant("/a", "full", "gus");
    demo.grant("/a", "admin", "ada");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    let ada = login_key(&demo, &admin).await;
    let mut over = ada.sftp().await.unwrap();
    assert_eq!(sftp.get("/a/b/c/f").await.unwrap(), b"x");

    demo.cli(&["fence", "add", "/a/b"]).must();
    assert_eq!(sftp.get("/a/b/c/f").await, Err(NO_SUCH_FILE));
    assert_eq!(sftp.list("/a").await.unwrap(), Vec::<String>::new());
    assert_eq!(
        over.get("/a/b/c/f").await.unwrap(),
        b"x",
        "Admin passes a fence"
    );
    demo.grant("/a/b/c", "read", "gus");
    assert_eq!(
        sftp.get("/a/b/c/f").await.unwrap(),
        b"x",
        "a grant below the fence works"
    );
    assert_eq!(sftp.list("/a").await.unwrap(), ["b"], "and leads there");
    demo.cli(&["fence", "remove", "/a/b"]).must();
    assert_eq!(sftp.put("/a/b/c/f", b"y").await, OK);

    demo.cli(&["block", "add", "/a/b", "--user", "ada"]).must();
    assert_eq!(
        over.get("/a/b/c/f").await,
        Err(NO_SUCH_FILE),
        "a block stops Admin too"
    );
    assert!(over.get("/a/missing").await.is_err());
    assert_eq!(
        sftp.get("/a/b/c/f").await.unwrap(),
        b"y",
        "it names ada only"
    );
    // Site administrators ignore both.
    let site = demo.account("admin");
    let ssh = crate::harness::login_password(&demo, site).await;
    assert_eq!(
        ssh.sftp().await.unwrap().get("/a/b/c/f").await.unwrap(),
        b"y"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_not_recursive_and_the_way_to_a_deep_one() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    demo.make_file("/flat/f", "x");
    demo.make_file("/flat/sub/f", "x");
    demo.make_file("/way/to/it/f", "x");
    demo.make_file("/way/beside/f", "x");
    demo.make_file("/way/f", "x");
    demo.cli(&[
        "grant",
        "add",
        "/flat",
        "read",
        "--user",
        "gus",
        "--not-recursive",
    ])
    .must();
    demo.grant("/way/to/it", "read", "gus");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.get("/flat/f").await.unwrap(), b"x");
    assert_eq!(sftp.list("/flat").await.unwrap(), ["f"]);
    assert_eq!(sftp.stat("/flat/sub").await, Err(NO_SUCH_FILE));
    // Pass-through shows only the branches that lead to a grant, and nothing of its own.
    assert_eq!(sftp.list("/").await.unwrap(), ["flat", "way"]);
    assert_eq!(sftp.list("/way").await.unwrap(), ["to"]);
    assert!(sftp.stat("/way/to").await.is_ok());
    assert_eq!(sftp.stat("/way/f").await, Err(NO_SUCH_FILE));
    assert_eq!(sftp.stat("/way/beside").await, Err(NO_SUCH_FILE));
    assert_eq!(sftp.put("/way/new", b"x").await, PERMISSION_DENIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_view_is_a_jail_and_a_home_is_a_start() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    demo.make_file("/jails/acme/in/f", "x");
    demo.make_file("/jails/other/f", "x");
    demo.cli(&[
        "user",
        "set",
        "gus",
        "--root-view",
        "/jails/acme",
        "--home",
        "/in",
    ])
    .must();
    demo.grant("/jails", "read", "gus");
    let ssh = login_key(&demo, &account).await;
    let mut sftp = ssh.sftp().await.unwrap();
    assert_eq!(sftp.real_path(".").await.unwrap(), "/in");
    assert_eq!(sftp.list("/").await.unwrap(), ["in"]);
    assert_eq!(sftp.get("/in/f").await.unwrap(), b"x");
    for path in [
        "/jails/other/f",
        "/../other/f",
        "/../../jails/other/f",
        "/in/../../other/f",
    ] {
        assert!(sftp.open(path, READ).await.is_err(), "{path}");
    }
    assert_eq!(sftp.real_path("/../..").await.unwrap(), "/");
}

// rule D3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_view_whose_folder_is_gone_lets_nobody_in() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    demo.make_folder("/jail");
    demo.cli(&["user", "set", "gus", "--root-view", "/jail"])
        .must();
    demo.grant("/", "full", "gus");
    login_key(&demo, &account).await;
    std::fs::remove_dir(demo.on_disk("/jail")).unwrap();
    let mut ssh = Ssh::connect(&demo).await.unwrap();
    let key = account.ssh_key_file.as_deref().unwrap();
    assert_ne!(ssh.try_key("gus", key).await, Login::Accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_flags_of_users_groups_and_site() {
    let demo = Demo::start();
    let account = demo.add_user("gus");
    let key = account.ssh_key_file.clone().unwrap();
    let login = async || {
        Ssh::connect(&demo)
            .await
            .unwrap()
            .try_key("gus", &key)
            .await
    };
    assert_eq!(login().await, Login::Accepted);
    demo.cli(&["user", "set", "gus", "--protocols", "web"])
        .must();
    assert_ne!(login().await, Login::Accepted, "its own flag is gone");
    demo.cli(&["group", "add", "sftpers", "--protocols", "sftp"])
        .must();
    demo.cli(&["member", "add", "sftpers", "gus"]).must();
    assert_eq!(login().await, Login::Accepted, "a group's flag is enough");
    demo.cli(&["user", "set", "gus", "--protocols", "sftp"])
        .must();
    demo.cli(&["member", "remove", "sftpers", "gus"]).must();
    demo.cli(&["site", "set", "protocol_access_groups_only", "on"])
        .must();
    assert_ne!(login().await, Login::Accepted, "only groups count");
    demo.cli(&["site", "set", "protocol_access_groups_only", "off"])
        .must();
    demo.cli(&["site", "set", "protocols", "web"]).must();
    assert_ne!(login().await, Login::Accepted, "the site has closed SFTP");
}
