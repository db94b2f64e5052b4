//! Authorities for SSH certificates: what is in use, what is revoked, and what that ends.

use portcullis_authn::{ProvenCredential, PublicKey, SshAuthority, SshCertificate};
use portcullis_gate::admin::{Limit, Revocation};
use portcullis_gate::{CutReason, CutTarget};

use super::*;

const DAY: u64 = 86_400;

/// An ed25519 key; `number` tells keys apart.
fn key(number: u8) -> PublicKey {
    let mut blob = Vec::new();
    for field in [&b"ssh-ed25519"[..], &[number; 32]] {
        blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend_from_slice(field);
    }
    PublicKey {
        algorithm: "ssh-ed25519".to_owned(),
        blob,
    }
}

fn line(number: u8) -> String {
    let encoded = data_encoding::BASE64.encode(&key(number).blob);
    format!("ssh-ed25519 {encoded} corp")
}

fn add(name: &str, number: u8) -> AdminChange {
    AdminChange::SshCaAdd {
        name: name.to_owned(),
        line: line(number),
        max_validity_seconds: 7 * DAY,
    }
}

fn remove(name: &str) -> AdminChange {
    AdminChange::SshCaRemove {
        name: name.to_owned(),
    }
}

fn revoke(name: &str, what: Revocation) -> AdminChange {
    AdminChange::SshCaRevoke {
        name: name.to_owned(),
        what,
    }
}

/// By the authority with key 9, for the key 1.
fn certificate(site: &Site, serial: u64) -> SshCertificate {
    let now = site.now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    SshCertificate {
        authority: key(9),
        key: key(1),
        blob: serial.to_be_bytes().to_vec(),
        serial,
        key_id: "ana@example.com".to_owned(),
        for_users: true,
        principals: vec!["ana".to_owned()],
        valid_after: now,
        valid_before: now + DAY,
        critical_options: Vec::new(),
        signed_with_sha1: false,
    }
}

/// What certificates must name to open Ana's account.
fn set(list: &[&str]) -> AdminChange {
    AdminChange::UserSet {
        name: name("ana"),
        display: None,
        protocols: None,
        role: None,
        factor_rule: None,
        root_view: None,
        home: None,
        max_sessions: None,
        limits: UserLimits {
            principals: Some(Limit::To(
                list.iter().map(|name| name.to_string()).collect(),
            )),
            ..UserLimits::default()
        },
    }
}

impl Site {
    async fn authority(&self) -> Option<SshAuthority> {
        self.directory.ssh_authority(&key(9).blob).await.unwrap()
    }

    async fn present(&self, account: AccountId, serial: u64) -> Option<ProvenCredential> {
        self.show(account, certificate(self, serial)).await
    }

    async fn show(&self, account: AccountId, shown: SshCertificate) -> Option<ProvenCredential> {
        let authority = self.authority().await?;
        let credential = self.directory.ssh_certificate(account, &authority, &shown);
        credential.await.unwrap()
    }

    async fn stands(&self, account: AccountId, credential: ProvenCredential) -> bool {
        let mut snapshot = self.directory.snapshot().await.unwrap();
        let stands = crate::credentials::standing(&mut snapshot, account, credential);
        stands.await.unwrap() == crate::credentials::Standing::Stands
    }
}

#[tokio::test]
async fn a_certificate_becomes_a_credential_at_its_first_use() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    assert!(!site.directory.site_login().await.unwrap().certificates);
    assert!(site.authority().await.is_none());
    site.change(add("corp", 9)).await;
    assert!(site.directory.site_login().await.unwrap().certificates);
    let authority = site.authority().await.unwrap();
    assert_eq!(authority.max_validity, Duration::from_secs(7 * DAY));

    let first = site.present(ana, 7).await.unwrap();
    assert_eq!(site.present(ana, 7).await, Some(first), "the same again");
    let other = site.present(ana, 8).await.unwrap();
    assert_ne!(first.id, other.id);
    assert!(site.stands(ana, first).await);
    let listed = site.query(AdminQuery::SshAuthorities).await;
    assert_eq!(listed["authorities"][0]["in_use"], 2, "{listed}");

    // What has expired is forgotten with the next.
    site.forward(Duration::from_secs(2 * DAY));
    site.present(ana, 9).await.unwrap();
    assert!(!site.stands(ana, first).await && !site.stands(ana, other).await);
}

