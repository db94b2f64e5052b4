//! One-time codes as an authenticator makes them (RFC 6238), independent of the product's crate.

use aws_lc_rs::hmac;

/// The six digits for a base32 secret at a time.
pub fn code_at(secret: &str, unix_seconds: u64) -> String {
    let clean: String = secret
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect::<String>()
        .to_uppercase();
    let raw = data_encoding::BASE32_NOPAD
        .decode(clean.as_bytes())
        .expect("a base32 secret");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &raw);
    let tag = hmac::sign(&key, &(unix_seconds / 30).to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes[19] & 0x0f);
    let word = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

#[test]
fn codes_are_those_of_the_rfc() {
    // RFC 6238, appendix B: the secret is the ASCII text 12345678901234567890.
    let secret = data_encoding::BASE32_NOPAD.encode(b"12345678901234567890");
    assert_eq!(code_at(&secret, 59), "287082");
    assert_eq!(code_at(&secret, 1_111_111_109), "081804");
    assert_eq!(code_at(&secret, 20_000_000_000), "353130");
}
