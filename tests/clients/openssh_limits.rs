//! OpenSSH at its limits: requests in flight, key changes, large files, large folders.

use std::os::unix::fs::FileExt;

use super::sftp;
use crate::harness::{Demo, random_bytes};

/// docs/dependencies.md: stock servers on the same transport hang from 64 or 128 requests on.
#[test]
fn any_number_of_requests_in_flight() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let data = random_bytes(7, 48 << 20);
    demo.make_file(&format!("{folder}/f"), &data);
    let local = demo.scratch();
    for requests in ["1", "16", "64", "128", "256"] {
        let down = local.join(format!("down-{requests}"));
        let batch = format!(
            "get {folder}/f {0}\nput {0} {folder}/up-{requests}\n",
            down.display()
        );
        sftp(&demo, &account, &["-R", requests], &batch).must();
        assert!(
            std::fs::read(&down).unwrap() == data,
            "-R {requests}: the download differs"
        );
        let up = demo.on_disk(&format!("{folder}/up-{requests}"));
        assert!(
            std::fs::read(&up).unwrap() == data,
            "-R {requests}: the upload differs"
        );
        std::fs::remove_file(&up).unwrap();
        std::fs::remove_file(&down).unwrap();
    }
    // Small blocks make many more requests of the same bytes.
    let batch = format!("get {folder}/f {}/small\n", local.display());
    sftp(&demo, &account, &["-R", "256", "-B", "4096"], &batch).must();
    assert!(std::fs::read(local.join("small")).unwrap() == data);
}

#[test]
fn keys_change_in_mid_transfer() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let data = random_bytes(8, 48 << 20);
    demo.make_file(&format!("{folder}/f"), &data);
    let down = demo.scratch().join("down");
    for cipher in [
        "chacha20-poly1305@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-gcm@openssh.com",
    ] {
        let options = [
            "-oRekeyLimit=1M",
            &format!("-oCiphers={cipher}"),
            "-R",
            "128",
        ]
        .map(str::to_owned);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let batch = format!("get {folder}/f {0}\nput {0} {folder}/up\n", down.display());
        sftp(&demo, &account, &options, &batch).must();
        assert!(std::fs::read(&down).unwrap() == data, "{cipher}");
        assert!(
            std::fs::read(demo.on_disk(&format!("{folder}/up"))).unwrap() == data,
            "{cipher}"
        );
    }
}

/// A sparse file: `data` at its end, holes before it.
fn sparse(path: &std::path::Path, size: u64, data: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(data, size - data.len() as u64).unwrap();
}

#[test]
fn files_beyond_four_gibibytes() {
    const SIZE: u64 = (4 << 30) + 3_000_000;
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let tail = random_bytes(9, 2_000_000);
    let remote = demo.on_disk(&folder);
    let local = demo.scratch();
    sparse(&remote.join("big"), SIZE, &tail);
    // Both sides hold all but the last two million bytes: what moves lies beyond 4 GiB.
    std::fs::File::create(local.join("big"))
        .unwrap()
        .set_len(SIZE - 2_000_000)
        .unwrap();
    sparse(&local.join("up"), SIZE, &tail);
    std::fs::File::create(remote.join("up"))
        .unwrap()
        .set_len(SIZE - 2_000_000)
        .unwrap();
    let batch = format!(
        "ls -ln {folder}\nreget {folder}/big {0}/big\nreput {0}/up {folder}/up\n",
        local.display()
    );
    let told = sftp(&demo, &account, &[], &batch).must();
    assert!(told.out.contains(&SIZE.to_string()), "{told:?}");
    for path in [local.join("big"), remote.join("up")] {
        let file = std::fs::File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), SIZE);
        let mut got = vec![0; tail.len()];
        file.read_exact_at(&mut got, SIZE - tail.len() as u64)
            .unwrap();
        assert!(got == tail, "{}", path.display());
    }
}

#[test]
fn ten_thousand_entries() {
    let demo = Demo::start();
    let (account, folder) = demo.add_worker("olga");
    let many = demo.make_folder(&format!("{folder}/many"));
    for index in 0..10_000 {
        std::fs::write(many.join(format!("entry-{index:05}.dat")), b"x").unwrap();
    }
    let told = sftp(&demo, &account, &[], &format!("ls -1 {folder}/many\n")).must();
    let mut names: Vec<&str> = told
        .out
        .lines()
        .filter(|line| line.contains("entry-"))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 10_000);
}
