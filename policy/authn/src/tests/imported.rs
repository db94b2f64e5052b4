//! Hashes that other systems made: which are taken, and what a login makes of them.

use crate::tests::*;

const CORRECT: &str = "correct horse battery";
/// Made by libxcrypt (Perl's `crypt`) of [`CORRECT`].
const SHA512: &str = "$6$rounds=1000$saltstring$oAIkW2wT6q/.Re1iIA5Ip/ywtE0UC11Fdshqsdpza0IMGE6vtW\
                      66SJ4oVItZIfIoOXWd1IB9K/GDohAst972J1";
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS";
const BCRYPT_Y: &str = "$2y$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.";
/// The example of the specification of sha512-crypt, of `Hello world!`.
const EXAMPLE: &str = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OT\
                       LiBFdcbYEdFCoEOfaS35inz1";

fn with_hash(world: &World, hash: &str) {
    world.add(1, "employee", false);
    world.store.change("employee", |account| {
        account.password.as_mut().unwrap().hash = SecretText::new(hash);
    });
    world.store.site(SiteFactorRule::Off, true);
}

// rule L2: verified as the other system did, and renewed at the first use
#[tokio::test(start_paused = true)]
async fn an_imported_hash_lets_in_and_is_renewed() {
    for hash in [SHA512, BCRYPT, BCRYPT_Y] {
        let world = World::new();
        with_hash(&world, hash);
        let wrong = refused(world.login("employee", password("correct horse")).await);
        assert_eq!(wrong.reason, RefusalReason::WrongPassword);
        assert_eq!(world.store.rehashed().len(), 0);
        let proof = accepted(world.login("employee", password(CORRECT)).await);
        assert_eq!(proof.credentials(), [credential(10)]);
        let renewed = world.store.rehashed();
        assert_eq!(renewed.len(), 1);
        let (id, new) = &renewed[0];
        assert_eq!(*id, credential(10).id);
        assert!(new.expose().starts_with("$argon2id$"), "{}", new.expose());
        // The new hash is of the same password.
        with_hash(&world, new.expose());
        accepted(world.login("employee", password(CORRECT)).await);
    }
    let world = World::new();
    with_hash(&world, EXAMPLE);
    accepted(world.login("employee", password("Hello world!")).await);
}

// rule L5: with a code appended, the password alone is what is renewed
#[tokio::test(start_paused = true)]
async fn a_code_behind_the_password_is_no_part_of_it() {
    let world = World::new();
    with_hash(&world, BCRYPT);
    world.add(2, "other", true);
    world.store.site(SiteFactorRule::Everyone, true);
    world.store.change("other", |account| {
        account.password.as_mut().unwrap().hash = SecretText::new(BCRYPT);
    });
    accepted(world.login("other", with_code(&world.code())).await);
    let renewed = world.store.rehashed();
    world.store.change("other", |account| {
        account.password.as_mut().unwrap().hash = renewed[0].1.clone();
    });
    world.clock.turn(Duration::from_secs(60));
    accepted(world.login("other", with_code(&world.code())).await);
}

// bcrypt reads 71 bytes: what follows must not be taken for right
#[tokio::test(start_paused = true)]
async fn a_string_that_bcrypt_would_cut_is_refused() {
    let world = World::new();
    with_hash(&world, BCRYPT);
    for text in [format!("{CORRECT}\0x"), "a".repeat(100), "b".repeat(1024)] {
        let refusal = refused(world.login("employee", password(&text)).await);
        assert_eq!(refusal.reason, RefusalReason::WrongPassword);
    }
    with_hash(&world, SHA512);
    let refusal = refused(world.login("employee", password(&"c".repeat(1024))).await);
    assert_eq!(refusal.reason, RefusalReason::WrongPassword);
}

// rule L2: every refusal lasts as long as two checks of the slowest hash in use
#[tokio::test(start_paused = true)]
async fn the_slot_covers_the_slowest_hash_in_use() {
    let world = World::new();
    with_hash(&world, BCRYPT);
    world.store.site_slowest_import(Duration::from_millis(410));
    let lasts = async |user: &str| {
        let start = tokio::time::Instant::now();
        match world.login(user, password("wrong")).await {
            Outcome::Refused(_) => start.elapsed(),
            other => panic!("{other:?}"),
        }
    };
    let slot = Duration::from_millis(820);
    for user in ["employee", "nobody"] {
        let took = lasts(user).await;
        assert!(
            took >= slot && took < slot + Duration::from_millis(5),
            "{user}: {took:?}"
        );
    }
    world.store.site_slowest_import(Duration::ZERO);
    assert!(lasts("nobody").await < SLOT + Duration::from_millis(5));
}

#[test]
fn only_two_kinds_within_bounds_are_taken() {
    assert_eq!(ImportedHash::parse(SHA512), Ok(ImportedHash::Sha512(1000)));
    assert_eq!(ImportedHash::parse(EXAMPLE), Ok(ImportedHash::Sha512(5000)));
    assert_eq!(ImportedHash::parse(BCRYPT_Y), Ok(ImportedHash::Bcrypt(5)));
    let dearest = Duration::from_secs(2);
    for hash in [
        SHA512.replace("1000", "1000000"),
        BCRYPT.replace("$04", "$14"),
    ] {
        assert!(
            ImportedHash::parse(&hash).unwrap().check_time() <= dearest,
            "{hash}"
        );
    }
    let damaged = [
        &BCRYPT[..59],
        &format!("{BCRYPT}A"),
        &BCRYPT.replace("$04$", "$4$"),
        &BCRYPT.replace("qREt", "q:Et"),
        &SHA512[..SHA512.len() - 1],
        &SHA512.replace("972J1", "972J9"),
        &SHA512.replace("rounds=1000$", "rounds=$"),
        &SHA512.replace("rounds=1000$", "rounds=-1$"),
        &SHA512.replace("saltstring", "saltstringsaltstring"),
        "$6$",
        "$2b$",
        "$6$saltstring",
    ];
    for hash in damaged {
        let error = ImportedHash::parse(hash).unwrap_err();
        assert!(matches!(error, ImportError::Damaged(_)), "{hash}: {error}");
    }
    for hash in [
        SHA512.replace("1000", "1000001"),
        SHA512.replace("1000", "999"),
        BCRYPT.replace("$04", "$03"),
        BCRYPT.replace("$04", "$31"),
    ] {
        let error = ImportedHash::parse(&hash).unwrap_err();
        assert!(matches!(error, ImportError::Cost(_)), "{hash}: {error}");
    }
}

#[test]
fn another_kind_is_refused_by_name() {
    for (hash, says) in [
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "MD5-crypt"),
        ("$apr1$salt$fake", "Apache"),
        ("$5$salt$fake", "sha256-crypt"),
        ("$y$j9T$salt$fake", "yescrypt"),
        ("$2x$04$abcdefghijklmnopqrstuu", "broken"),
        ("rEK1ecacw.7.c", "DES"),
        ("{SSHA}abcdef", "LDAP"),
        ("plain text", "no hash"),
        ("*", "no password"),
        ("!", "no password"),
        ("!!", "no password"),
        ("!$6$saltstring$x", "no password"),
        ("", "no password"),
        ("x", "no password"),
        ("ana:$6$saltstring$x:19000:0:99999:7:::", "second field"),
    ] {
        let error = ImportedHash::parse(hash).unwrap_err().to_string();
        assert!(error.contains(says), "{hash}: {error}");
    }
}
