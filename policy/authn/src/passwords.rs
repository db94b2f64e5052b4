//! Passwords: what makes one acceptable, and hashing with argon2id off the async threads.
//!
//! Owns the hash parameters and the bound on hashes that run at once. Knows nothing of accounts.
//! INVARIANT: judging a password costs the same whether or not there is a hash to compare with.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::totp::CODE_DIGITS;
use crate::{ImportedHash, PasswordRules, SecretText, StoreError};

/// 19 MiB, two passes, one lane: the least that OWASP recommends for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Longer strings are no passwords of anyone; hashing them would only cost time.
const MAX_PASSWORD_BYTES: usize = 1024;
/// A login that waits longer than this for its turn to hash is refused as unavailable.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// A hash of nothing in particular, with today's parameters, for names without a password.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cG9ydGN1bGxpcy1kdW1teQ\
                     $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Passwords that are tried first, of ten characters or more and without repetition to give them
/// away. Compared in lower case.
const COMMON: &[&str] = &[
    "1234567890",
    "0123456789",
    "9876543210",
    "qwertyuiop",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "password123",
    "password1234",
    "passw0rd123",
    "administrator",
    "welcome123",
    "changeme123",
    "letmein123",
    "iloveyou123",
    "football123",
    "portcullis",
    "123456789a",
    "abc1234567",
    "abcdefghij",
    "adminadmin",
];

fn argon2id() -> Result<Argon2<'static>, StoreError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| StoreError::new("preparing argon2id", error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// A password as it is hashed: in NFC, so that the same keys typed on another system give the same
/// password (RFC 8265 4.2.2).
fn prepared(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfc().collect())
}

/// Hashes a password with argon2id (19 MiB, t=2, p=1) into a PHC string. Slow: off async threads.
///
/// # Errors
/// Where there is no memory or no randomness.
pub fn hash_password(password: &SecretText) -> Result<SecretText, StoreError> {
    let hash: PasswordHash = argon2id()?
        .hash_password(prepared(password.expose()).as_bytes())
        .map_err(|error| StoreError::new("hashing a password", error.to_string()))?;
    Ok(SecretText::new(hash.to_string()))
}

/// Why a new password will not do, whoever sets it, if it will not.
pub(crate) fn password_problem(password: &SecretText, min_chars: usize) -> Option<&'static str> {
    let text = prepared(password.expose());
    if text.chars().count() < min_chars {
        return Some("the password is too short");
    }
    if text.len() > MAX_PASSWORD_BYTES {
        return Some("the password is longer than 1024 bytes");
    }
    if text.chars().any(char::is_control) {
        return Some("the password holds a control character, which many clients cannot send");
    }
    let mut distinct: Vec<char> = text.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 4 {
        return Some("the password repeats the same few characters");
    }
    if COMMON.contains(&text.to_lowercase().as_str()) {
        return Some("the password is one of those that are guessed first");
    }
    None
}

/// What became of one presented string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The whole string is the password.
    pub(crate) whole: bool,
    /// The string without its last six digits is the password (rule L5).
    pub(crate) rest: bool,
}

/// Splits a code from the end of a presented string, where it ends in six ASCII digits (rule L5).
pub(crate) fn appended_code(text: &str) -> Option<(&str, &str)> {
    let at = text.len().checked_sub(CODE_DIGITS)?;
    let (rest, code) = text.split_at_checked(at)?;
    code.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some((rest, code))
}

/// Hashes on blocking threads, a bounded number at once.
pub(crate) struct Hasher {
    slots: Arc<Semaphore>,
    dummy: SecretText,
    /// Comparisons made, so that tests can tell that they do not depend on the account.
    #[cfg(test)]
    pub(crate) compared: Arc<std::sync::atomic::AtomicUsize>,
}

impl Hasher {
    /// At most `concurrent` hashes at once, each of about 19 MiB.
    pub(crate) fn new(concurrent: usize) -> Self {
        Hasher {
            slots: Arc::new(Semaphore::new(concurrent.clamp(1, Semaphore::MAX_PERMITS))),
            dummy: SecretText::new(DUMMY),
            #[cfg(test)]
            compared: Arc::default(),
        }
    }

    /// The same with a cheap dummy, for tests that log in thousands of times.
    #[cfg(test)]
    pub(crate) fn cheap(dummy: SecretText) -> Self {
        Hasher {
            dummy,
            ..Hasher::new(4)
        }
    }

