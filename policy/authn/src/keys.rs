//! What can be read from a public key's blob (RFC 4253 6.6), as far as policy cares.

use crate::{LoginAccount, PublicKey, StoredKey};

/// Shorter RSA moduli are within reach of factoring (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;

/// Whether it is a security key (`sk-`), going by either of its names (rule F6).
pub(crate) fn is_security_key(key: &PublicKey) -> bool {
    let inner = field(&key.blob).map(|(name, _)| name);
    key.algorithm.starts_with("sk-") || inner.is_some_and(|name| name.starts_with(b"sk-"))
}

/// The account's key with this blob. The blob names its own type, so the outer name, which for RSA
/// may be that of a signature, does not matter. RSA keys of less than 2048 bits are nobody's.
pub(crate) fn find<'a>(account: &'a LoginAccount, key: &PublicKey) -> Option<&'a StoredKey> {
    if is_weak(&key.blob) || is_security_key(key) {
        return None;
    }
    account
        .keys
        .iter()
        .find(|stored| stored.key.blob == key.blob)
}

/// Whether a certificate for this key could be good: not for security keys (rule F6) nor weak ones.
pub(crate) fn may_be_certified(key: &PublicKey) -> bool {
    !is_security_key(key) && !is_weak(&key.blob)
}

/// Whether it is an RSA key that is too short, or no key at all.
pub(crate) fn is_weak(blob: &[u8]) -> bool {
    let Some((name, rest)) = field(blob) else {
        return true;
    };
    if name != b"ssh-rsa" {
        return false;
    }
    let modulus = field(rest)
        .and_then(|(_, rest)| field(rest))
        .map(|(modulus, _)| modulus);
    modulus.is_none_or(|modulus| bits(modulus) < MIN_RSA_BITS)
}

/// The length of an `mpint` (RFC 4251 5) in bits.
fn bits(number: &[u8]) -> usize {
    let mut bytes = number.iter().skip_while(|byte| **byte == 0);
    let Some(first) = bytes.next() else { return 0 };
    let top = 8 - usize::try_from(first.leading_zeros()).unwrap_or(8);
    top + 8 * bytes.count()
}

/// The first `string` (RFC 4251 5) and what follows it.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]

    use super::*;

    fn blob(fields: &[&[u8]]) -> Vec<u8> {
        let mut blob = Vec::new();
        for field in fields {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        blob
    }

    #[test]
    fn short_rsa_keys_are_weak() {
        let rsa = |bytes: usize, top: u8| {
            let mut modulus = vec![0xff; bytes];
            modulus[0] = top;
            modulus.insert(0, 0);
            blob(&[b"ssh-rsa", &[1, 0, 1], &modulus])
        };
        assert!(is_weak(&rsa(128, 0x80)));
        assert!(is_weak(&rsa(256, 0x7f)));
        assert!(!is_weak(&rsa(256, 0x80)));
        assert!(!is_weak(&blob(&[b"ssh-ed25519", &[7; 32]])));
    }

    // CVE-2024-5806: a key field that holds something else parses to nothing
    #[test]
    fn malformed_blobs_are_nobodys() {
        for bytes in [
            &b""[..],
            b"\0\0",
            b"/etc/passwd",
            b"\xff\xff\xff\xffssh-rsa",
        ] {
            assert!(is_weak(bytes), "{bytes:?}");
        }
        assert!(is_weak(&blob(&[b"ssh-rsa", &[1, 0, 1]])));
    }

    // rule F6
    #[test]
    fn security_keys_are_known_by_either_name() {
        let key = |algorithm: &str, inner: &[u8]| PublicKey {
            algorithm: algorithm.to_owned(),
            blob: blob(&[inner, &[7; 32]]),
        };
        assert!(is_security_key(&key(
            "sk-ssh-ed25519@openssh.com",
            b"ssh-ed25519"
        )));
        assert!(is_security_key(&key(
            "ssh-ed25519",
            b"sk-ssh-ed25519@openssh.com"
        )));
        assert!(!is_security_key(&key("ssh-ed25519", b"ssh-ed25519")));
    }
}
