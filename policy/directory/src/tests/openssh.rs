//! Which keys may be added.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::openssh::parse;

/// Made for this test; its private half was never kept.
pub(super) const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH ana@host";

fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    field.extend_from_slice(bytes);
    field
}

fn line(algorithm: &str, fields: &[&[u8]]) -> String {
    let mut blob = field(algorithm.as_bytes());
    for bytes in fields {
        blob.extend(field(bytes));
    }
    format!("{algorithm} {}", STANDARD.encode(blob))
}

fn rsa(bits: usize) -> String {
    let mut modulus = vec![0];
    modulus.extend(vec![0xff; bits / 8]);
    line("ssh-rsa", &[&[1, 0, 1], &modulus])
}

fn ecdsa(curve: &str, bytes: usize) -> String {
    let mut point = vec![4];
    point.extend(vec![1; 2 * bytes]);
    line(&format!("ecdsa-sha2-{curve}"), &[curve.as_bytes(), &point])
}

#[test]
fn the_fingerprint_is_that_of_ssh_keygen() {
    let key = parse(ED25519).unwrap();
    assert_eq!(
        key.fingerprint,
        "SHA256:gNSIRW+2Iyiuvsdp/bgjy38bvWHw6wQm3tuoXrl3WjQ"
    );
    assert_eq!(
        (key.algorithm, key.comment.as_str()),
        ("ssh-ed25519", "ana@host")
    );
}

#[test]
fn good_keys_are_taken() {
    for line in [
        ED25519.to_owned(),
        rsa(2048),
        rsa(4096),
        ecdsa("nistp256", 32),
        ecdsa("nistp384", 48),
        ecdsa("nistp521", 66),
    ] {
        parse(&line).unwrap();
    }
}

#[test]
fn security_keys_are_refused_with_the_reason() {
    // rule F6
    for algorithm in [
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ] {
        for prefix in ["", "restrict "] {
            let error = parse(&format!("{prefix}{}", line(algorithm, &[&[1; 32]]))).unwrap_err();
            assert!(error.contains("security keys (sk-)"), "{error}");
        }
    }
}

#[test]
fn bad_keys_are_refused_with_what_is_wrong() {
    let blob = ED25519.split(' ').nth(1).unwrap();
    let cases = [
        (rsa(1024), "2048"),
        (rsa(32_768), "16384"),
        (format!("from=\"10.0.0.1\" {ED25519}"), "options"),
        (format!("command=\"a b\",no-pty {ED25519}"), "options"),
        (format!("ssh-rsa {blob}"), "another kind"),
        (line("ssh-ed25519", &[&[1; 31]]), "content"),
        (line("ssh-ed25519", &[&[1; 32], &[1]]), "content"),
        (ecdsa("nistp256", 31), "content"),
        (
            line("ecdsa-sha2-nistp256", &[b"nistp384", &[4; 65]]),
            "content",
        ),
        (line("ssh-rsa", &[&[0, 1], &[0xff; 256]]), "content"),
        ("ssh-ed25519 !!!".to_owned(), "base64"),
        ("ssh-ed25519".to_owned(), "content"),
        ("ssh-ed25519 AAAA".to_owned(), "content"),
        (String::new(), "not an OpenSSH public key"),
        ("ssh-dss AAAA".to_owned(), "ssh-dss"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "private"),
        (format!("{ED25519}\n{ED25519}"), "one key"),
        ("x".repeat(20_000), "longer"),
    ];
    for (line, says) in cases {
        let error = parse(&line).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
}

/// A line with a key of these bytes.
pub(super) fn ed25519(key: [u8; 32]) -> String {
    line("ssh-ed25519", &[&key])
}
