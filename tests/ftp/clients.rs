//! Real clients of FTP and FTPS, each through a day's work. One that is not installed fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PASSWORD, add_ftp_user, clear_worker, ran};
use crate::harness::{Account, Demo, random_bytes, which};

/// A demo with an account, and a tree to be sent.
struct Scene {
    demo: Demo,
    account: Account,
    folder: String,
    local: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let demo = Demo::start();
        let (account, folder) = add_ftp_user(&demo, "finn");
        let local = demo.scratch();
        let scene = Scene {
            demo,
            account,
            folder,
            local,
        };
        scene.make_tree();
        scene
    }

    fn make_tree(&self) {
        let inner = self.local.join("tree/inner folder");
        std::fs::create_dir_all(&inner).unwrap();
        for (at, name) in ["a.bin", "Übergröße.txt", "文件", "with space"]
            .iter()
            .enumerate()
        {
            std::fs::write(inner.join(name), random_bytes(at as u64, 20_000 * at)).unwrap();
        }
        std::fs::write(self.local.join("tree/top"), random_bytes(9, 700_000)).unwrap();
    }

    fn here(&self) -> String {
        self.local.display().to_string()
    }

    fn at(&self) -> String {
        self.demo.ftp().address.to_string()
    }

    fn certificate(&self) -> String {
        self.demo.certificate().display().to_string()
    }

    /// Whether two trees hold the same.
    #[track_caller]
    fn same(&self, one: &Path, other: &Path) {
        let mut command = Command::new(which("diff"));
        ran(command.arg("-r").args([one, other]), 30);
    }

    /// Whether the tree came whole.
    #[track_caller]
    fn came(&self, under: &str) {
        let there = self.demo.on_disk(&format!("{}/{under}", self.folder));
        self.same(&self.local.join("tree"), &there);
    }
}

/// lftp with these commands.
fn lftp(scene: &Scene, commands: &str) -> String {
    let script = format!(
        "set ssl:ca-file {}; set ssl:check-hostname no; set net:max-retries 1; set net:timeout 20; \
         set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set cmd:fail-exit yes; \
         open -u {},{PASSWORD} ftp://{}; {commands}",
        scene.certificate(),
        scene.account.name,
        scene.at()
    );
    let mut command = Command::new(which("lftp"));
    command
        .args(["--norc", "-c", &script])
        .env("LFTP_HOME", &scene.local);
    ran(&mut command, 120)
}

