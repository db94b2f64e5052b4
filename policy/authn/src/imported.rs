//! Password hashes that another system made: bcrypt and sha512-crypt.
//!
//! Owns which are taken, within which bounds, and how a password is compared with one. At the first
//! login with the right password an argon2id hash takes its place.
//! INVARIANT: a hash that is taken is checked within [`LONGEST`], so that no login takes minutes.

use std::time::Duration;

use argon2::password_hash::PasswordVerifier;
use sha_crypt::ShaCrypt;

use crate::SecretText;

/// What the costliest hash that is taken may take to be checked, on a slow host.
const LONGEST: Duration = Duration::from_secs(2);
/// Costs of bcrypt that are taken: 2^cost steps.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// Rounds of sha512-crypt that are taken. The scheme has 5,000 unless it says otherwise.
const ROUNDS: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;
const DEFAULT_ROUNDS: u32 = 5_000;
/// Each round of sha512-crypt reads the whole password: longer ones are not tried.
const MOST_SHA512_BYTES: usize = 256;
/// Symbols of a sha512-crypt digest, and of the longest salt.
const DIGEST: usize = 86;
const MOST_SALT: usize = 16;

/// Why a hash is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It can be the hash of no password.
    #[error("`{0}` says that there is no password: nothing can be taken over")]
    Locked(String),
    /// A line of a password file.
    #[error("this looks like a line of a password file; give the hash alone, its second field")]
    Line,
    /// Another kind.
    #[error(
        "this is {0}, which is not taken; bcrypt ($2a$, $2b$, $2y$) and sha512-crypt ($6$) are. \
         `portcullis user invite` lets the person set a new password"
    )]
    Kind(&'static str),
    /// Cut short, or with symbols that it cannot have.
    #[error("this {0} hash is damaged or cut short")]
    Damaged(&'static str),
    /// Too cheap or too dear.
    #[error("{0}")]
    Cost(String),
}

/// An imported hash that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportedHash {
    /// bcrypt, with its cost.
    Bcrypt(u32),
    /// sha512-crypt, with its rounds.
    Sha512(u32),
}

impl ImportedHash {
    /// Reads one.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn parse(hash: &str) -> Result<Self, ImportError> {
        if let Some(rest) = hash.strip_prefix("$6$") {
            return sha512(rest);
        }
        match ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|kind| hash.strip_prefix(kind))
        {
            Some(rest) => bcrypt_hash(rest),
            None => Err(other(hash)),
        }
    }

    /// The scheme's name.
    pub fn name(self) -> &'static str {
        match self {
            ImportedHash::Bcrypt(_) => "bcrypt",
            ImportedHash::Sha512(_) => "sha512-crypt",
        }
    }

    /// How long one check may take on a slow host; refusals last for two of them (rule L2).
    pub fn check_time(self) -> Duration {
        let time = match self {
            ImportedHash::Bcrypt(cost) => Duration::from_micros(100 << cost),
            ImportedHash::Sha512(rounds) => Duration::from_micros(2 * u64::from(rounds)),
        };
        time.min(LONGEST)
    }

    /// Whether it is the hash of `password`. The bytes are compared as they came: that is what the
    /// other system did. bcrypt reads 71 bytes; a longer string is not tried, as its end would not
    /// count.
    pub(crate) fn is_of(self, hash: &str, password: &str) -> bool {
        match self {
            ImportedHash::Bcrypt(_) => {
                bcrypt::non_truncating_verify(password, hash).unwrap_or(false)
            }
            ImportedHash::Sha512(_) if password.len() > MOST_SHA512_BYTES => false,
            ImportedHash::Sha512(_) => ShaCrypt::SHA512
                .verify_password(password.as_bytes(), hash)
                .is_ok(),
        }
    }
}

/// How long one check of a stored hash may take on a slow host, where another system made it.
pub fn import_check_time(hash: &SecretText) -> Option<Duration> {
    let imported = ImportedHash::parse(hash.expose()).ok()?;
    Some(imported.check_time())
}