// rule C2, rule C5
#[tokio::test]
async fn a_revoked_certificate_ends_what_was_opened_with_it() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.change(add("corp", 9)).await;
    let fingerprint = crate::openssh::fingerprint(&key(1).blob);
    for what in [
        Revocation::Serial(7),
        Revocation::KeyId("ana@example.com".to_owned()),
        Revocation::Key(fingerprint),
    ] {
        let serial = if what == Revocation::Serial(7) { 7 } else { 8 };
        let other = site.present(ana, 6).await;
        let used = site.present(ana, serial).await.unwrap();
        let (_, change) = site.done(revoke("corp", what.clone())).await;
        let cut = change
            .cuts
            .iter()
            .find(|cut| cut.target == CutTarget::Credential(used.id));
        assert_eq!(cut.unwrap().reason, CutReason::CredentialChanged);
        assert!(!site.stands(ana, used).await);
        assert_eq!(site.present(ana, serial).await, None, "{what:?}");
        if serial == 7 {
            assert!(site.stands(ana, other.unwrap()).await, "another serial");
        }
        let again = site.refusal(revoke("corp", what)).await;
        assert!(matches!(again, AdminError::Exists { .. }), "{again}");
        // The next case begins anew.
        site.change(remove("corp")).await;
        site.clear_revocations().await;
        site.change(add("corp", 9)).await;
    }
}

impl Site {
    async fn clear_revocations(&self) {
        let clear = self.directory.writer.run(|tx| {
            Box::pin(async move {
                crate::db::query("DELETE FROM ssh_revocations")
                    .run(&mut tx.connection, "clearing")
                    .await
            })
        });
        let cleared: Result<(), portcullis_authn::StoreError> = clear.await;
        cleared.unwrap();
    }
}

// rule C5
#[tokio::test]
async fn an_authority_that_is_removed_takes_its_sessions_along() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.change(add("corp", 9)).await;
    let id = site.authority().await.unwrap().id;
    let used = site.present(ana, 7).await.unwrap();
    site.change(revoke("corp", Revocation::Serial(5))).await;
    let (_, change) = site.done(remove("corp")).await;
    assert_eq!(change.cuts.len(), 1);
    assert_eq!(change.cuts[0].target, CutTarget::Authority(id));
    assert!(!site.stands(ana, used).await && site.authority().await.is_none());

    // Trusted again, it is another one, and what was revoked stays so.
    site.change(add("corp-again", 9)).await;
    assert_ne!(site.authority().await.unwrap().id, id);
    assert_eq!(site.present(ana, 5).await, None);
    assert!(site.present(ana, 7).await.is_some());
}

#[tokio::test]
async fn what_makes_no_authority_is_refused() {
    let site = Site::new().await;
    site.change(add("corp", 9)).await;
    for (name, number) in [("corp", 8), ("other", 9)] {
        let error = site.refusal(add(name, number)).await;
        assert!(matches!(error, AdminError::Exists { .. }), "{error}");
    }
    let with_line = |line: &str| AdminChange::SshCaAdd {
        name: "other".to_owned(),
        line: line.to_owned(),
        max_validity_seconds: 60,
    };
    for wrong in [
        "",
        "/etc/passwd",
        "sk-ssh-ed25519@openssh.com AAAA",
        // rule F6, and an authority that is a certificate itself
        "ssh-ed25519-cert-v01@openssh.com AAAA corp",
        "cert-authority ssh-ed25519 AAAA",
    ] {
        let error = site.refusal(with_line(wrong)).await;
        assert!(matches!(error, AdminError::Refused(_)), "{wrong}: {error}");
    }
    for name in ["", "a b", "a/b", "\u{202e}corp"] {
        let error = site.refusal(add(name, 7)).await;
        assert!(matches!(error, AdminError::Refused(_)), "{name}: {error}");
    }
    let zero = site.refusal(revoke("corp", Revocation::Serial(0))).await;
    assert!(zero.to_string().contains("key id"), "{zero}");
    let gone = site.refusal(revoke("nobody", Revocation::Serial(1))).await;
    assert!(matches!(gone, AdminError::NotFound { .. }), "{gone}");
}