    /// Compares `presented` with `hash`, and with a dummy where there is none: one hash, and a
    /// second one exactly where the string ends in six digits (rules L2, L5).
    pub(crate) async fn judge(
        &self,
        hash: Option<SecretText>,
        presented: SecretText,
    ) -> Result<Judged, StoreError> {
        let real = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        #[cfg(test)]
        let compared = self.compared.clone();
        let verify = move |hash: &SecretText, password: &str| {
            #[cfg(test)]
            compared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            verify(hash, password)
        };
        let work = move || Judged {
            whole: verify(&hash, presented.expose()),
            rest: appended_code(presented.expose()).is_some_and(|(rest, _)| verify(&hash, rest)),
        };
        let judged = self.run(work).await?;
        Ok(if real { judged } else { Judged::default() })
    }

    /// Asks the rules about a new password; gives it back.
    pub(crate) async fn ask(
        &self,
        rules: PasswordRules,
        password: SecretText,
        user: String,
    ) -> Result<(SecretText, Option<&'static str>), StoreError> {
        self.run(move || {
            let problem = rules.problem(&password, &user);
            (password, problem)
        })
        .await
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: SecretText) -> Result<SecretText, StoreError> {
        self.run(move || hash_password(&password)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = self.slot().await?;
        let task = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a client that leaves early must not free the slot.
            let _slot = slot;
            work()
        });
        task.await
            .map_err(|error| StoreError::new("hashing a password", error))
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = self.slots.clone().acquire_owned();
        tokio::time::timeout(MAX_WAIT, turn)
            .await
            .map_err(|late| StoreError::new("waiting for a turn to hash", late))?
            .map_err(|closed| StoreError::new("waiting for a turn to hash", closed))
    }
}

/// Whether the stored hash was made with weaker parameters than today's, or elsewhere.
pub(crate) fn is_outdated(hash: &SecretText) -> bool {
    if ImportedHash::parse(hash.expose()).is_ok() {
        return true;
    }
    let Ok(parsed) = PasswordHash::new(hash.expose()) else {
        return false;
    };
    let weak = Params::try_from(&parsed).map_or(true, |params| {
        params.m_cost() < MEMORY_KIB || params.t_cost() < PASSES
    });
    parsed.algorithm.as_str() != Algorithm::Argon2id.as_str() || weak
}

/// Empty and over-long strings are never right, but cost a hash like any other.
fn verify(hash: &SecretText, password: &str) -> bool {
    let plausible = !password.is_empty() && password.len() <= MAX_PASSWORD_BYTES;
    if let Ok(imported) = ImportedHash::parse(hash.expose()) {
        return plausible && imported.is_of(hash.expose(), password);
    }
    let password = prepared(if plausible { password } else { "" });
    let Ok(parsed) = PasswordHash::new(hash.expose()) else {
        return false;
    };
    matches(&parsed, password.as_bytes()).unwrap_or(false) && plausible
}

/// Room for a hash, in blocks of 1 KiB. The C library's allocator takes more than 32 MiB straight
/// from the host and gives it straight back, where it would keep 19 MiB for each thread that ever
/// hashed; pages that no hash touches cost nothing.
const ROOM: usize = 33 * 1024;

/// Compares as the crate's own verifier does, in memory of our choosing.
fn matches(parsed: &PasswordHash, password: &[u8]) -> Option<bool> {
    let (salt, expected) = (parsed.salt.as_ref()?, parsed.hash.as_ref()?);
    let algorithm = Algorithm::new(parsed.algorithm.as_str()).ok()?;
    let version = match parsed.version {
        Some(version) => Version::try_from(version).ok()?,
        None => Version::default(),
    };
    let params = Params::try_from(parsed).ok()?;
    let mut memory = Vec::with_capacity(ROOM.max(params.block_count()));
    memory.resize(params.block_count(), Block::default());
    let mut output = vec![0; expected.len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password, salt.as_ref(), &mut output, &mut memory)
        .ok()?;
    Some(crate::same_bytes(&output, expected.as_bytes()))
}

/// Whether the dummy costs what a password of today costs.
#[cfg(test)]
pub(crate) fn dummy_is_current() -> bool {
    let parsed = PasswordHash::new(DUMMY).map(|dummy| Params::try_from(&dummy));
    let current = |params: &Params| {
        params.m_cost() == MEMORY_KIB && params.t_cost() == PASSES && params.p_cost() == LANES
    };
    matches!(parsed, Ok(Ok(params)) if current(&params))
}