fn is_crypt_symbol(symbol: u8) -> bool {
    symbol.is_ascii_alphanumeric() || matches!(symbol, b'.' | b'/')
}

/// What follows `$2b$`: a cost of two digits, `$`, 22 symbols of salt and 31 of digest.
fn bcrypt_hash(rest: &str) -> Result<ImportedHash, ImportError> {
    let damaged = || ImportError::Damaged("bcrypt");
    let (cost, symbols) = rest.split_once('$').ok_or_else(damaged)?;
    let digits = cost.len() == 2 && cost.bytes().all(|digit| digit.is_ascii_digit());
    if !digits || symbols.len() != 53 || !symbols.bytes().all(is_crypt_symbol) {
        return Err(damaged());
    }
    let cost: u32 = cost.parse().map_err(|_| damaged())?;
    if !BCRYPT_COSTS.contains(&cost) {
        let (least, most) = (BCRYPT_COSTS.start(), BCRYPT_COSTS.end());
        return Err(ImportError::Cost(format!(
            "bcrypt is taken with a cost of {least} to {most}; this hash has {cost}"
        )));
    }
    Ok(ImportedHash::Bcrypt(cost))
}

/// What follows `$6$`: perhaps `rounds=N$`, the salt, `$`, the digest.
fn sha512(rest: &str) -> Result<ImportedHash, ImportError> {
    let damaged = || ImportError::Damaged("sha512-crypt");
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(more) => {
            let (rounds, rest) = more.split_once('$').ok_or_else(damaged)?;
            (rounds.parse().map_err(|_| damaged())?, rest)
        }
        None => (DEFAULT_ROUNDS, rest),
    };
    let (salt, digest) = rest.split_once('$').ok_or_else(damaged)?;
    let salted = (1..=MOST_SALT).contains(&salt.len()) && salt.bytes().all(is_crypt_symbol);
    let whole = digest.len() == DIGEST && digest.bytes().all(is_crypt_symbol);
    // The last symbol carries two bits.
    if !salted || !whole || !digest.ends_with(['.', '/', '0', '1']) {
        return Err(damaged());
    }
    if !ROUNDS.contains(&rounds) {
        let (least, most) = (ROUNDS.start(), ROUNDS.end());
        return Err(ImportError::Cost(format!(
            "sha512-crypt is taken with {least} to {most} rounds; this hash has {rounds}"
        )));
    }
    Ok(ImportedHash::Sha512(rounds))
}

/// What else it may be.
fn other(hash: &str) -> ImportError {
    const KINDS: [(&str, &str); 10] = [
        ("$1$", "an MD5-crypt hash"),
        ("$apr1$", "an Apache MD5 hash"),
        ("$5$", "a sha256-crypt hash"),
        ("$2x$", "a bcrypt hash of a broken implementation ($2x$)"),
        ("$2$", "a bcrypt hash of the first kind ($2$)"),
        ("$y$", "a yescrypt hash"),
        ("$gy$", "a gost-yescrypt hash"),
        ("$7$", "an scrypt hash"),
        ("$argon2", "an argon2 hash"),
        ("{", "a hash of an LDAP directory"),
    ];
    if hash.is_empty() || hash.starts_with(['*', '!', 'x']) && hash.len() < 13 {
        return ImportError::Locked(hash.to_owned());
    }
    if hash.contains(':') {
        return ImportError::Line;
    }
    let known = KINDS.iter().find(|(prefix, _)| hash.starts_with(prefix));
    let des = hash.len() == 13 && hash.bytes().all(is_crypt_symbol);
    match known {
        Some((_, kind)) => ImportError::Kind(kind),
        None if hash.starts_with('!') => ImportError::Locked("!".to_owned()),
        None if des => ImportError::Kind("a DES-crypt hash"),
        None => ImportError::Kind("no hash that is known here"),
    }
}
