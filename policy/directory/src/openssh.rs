//! Public keys as OpenSSH writes them: `ALGORITHM BASE64 [COMMENT]`.
//!
//! Owns which keys may be added. Knows nothing of accounts. INVARIANT: a key that is accepted has
//! one of the listed algorithms and a blob of exactly that algorithm's form (RFC 4253 6.6,
//! RFC 5656 3.1, RFC 8709 4).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// The longest line, in bytes: an RSA key of 16,384 bits needs under 3,000.
const MAX_LINE: usize = 16 * 1024;
/// The longest comment, in characters.
const MAX_COMMENT: usize = 256;
/// RSA keys, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// A public key that may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpensshKey {
    pub(crate) algorithm: &'static str,
    pub(crate) blob: Vec<u8>,
    pub(crate) comment: String,
    /// `SHA256:` and the unpadded base64 of the blob's SHA-256, as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
}

const ALGORITHMS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

/// Reads one line.
///
/// # Errors
/// The text says what is wrong with it and what to give instead.
pub(crate) fn parse(line: &str) -> Result<OpensshKey, String> {
    if line.len() > MAX_LINE {
        return Err(format!("the key is longer than {MAX_LINE} bytes"));
    }
    let line = line.trim();
    if line.contains(['\n', '\r']) {
        return Err("give one key at a time: the text holds several lines".to_owned());
    }
    if line.contains("PRIVATE KEY") {
        return Err(
            "this is a private key; give the public one, from the file that ends in .pub"
                .to_owned(),
        );
    }
    let mut words = line.splitn(3, [' ', '\t']);
    let (algorithm, encoded) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let algorithm = accepted(algorithm, line)?;
    let blob = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .map_err(|_| "the key's second field is not base64".to_owned())?;
    check_blob(algorithm, &blob)?;
    let comment = words.next().unwrap_or("").trim();
    let comment = comment
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_COMMENT)
        .collect();
    let fingerprint = fingerprint(&blob);
    Ok(OpensshKey {
        algorithm,
        blob,
        comment,
        fingerprint,
    })
}

/// `SHA256:` and the unpadded base64 of a key's SHA-256.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

fn accepted(algorithm: &str, line: &str) -> Result<&'static str, String> {
    if let Some(known) = ALGORITHMS.into_iter().find(|known| *known == algorithm) {
        return Ok(known);
    }
    // Rule F6: the flags of such a signature are not shown to us.
    if algorithm.starts_with("sk-") || line.contains(" sk-ssh-") || line.contains(" sk-ecdsa-") {
        return Err(
            "security keys (sk-) are not accepted, because the flags of their signatures \
                    (presence, verification) cannot be checked yet; add a key of another kind"
                .to_owned(),
        );
    }
    let with_options = line
        .split([' ', '\t', ','])
        .skip(1)
        .any(|word| ALGORITHMS.contains(&word));
    if with_options {
        return Err(
            "options in front of a key (command=, from= ...) are not accepted; give the \
                    key alone"
                .to_owned(),
        );
    }
    if algorithm == "ssh-dss" || algorithm.contains("-cert-") {
        return Err(format!("keys of the kind `{algorithm}` are not accepted"));
    }
    Err(format!(
        "this is not an OpenSSH public key; it must start with {}",
        ALGORITHMS.join(", ")
    ))
}

fn check_blob(algorithm: &'static str, blob: &[u8]) -> Result<(), String> {
    let mut rest = blob;
    let malformed = || format!("the key's content is not that of an {algorithm} key");
    let named = field(&mut rest).ok_or_else(malformed)?;
    if named != algorithm.as_bytes() {
        return Err("the key's content is of another kind than its first field says".to_owned());
    }
    let good = match algorithm {
        "ssh-ed25519" => field(&mut rest).is_some_and(|key| key.len() == 32),
        "ecdsa-sha2-nistp256" => point(&mut rest, b"nistp256", 32),
        "ecdsa-sha2-nistp384" => point(&mut rest, b"nistp384", 48),
        "ecdsa-sha2-nistp521" => point(&mut rest, b"nistp521", 66),
        _ => {
            let exponent = field(&mut rest)
                .and_then(number_bits)
                .ok_or_else(malformed)?;
            let bits = field(&mut rest)
                .and_then(number_bits)
                .ok_or_else(malformed)?;
            if !RSA_BITS.contains(&bits) {
                return Err(format!(
                    "RSA keys must have {} to {} bits, this one has {bits}",
                    RSA_BITS.start(),
                    RSA_BITS.end()
                ));
            }
            exponent > 1
        }
    };
    if good && rest.is_empty() {
        Ok(())
    } else {
        Err(malformed())
    }
}

/// Takes one length-prefixed field (RFC 4251 5, `string`).
fn field<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (field, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

/// An uncompressed point of a curve whose coordinates have `bytes` bytes.
fn point(rest: &mut &[u8], curve: &[u8], bytes: usize) -> bool {
    field(rest) == Some(curve)
        && field(rest)
            .is_some_and(|point| point.len() == 2 * bytes + 1 && point.first() == Some(&4))
}

/// Bits of a positive number in the shortest form (RFC 4251 5, `mpint`).
fn number_bits(number: &[u8]) -> Option<usize> {
    let digits = match number {
        [0, high, ..] if *high >= 0x80 => number.get(1..)?,
        [high, ..] if (1..0x80).contains(high) => number,
        _ => return None,
    };
    let zeros = usize::try_from(digits.first()?.leading_zeros()).ok()?;
    Some(digits.len() * 8 - zeros)
}
