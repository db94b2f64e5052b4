//! TLS client certificates: what may be added, what a login finds, and what removal ends.

use portcullis_gate::CutTarget;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

use super::*;

/// A certificate in PEM, and the SHA-256 of its public key.
fn made(spoil: impl FnOnce(&mut CertificateParams)) -> (String, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["backup.example.com".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    spoil(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    use rcgen::PublicKeyData as _;
    let hash = Sha256::digest(key.subject_public_key_info()).to_vec();
    (pem(certificate.der()), hash)
}

fn pem(der: &[u8]) -> String {
    let encoded = data_encoding::BASE64.encode(der);
    let lines: Vec<String> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn add(text: &str, pem: &str) -> AdminChange {
    AdminChange::ClientCertificateAdd {
        name: name(text),
        pem: pem.to_owned(),
    }
}

// rule F8, rule C5
#[tokio::test]
async fn a_certificate_is_found_by_its_public_key_and_its_removal_ends_what_rests_on_it() {
    let site = Site::new().await;
    site.user("ana").await;
    site.user("bo").await;
    let (text, key) = made(|_| {});
    let added = site.change(add("ana", &text)).await;
    let found = site.directory.login_account("ana").await.unwrap().unwrap();
    let held = &found.client_certificates;
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].public_key, key);
    let end = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    assert_eq!(held[0].expires, end, "2030-01-01");
    let other = site.directory.login_account("bo").await.unwrap().unwrap();
    assert!(other.client_certificates.is_empty());
    let twice = site.refusal(add("ana", &text)).await;
    assert!(matches!(twice, AdminError::Exists { .. }), "{twice}");
    // Somebody else may have the same: it is beside their own password or key.
    site.change(add("bo", &text)).await;

    let shown = site.query(AdminQuery::User { name: name("ana") }).await;
    let listed = &shown["client_certificates"][0];
    assert_eq!(listed["fingerprint"], added["fingerprint"], "{shown}");
    let remove = AdminChange::ClientCertificateRemove {
        name: name("ana"),
        fingerprint: added["fingerprint"].as_str().unwrap().to_owned(),
    };
    let credential = held[0].credential.id;
    let (_, change) = site.done(remove.clone()).await;
    assert_eq!(change.cuts[0].target, CutTarget::Credential(credential));
    let found = site.directory.login_account("ana").await.unwrap().unwrap();
    assert!(found.client_certificates.is_empty());
    let gone = site.refusal(remove).await;
    assert!(matches!(gone, AdminError::NotFound { .. }), "{gone}");
    let other = site.directory.login_account("bo").await.unwrap().unwrap();
    assert_eq!(other.client_certificates.len(), 1);
}

#[tokio::test]
async fn what_is_no_client_certificate_is_refused() {
    let site = Site::new().await;
    site.user("ana").await;
    let good = made(|_| {}).0;
    let twice = format!("{good}{good}");
    let key = format!("{good}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let request = good.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    let cut = good.replace("MII", "MI");
    let expired = made(|params| params.not_after = date_time_ymd(2026, 6, 1)).0;
    let server = made(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let authority = made(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let huge = "A".repeat(100_000);
    for (wrong, why) in [
        ("", "one certificate"),
        ("/etc/passwd", "one certificate"),
        (&huge, "longer than"),
        (&twice, "one certificate"),
        (&key, "private key"),
        (&request, "not a certificate"),
        (&cut, "not a certificate"),
        (&expired, "expired"),
        (&server.0, "not made for clients"),
        (&authority.0, "authority"),
    ] {
        let error = site.refusal(add("ana", wrong)).await;
        assert!(matches!(error, AdminError::Refused(_)), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    let any = made(|params| params.extended_key_usages = Vec::new());
    site.change(add("ana", &any.0)).await;
}
