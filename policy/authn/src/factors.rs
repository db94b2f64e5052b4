//! The second-factor policy (rules F1, F2, F8) as one pure function.
//!
//! Owns whether a factor is due and whether a key sleeps. Knows nothing of how a factor is checked.
//! INVARIANT: a factor is not due only where a rule says so by name; everything else is due.

use std::time::SystemTime;

use crate::{AccountFactorRule, LoginAccount, SiteFactorRule, StoredKey};

/// With what someone came first, as far as the policy distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented {
    /// A password, or an invitation.
    Password,
    /// A key.
    Key {
        /// See [`StoredKey::vouched`].
        vouched: bool,
    },
}

/// What the policy asks beside the first factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// Nothing, because the credential counts as vouched for by the identity provider (rule F2).
    Vouched,
    /// A second factor.
    Factor,
}

/// Whom the policy is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) rule: AccountFactorRule,
    pub(crate) has_role: bool,
    pub(crate) sso: bool,
}

impl Subject {
    pub(crate) fn of(account: &LoginAccount) -> Self {
        Subject {
            rule: account.factor_rule,
            has_role: account.has_role,
            sso: account.provider.is_some(),
        }
    }
}

/// What is due. The account's own rule goes before the site's: `always` asks even those whom a
/// provider vouches for, and `never` asks nobody (rule F8).
pub(crate) fn due(site: SiteFactorRule, subject: Subject, presented: Presented) -> Due {
    let vouched = subject.sso && presented == Presented::Key { vouched: true };
    match (subject.rule, site) {
        (AccountFactorRule::Always, _) => Due::Factor,
        (AccountFactorRule::Never, _) => Due::Nothing,
        (AccountFactorRule::Site, _) if vouched => Due::Vouched,
        (AccountFactorRule::Site, SiteFactorRule::Everyone) => Due::Factor,
        (AccountFactorRule::Site, SiteFactorRule::Administrators) if subject.has_role => {
            Due::Factor
        }
        (AccountFactorRule::Site, SiteFactorRule::Administrators | SiteFactorRule::Off) => {
            Due::Nothing
        }
    }
}

/// Whether an unknown name is shown a code prompt (rule L3), so that the prompt does not tell names
/// that exist from others. `hash` is a keyed hash of the name: the same name is answered alike for
/// ever, and nobody outside can compute it. The shares are those of a plausible site: most accounts
/// are asked under `everyone`, few under `administrators`.
pub(crate) fn decoy_prompt(site: SiteFactorRule, hash: [u8; 32]) -> bool {
    let eighth = hash.first().is_some_and(|byte| byte % 8 == 0);
    match site {
        SiteFactorRule::Everyone => !eighth,
        SiteFactorRule::Administrators => eighth,
        SiteFactorRule::Off => false,
    }
}

/// Whether a key of an account that a provider owns sleeps, because nothing else would tell the
/// gateway that its owner has left (rule F2): no SCIM, a limit is set, and the last sign-in at the
/// provider is older than it, or there was none. A sign-in in the future is taken for now.
pub(crate) fn sleeps(account: &LoginAccount, now: SystemTime) -> bool {
    let Some(provider) = &account.provider else {
        return false;
    };
    let Some(freshness) = provider.idp_freshness.filter(|_| !provider.scim_active) else {
        return false;
    };
    account
        .last_idp_sign_in
        .is_none_or(|last| now.duration_since(last).is_ok_and(|age| age > freshness))
}

/// How a key of the account is presented to [`due`].
pub(crate) fn presented_key(key: &StoredKey) -> Presented {
    Presented::Key {
        vouched: key.vouched,
    }
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

    const SITES: [SiteFactorRule; 3] = [
        SiteFactorRule::Everyone,
        SiteFactorRule::Administrators,
        SiteFactorRule::Off,
    ];
    const RULES: [AccountFactorRule; 3] = [
        AccountFactorRule::Site,
        AccountFactorRule::Always,
        AccountFactorRule::Never,
    ];
    const FIRST: [Presented; 3] = [
        Presented::Password,
        Presented::Key { vouched: false },
        Presented::Key { vouched: true },
    ];

    /// One row a site rule and account rule; columns: local user, local role, SSO user, SSO role;
    /// in each, password, key, vouched key. `F` factor, `-` nothing, `V` vouched.
    const TABLE: &str = "\
Everyone Site: FFF FFF FFV FFV
Everyone Always: FFF FFF FFF FFF
Everyone Never: --- --- --- ---
Administrators Site: --- FFF --V FFV
Administrators Always: FFF FFF FFF FFF
Administrators Never: --- --- --- ---
Off Site: --- --- --V --V
Off Always: FFF FFF FFF FFF
Off Never: --- --- --- ---
";

    // rule F1, rule F2, rule F8
    #[test]
    fn the_policy_is_this_table() {
        let mut printed = String::new();
        for site in SITES {
            for rule in RULES {
                printed.push_str(&format!("{site:?} {rule:?}:"));
                for (sso, has_role) in [(false, false), (false, true), (true, false), (true, true)]
                {
                    printed.push(' ');
                    for first in FIRST {
                        let subject = Subject {
                            rule,
                            has_role,
                            sso,
                        };
                        printed.push(match due(site, subject, first) {
                            Due::Factor => 'F',
                            Due::Nothing => '-',
                            Due::Vouched => 'V',
                        });
                    }
                }
                printed.push('\n');
            }
        }
        assert_eq!(printed, TABLE);
    }

    // rule L3
    #[test]
    fn unknown_names_are_prompted_in_the_stated_shares() {
        let share = |site| {
            (0..=255u8)
                .filter(|byte| decoy_prompt(site, [*byte; 32]))
                .count()
        };
        assert_eq!(share(SiteFactorRule::Everyone), 224);
        assert_eq!(share(SiteFactorRule::Administrators), 32);
        assert_eq!(share(SiteFactorRule::Off), 0);
    }
}
