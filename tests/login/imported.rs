//! A password that came from another system, with a real client.

use crate::harness::{Demo, Login, Ssh};

/// Made by libxcrypt of `correct horse battery`.
pub const SHA512: &[u8] =
    b"$6$rounds=1000$saltstring$oAIkW2wT6q/.Re1iIA5Ip/ywtE0UC11Fdshqsdpza0IMGE6vtW\
                        66SJ4oVItZIfIoOXWd1IB9K/GDohAst972J1\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_of_another_system_lets_in_and_is_replaced() {
    let demo = Demo::start();
    demo.cli(&["user", "add", "ann", "--factor", "never"])
        .must();
    let import = |hash: &[u8]| demo.cli_with(&["password", "set", "ann", "--hash-file", "-"], hash);
    import(SHA512).must();
    let kind = || demo.json(&["user", "show", "ann"])["password_hash"].clone();
    assert_eq!(kind(), "sha512-crypt");
    let mut first = Ssh::connect(&demo).await.unwrap();
    let login = first.try_password("ann", "correct horse battery").await;
    assert_eq!(login, Login::Accepted);
    assert_eq!(kind(), "argon2id");
    let mut second = Ssh::connect(&demo).await.unwrap();
    let login = second.try_password("ann", "correct horse battery").await;
    assert_eq!(login, Login::Accepted);
    assert!(!first.is_ended(), "the session goes on");
    for (bad, says) in [
        (&b"$1$salt$qJH7.N4xYta3aEG/dfqo/0\n"[..], "MD5-crypt"),
        (b"!\n", "no password"),
        (b"ann:$6$salt$x:1:2\n", "second field"),
        (b"$6$saltstring$short\n", "cut short"),
        (b"", "no password"),
    ] {
        let told = import(bad);
        assert!(!told.ok() && told.err.contains(says), "{told:?}");
    }
}