#[test]
fn lftp_mirrors_both_ways_over_parallel_connections() {
    let scene = Scene::new();
    let (here, folder) = (scene.here(), scene.folder.clone());
    lftp(
        &scene,
        &format!("mirror -R -P 4 {here}/tree {folder}/tree; mirror -P 4 {folder}/tree {here}/back"),
    );
    scene.came("tree");
    scene.same(&scene.local.join("tree"), &scene.local.join("back"));
    // A second mirror finds nothing to do: times and sizes are told as they are.
    let told = lftp(&scene, &format!("mirror -R -v {here}/tree {folder}/tree"));
    assert!(!told.contains("Transferring file"), "{told}");
    lftp(
        &scene,
        &format!(
            "mkdir {folder}/d; mv {folder}/tree/top {folder}/d/moved; rm {folder}/d/moved; \
             rmdir {folder}/d; rm -r {folder}/tree; cls -1 {folder}"
        ),
    );
    assert_eq!(
        std::fs::read_dir(scene.demo.on_disk(&folder))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn lftp_resumes_both_ways() {
    let scene = Scene::new();
    let (here, folder) = (scene.here(), scene.folder.clone());
    let data = std::fs::read(scene.local.join("tree/top")).unwrap();
    scene
        .demo
        .make_file(&format!("{folder}/up"), &data[..300_000]);
    scene.demo.make_file(&format!("{folder}/down"), &data);
    std::fs::write(scene.local.join("down"), &data[..400_000]).unwrap();
    lftp(
        &scene,
        &format!("get -c {folder}/down -o {here}/down; put -c {here}/tree/top -o {folder}/up"),
    );
    assert!(std::fs::read(scene.local.join("down")).unwrap() == data);
    assert!(std::fs::read(scene.demo.on_disk(&format!("{folder}/up"))).unwrap() == data);
}

/// curl with these arguments.
fn curl(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = Command::new(which("curl"));
    command
        .args([
            "-q",
            "-sS",
            "--cacert",
            &scene.certificate(),
            "--max-time",
            "60",
        ])
        .args(["-u", &format!("{}:{PASSWORD}", scene.account.name)])
        .args(arguments);
    command
}

#[test]
fn curl_explicit_implicit_and_resuming() {
    let scene = Scene::new();
    let folder = scene.folder.clone();
    let (ftp, ftps) = (scene.demo.ftp().address, scene.demo.ftps().address);
    let top = scene.local.join("tree/top").display().to_string();
    let data = std::fs::read(&top).unwrap();
    let up = format!("ftp://{ftp}{folder}/new/made/up");
    ran(
        &mut curl(
            &scene,
            &["--ssl-reqd", "--ftp-create-dirs", "-T", &top, &up],
        ),
        60,
    );
    assert!(std::fs::read(scene.demo.on_disk(&format!("{folder}/new/made/up"))).unwrap() == data);
    let back = scene.local.join("back").display().to_string();
    let down = format!("ftps://{ftps}{folder}/new/made/up");
    ran(&mut curl(&scene, &["-o", &back, &down]), 60);
    assert!(std::fs::read(&back).unwrap() == data);
    std::fs::write(&back, &data[..100_000]).unwrap();
    ran(&mut curl(&scene, &["-C", "-", "-o", &back, &down]), 60);
    assert!(std::fs::read(&back).unwrap() == data);
    // Resume up: curl asks for the size and appends.
    scene
        .demo
        .make_file(&format!("{folder}/half"), &data[..200_000]);
    let half = format!("ftp://{ftp}{folder}/half");
    ran(
        &mut curl(&scene, &["--ssl-reqd", "-C", "-", "-T", &top, &half]),
        60,
    );
    assert!(std::fs::read(scene.demo.on_disk(&format!("{folder}/half"))).unwrap() == data);
    let quote = ["--ssl-reqd", "-Q", &format!("DELE {folder}/half"), "-l"];
    let listed = ran(
        curl(&scene, &quote).arg(format!("ftp://{ftp}{folder}/")),
        60,
    );
    assert_eq!(listed.trim_end(), "new");
    // In clear nothing goes, password least of all.
    let told = curl(&scene, &[&format!("ftp://{ftp}{folder}/")])
        .output()
        .unwrap();
    assert!(!told.status.success());
}

// rule F3: curl's answer to 332.
#[test]
fn curl_gives_the_code_as_account() {
    let demo = Demo::start();
    let partner = demo.account("partner");
    crate::login::factors::early_in_a_step();
    let mut command = Command::new(which("curl"));
    command
        .args(["-q", "-sS", "--ssl-reqd", "--cacert"])
        .arg(demo.certificate())
        .args(["--ftp-account", &partner.code()])
        .args([
            "-u",
            &format!("partner:{}", partner.password.as_deref().unwrap()),
        ])
        .args(["-l", &format!("ftp://{}/", demo.ftp().address)]);
    let listed = ran(&mut command, 60);
    assert!(listed.contains("outgoing"), "{listed}");
}

const FTPLIB: &str = r#"
import ftplib, io, ssl, sys
host, port, name, password, folder, certificate = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
ftp = ftplib.FTP_TLS(context=context, encoding="utf-8")
ftp.connect(host, int(port), timeout=20)
ftp.login(name, password)
ftp.prot_p()
data = bytes(range(256)) * 3000
ftp.cwd(folder)
ftp.mkd("Ordner ü")
ftp.cwd("Ordner ü")
assert ftp.pwd() == folder + "/Ordner ü", ftp.pwd()
for block in (8192, 1000):
    ftp.storbinary("STOR f", io.BytesIO(data), block)
    got = io.BytesIO()
    ftp.retrbinary("RETR f", got.write)
    assert got.getvalue() == data
ftp.voidcmd("TYPE I")
assert ftp.size("f") == len(data)
got = io.BytesIO()
ftp.retrbinary("RETR f", got.write, rest=700000)
assert got.getvalue() == data[700000:]
ftp.storlines("STOR lines", io.BytesIO(b"one\ntwo\n"))
lines = []
ftp.retrlines("RETR lines", lines.append)
assert lines == ["one", "two"], lines
facts = dict(ftp.mlsd())
assert facts["f"]["size"] == str(len(data)) and facts["f"]["perm"] == "adfrw", facts
assert sorted(ftp.nlst()) == ["f", "lines"]
listing = []
ftp.dir(listing.append)
assert len(listing) == 2, listing
ftp.rename("f", "g")
ftp.delete("g")
ftp.delete("lines")
ftp.cwd("..")
ftp.rmd("Ordner ü")
try:
    ftp.delete("missing")
    raise SystemExit("no error")
except ftplib.error_perm as error:
    assert str(error).startswith("550"), error
ftp.quit()
print("done")
"#;

#[test]
fn pythons_ftplib_strict_about_close_notify() {
    let scene = Scene::new();
    let at = scene.demo.ftp().address;
    let mut command = Command::new(which("python3"));
    command
        .args(["-c", FTPLIB, &at.ip().to_string(), &at.port().to_string()])
        .args([
            &scene.account.name,
            PASSWORD,
            &scene.folder,
            &scene.certificate(),
        ]);
    let told = ran(&mut command, 60);
    assert!(told.ends_with("done\n"), "{told}");
}

#[test]
fn rclone_copies_checks_and_moves() {
    let scene = Scene::new();
    let at = scene.demo.ftp().address;
    let obscured = ran(
        Command::new(which("rclone")).args(["obscure", PASSWORD]),
        30,
    );
    let rclone = |arguments: &[&str]| {
        let mut command = Command::new(which("rclone"));
        command
            .args(arguments)
            .args([
                "--config",
                "/dev/null",
                "--retries",
                "1",
                "--contimeout",
                "10s",
            ])
            .args([
                "--ftp-host",
                &at.ip().to_string(),
                "--ftp-port",
                &at.port().to_string(),
            ])
            .args([
                "--ftp-user",
                &scene.account.name,
                "--ftp-pass",
                obscured.trim(),
            ])
            .args(["--ftp-explicit-tls", "--ftp-no-check-certificate"]);
        ran(&mut command, 120)
    };
    let (tree, there) = (
        format!("{}/tree", scene.here()),
        format!(":ftp:{}/tree", scene.folder),
    );
    rclone(&["copy", &tree, &there]);
    scene.came("tree");
    rclone(&["check", &tree, &there, "--size-only"]);
    let listed = rclone(&["lsf", "-R", &there]);
    assert!(listed.contains("inner folder/文件"), "{listed}");
    rclone(&["moveto", &format!("{there}/top"), &format!("{there}/moved")]);
    rclone(&[
        "copyto",
        &format!("{there}/moved"),
        &format!("{}/back", scene.here()),
    ]);
    let back = std::fs::read(scene.local.join("back")).unwrap();
    assert!(back == std::fs::read(scene.local.join("tree/top")).unwrap());
    rclone(&["purge", &there]);
    assert!(
        !scene
            .demo
            .on_disk(&format!("{}/tree", scene.folder))
            .exists()
    );
}

// Clients without TLS, where the site lets them in.
fn clear_scene() -> (Demo, String, PathBuf) {
    let (demo, ftp, folder) = clear_worker("");
    drop(ftp);
    let local = demo.scratch();
    std::fs::write(local.join("one"), random_bytes(1, 300_000)).unwrap();
    std::fs::write(local.join("two.txt"), b"lines\nof text\n").unwrap();
    (demo, folder, local)
}

#[test]
fn wget_fetches_a_tree() {
    let (demo, folder, local) = clear_scene();
    demo.make_file(&format!("{folder}/a/b/c"), random_bytes(3, 100_000));
    demo.make_file(&format!("{folder}/a/name with space"), "x");
    let mut command = Command::new(which("wget"));
    command
        .current_dir(&local)
        .args(["-q", "-r", "-nH", "--no-netrc", "--tries=1", "--timeout=20"])
        .args(["--ftp-user=finn", &format!("--ftp-password={PASSWORD}")])
        .arg(format!("ftp://{}{folder}/a/", demo.ftp().address));
    ran(&mut command, 60);
    let got = std::fs::read(local.join(format!("{}/a/b/c", &folder[1..]))).unwrap();
    assert!(got == random_bytes(3, 100_000));
    assert!(
        local
            .join(format!("{}/a/name with space", &folder[1..]))
            .exists()
    );
}

#[test]
fn ncftp_puts_gets_and_resumes() {
    let (demo, folder, local) = clear_scene();
    let at = demo.ftp().address;
    let port = at.port().to_string();
    let common = ["-u", "finn", "-p", PASSWORD, "-P", &port, "-V"];
    let one = local.join("one").display().to_string();
    let mut put = Command::new(which("ncftpput"));
    ran(put.args(common).args(["127.0.0.1", &folder, &one]), 60);
    let data = std::fs::read(&one).unwrap();
    assert!(std::fs::read(demo.on_disk(&format!("{folder}/one"))).unwrap() == data);
    let back = local.join("got");
    std::fs::create_dir(&back).unwrap();
    std::fs::write(back.join("one"), &data[..50_000]).unwrap();
    let mut get = Command::new(which("ncftpget"));
    let back_text = back.display().to_string();
    ran(
        get.args(common)
            .args(["-z", "127.0.0.1", &back_text, &format!("{folder}/one")]),
        60,
    );
    assert!(std::fs::read(back.join("one")).unwrap() == data);
    let listed = ran(
        Command::new(which("ncftpls"))
            .args(["-u", "finn", "-p", PASSWORD, "-P", &port])
            .arg(format!("ftp://127.0.0.1{folder}/")),
        60,
    );
    assert!(listed.contains("one"), "{listed}");
}

#[test]
fn tnftp_with_its_own_commands() {
    let (demo, folder, local) = clear_scene();
    let at = demo.ftp().address;
    let script = format!(
        "user finn {PASSWORD}\nlcd {}\nbinary\nput one {folder}/one\nget {folder}/one back\n\
         ascii\nput two.txt {folder}/two.txt\nget {folder}/two.txt two.back\nbinary\n\
         mkdir {folder}/d\nrename {folder}/one {folder}/d/moved\ncd {folder}\nls\nprompt off\n\
         mget *.txt\nreget d/moved back\nsize two.txt\nmodtime two.txt\nmlsd d\nrstatus\n\
         delete two.txt\nquit\n",
        local.display()
    );
    let mut command = Command::new(which("tnftp"));
    command.args(["-n", "-v", "-p", "127.0.0.1", &at.port().to_string()]);
    let told = crate::harness::run(
        &mut command,
        script.as_bytes(),
        std::time::Duration::from_secs(60),
    );
    let told = told.must().out;
    for bad in ["550 ", "500 ", "501 ", "425 ", "426 "] {
        assert!(!told.contains(bad), "{bad} in {told}");
    }
    let data = std::fs::read(local.join("one")).unwrap();
    assert!(std::fs::read(local.join("back")).unwrap() == data, "{told}");
    assert_eq!(
        std::fs::read(local.join("two.back")).unwrap(),
        b"lines\nof text\n"
    );
    assert!(demo.on_disk(&format!("{folder}/d/moved")).exists());
}

#[test]
fn more_than_four_gibibytes_both_ways() {
    let (demo, mut ftp, folder) = clear_worker("");
    // A sparse file with marks where 32 bits end.
    let size: u64 = (4 << 30) + 12_345;
    let here = demo.on_disk(&format!("{folder}/big"));
    let file = std::fs::File::create(&here).unwrap();
    file.set_len(size).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"mark", (4 << 30) - 2).unwrap();
    ftp.command("TYPE I").must(200);
    assert_eq!(
        ftp.command(&format!("SIZE {folder}/big")).must(213),
        size.to_string()
    );
    ftp.command("REST 4294967294").must(350);
    let tail = ftp.fetch(&format!("RETR {folder}/big")).unwrap();
    assert_eq!((tail.len(), &tail[..4]), (12_347, &b"mark"[..]));
    let mut curl = Command::new(which("curl"));
    let url = format!("ftp://{}{folder}/copy", demo.ftp().address);
    curl.args(["-q", "-sS", "-u", &format!("finn:{PASSWORD}"), "-T"])
        .arg(&here)
        .arg(url);
    ran(&mut curl, 150);
    let copy = demo.on_disk(&format!("{folder}/copy"));
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), size);
    let copied = std::fs::File::open(&copy).unwrap();
    let mut mark = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&copied, &mut mark, (4 << 30) - 2).unwrap();
    assert_eq!(&mark, b"mark");
}
