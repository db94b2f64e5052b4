//! What an SSH user certificate must say to open an account (OpenSSH PROTOCOL.certkeys).
//!
//! Owns which certificates are good for whom. Knows nothing of wires, nor of how authorities and
//! revocations are kept; that the holder has the key and that the authority signed is the
//! transport's to verify, before.
//! INVARIANT: a certificate is good only if every sentence of it is understood and says yes: no
//! principal, an unknown critical option or an endless validity is a no, never a wildcard.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_model::{AccountName, AddressList, AuthorityId};

use crate::{LoginAccount, PublicKey, keys};

/// Clocks of the authority and of this host may differ by so much before a certificate is not valid
/// yet. Its end is not moved.
const SKEW: Duration = Duration::from_secs(60);
/// Key ids are shown up to this many characters.
const MOST_KEY_ID: usize = 128;

/// A certificate whose holder has proven that the certified key is theirs, and whose signature by
/// its authority was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCertificate {
    /// Who signed it.
    pub authority: PublicKey,
    /// The key that it certifies.
    pub key: PublicKey,
    /// The whole certificate as the wire carries it.
    pub blob: Vec<u8>,
    /// Its number with the authority; 0 where the authority gives none.
    pub serial: u64,
    /// What the authority calls its holder. Means nothing here but in the audit and in revocations.
    pub key_id: String,
    /// Whether it is for users; the other kind is for hosts.
    pub for_users: bool,
    /// For whom it is good.
    pub principals: Vec<String>,
    /// From when it is valid, in seconds since 1970.
    pub valid_after: u64,
    /// Until when, likewise; the last second is not included.
    pub valid_before: u64,
    /// Its critical options.
    pub critical_options: Vec<(String, String)>,
    /// Whether the authority signed with SHA-1.
    pub signed_with_sha1: bool,
}

impl SshCertificate {
    /// Whether it is for the account of this name: one of its principals is that name, or one of
    /// those that an administrator has named instead.
    pub fn names(&self, name: &AccountName, instead: &[String]) -> bool {
        self.principals.iter().any(|principal| {
            if instead.is_empty() {
                AccountName::parse(principal).is_ok_and(|other| other == *name)
            } else {
                instead.contains(principal)
            }
        })
    }

    /// In a few words, for the audit.
    pub(crate) fn label(&self, authority: &str) -> String {
        let id: String = self.key_id.chars().take(MOST_KEY_ID).collect();
        let serial = self.serial;
        format!("certificate serial {serial}, key id {id:?}, authority {authority:?}")
    }
}

/// An authority whose certificates the site trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAuthority {
    /// Its row.
    pub id: AuthorityId,
    /// Its name on this site.
    pub name: String,
    /// Certificates that are valid for longer than this are refused.
    pub max_validity: Duration,
}

/// Why a certificate opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// No authority of the site signed it.
    #[error("the certificate was signed by no authority that this site trusts")]
    UnknownAuthority,
    /// It is for a host.
    #[error("the certificate is for a host, not for a user")]
    ForHosts,
    /// It names nobody, or others.
    #[error("the certificate does not name this account among its principals")]
    WrongPrincipal,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// It is valid for ever, or longer than the authority may make it.
    #[error("the certificate is valid for longer than the site allows")]
    ValidTooLong,
    /// It is good from other addresses only.
    #[error("the certificate is not good from this address")]
    WrongAddress,
    /// A critical option that is not known, or that this gateway cannot keep.
    #[error("the certificate holds a critical option that cannot be kept")]
    CriticalOption,
    /// SHA-1, or an RSA key of less than 2048 bits.
    #[error("the certificate rests on SHA-1 or on a short RSA key")]
    Weak,
    /// It was revoked, or the account ceased to be one that it names.
    #[error("the certificate was revoked, or does not name this account any more")]
    Revoked,
    /// It has expired.
    #[error("the certificate has expired")]
    Expired,
}

/// Whether the certificate is good for the account from this address now; when it ends. For a name
/// that is no account, what is wrong with it is what it would be for one that it does not name.
pub(crate) fn judge(
    certificate: &SshCertificate,
    authority: &SshAuthority,
    account: Option<&LoginAccount>,
    peer: IpAddr,
    now: SystemTime,
) -> Result<SystemTime, CertificateProblem> {
    use CertificateProblem as P;
    if !certificate.for_users {
        return Err(P::ForHosts);
    }
    if certificate.signed_with_sha1
        || keys::is_weak(&certificate.authority.blob)
        || keys::is_weak(&certificate.key.blob)
    {
        return Err(P::Weak);
    }
    let ends = validity(certificate, authority, now)?;
    if !account.is_some_and(|account| certificate.names(&account.name, &account.principals)) {
        return Err(P::WrongPrincipal);
    }
    for (name, value) in &certificate.critical_options {
        match name.as_str() {
            "source-address" if is_from(value, peer) => {}
            "source-address" => return Err(P::WrongAddress),
            // It is all that a client can run here.
            "force-command" if value == "internal-sftp" => {}
            _ => return Err(P::CriticalOption),
        }
    }
    Ok(ends)
}

fn validity(
    certificate: &SshCertificate,
    authority: &SshAuthority,
    now: SystemTime,
) -> Result<SystemTime, CertificateProblem> {
    use CertificateProblem as P;
    let length = certificate
        .valid_before
        .checked_sub(certificate.valid_after);
    if length.is_none_or(|length| length == 0 || length > authority.max_validity.as_secs()) {
        return Err(P::ValidTooLong);
    }
    let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let (Some(begins), Some(ends)) = (at(certificate.valid_after), at(certificate.valid_before))
    else {
        return Err(P::ValidTooLong);
    };
    if ends <= now {
        return Err(P::Expired);
    }
    if now.checked_add(SKEW).is_none_or(|now| now < begins) {
        return Err(P::NotYetValid);
    }
    Ok(ends)
}

/// A list that cannot be read holds nobody.
fn is_from(ranges: &str, peer: IpAddr) -> bool {
    ranges
        .parse::<AddressList>()
        .is_ok_and(|list| list.contains(peer))
}