#[tokio::test]
async fn principals_are_kept_with_the_account() {
    let site = Site::new().await;
    site.user("ana").await;
    site.change(set(&["corp-ana", "a,b\"c", "corp-ana"])).await;
    let found = site.directory.login_account("ana").await.unwrap().unwrap();
    assert_eq!(found.principals, ["a,b\"c", "corp-ana"]);
    for wrong in [&[""][..], &["a\nb"]] {
        let error = site.refusal(set(wrong)).await;
        assert!(matches!(error, AdminError::Refused(_)), "{error}");
    }
    site.change(set(&[])).await;
    let found = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(found.principals.is_empty());
}

// rule C2, rule C5: neither a session nor a login that waits for its code outlives its principal.
#[tokio::test]
async fn a_principal_that_is_taken_away_ends_what_rests_on_it() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.change(add("corp", 9)).await;
    let rename = |from: &str, to: &str| AdminChange::UserRename {
        name: name(from),
        to: name(to),
    };
    let taken = [
        // What it may name, what changes nothing for it, and what takes its principal away.
        (None, set(&["ana", "corp"]), set(&["corp"])),
        (Some(set(&["ana"])), set(&["ana", "more"]), set(&["more"])),
        (Some(set(&[])), rename("ana", "Ana"), set(&["corp"])),
        (Some(set(&[])), rename("ana", "ana"), rename("ana", "bea")),
    ];
    for (number, (before, harmless, takes)) in taken.into_iter().enumerate() {
        match before {
            Some(before) => site.change(before).await,
            None => site.change(set(&["ana"])).await,
        };
        let used = site.present(ana, 7).await.unwrap();
        let (_, change) = site.done(harmless).await;
        assert_eq!(change.cuts, [], "{number}");
        assert!(site.stands(ana, used).await, "{number}");

        let (_, change) = site.done(takes).await;
        let targets: Vec<_> = change.cuts.iter().map(|cut| cut.target).collect();
        assert_eq!(targets, [CutTarget::Credential(used.id)], "{number}");
        assert!(!site.stands(ana, used).await, "{number}");
        // Whoever was looking meanwhile does not begin it anew.
        assert_eq!(site.present(ana, 7).await, None, "{number}");
    }
}

// rule C5: a new certificate for each login never shuts its account out.
#[tokio::test]
async fn more_certificates_than_are_kept_end_the_one_that_expires_first() {
    let site = Site::new().await;
    let ana = site.user("ana").await;
    site.change(add("corp", 9)).await;
    let second = site.present(ana, 0).await.unwrap();
    let mut short = certificate(&site, 1);
    short.valid_before -= 1;
    let first = site.show(ana, short).await.unwrap();
    for serial in 2..1_000 {
        site.present(ana, serial).await.unwrap();
    }
    assert!(site.stands(ana, first).await);
    let before = site.directory.newest_version().await.unwrap();
    for (serial, ended) in [(1_000, first), (1_001, second)] {
        let new = site.present(ana, serial).await.unwrap();
        assert!(site.stands(ana, new).await);
        assert!(!site.stands(ana, ended).await);
    }
    let changes = site.directory.changes_since(before).await.unwrap();
    let cuts = changes.iter().flat_map(|change| &change.cuts);
    let targets: Vec<_> = cuts.map(|cut| cut.target).collect();
    let expected = [first, second].map(|ended| CutTarget::Credential(ended.id));
    assert_eq!(targets, expected);
}
