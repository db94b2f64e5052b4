//! Names and facts as clients read them: LIST, NLST (RFC 959) and the facts of MLSD and MLST
//! (RFC 3659 section 7).
//!
//! Owns their forms. Knows nothing of folders or connections.
//! INVARIANT: one entry is one line.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_authn::civil;
use portcullis_gate::{EntryKind, Metadata, Rights};

/// A fact of MLSD and MLST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Type,
    Size,
    Modify,
    Perm,
    Unique,
    Mode,
}

impl Fact {
    /// All, in the order in which they are told.
    const ALL: [(Fact, &'static str); 6] = [
        (Fact::Type, "type"),
        (Fact::Size, "size"),
        (Fact::Modify, "modify"),
        (Fact::Perm, "perm"),
        (Fact::Unique, "unique"),
        (Fact::Mode, "UNIX.mode"),
    ];
}

/// The facts that a client wants (`OPTS MLST`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts([bool; Fact::ALL.len()]);

impl Default for Facts {
    fn default() -> Self {
        Facts([true; Fact::ALL.len()])
    }
}

impl Facts {
    /// Those of `type;size;` that there are; others are left out (RFC 3659 section 7.9).
    pub(crate) fn chosen(text: &str) -> Self {
        let wanted = |name: &str| text.split(';').any(|one| one.eq_ignore_ascii_case(name));
        Facts(Fact::ALL.map(|(_, name)| wanted(name)))
    }

    fn wanted(self) -> impl Iterator<Item = (Fact, &'static str)> {
        Fact::ALL
            .into_iter()
            .zip(self.0)
            .filter_map(|(fact, wanted)| wanted.then_some(fact))
    }

    /// `type;size;` of those that are told.
    pub(crate) fn names(self) -> String {
        self.wanted().map(|(_, name)| format!("{name};")).collect()
    }

    /// As FEAT has them: those that are told by default carry a star.
    pub(crate) fn features(self) -> String {
        let all = Fact::ALL.into_iter().zip(self.0);
        all.map(|((_, name), wanted)| format!("{name}{};", if wanted { "*" } else { "" }))
            .collect()
    }
}

/// What an entry is called in its own listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of the names in the folder.
    Entry,
    /// The folder that is listed.
    Current,
}

/// Appends the facts of one entry, and the space behind them.
pub(crate) fn put_facts(
    out: &mut Vec<u8>,
    facts: Facts,
    place: Place,
    metadata: &Metadata,
    rights: &Rights,
) {
    for (fact, name) in facts.wanted() {
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        if put_fact(out, fact, place, metadata, rights) {
            out.push(b';');
        } else {
            out.truncate(start);
        }
    }
    out.push(b' ');
}

/// False where the fact does not apply. Writing to memory does not fail.
fn put_fact(
    out: &mut Vec<u8>,
    fact: Fact,
    place: Place,
    metadata: &Metadata,
    rights: &Rights,
) -> bool {
    let file = metadata.kind == EntryKind::File;
    match fact {
        Fact::Type => out.extend_from_slice(match (file, place) {
            (true, _) => b"file",
            (false, Place::Entry) => b"dir",
            (false, Place::Current) => b"cdir",
        }),
        Fact::Size if !file => return false,
        Fact::Size => drop(write!(out, "{}", metadata.size)),
        Fact::Modify => put_time(out, metadata.modified),
        Fact::Perm => put_perm(out, file, rights),
        // What is only passed through has no identity to tell (rule D4).
        Fact::Unique if metadata.identity.number == 0 => return false,
        Fact::Unique => {
            let identity = metadata.identity;
            drop(write!(
                out,
                "{:x}g{:x}g{:x}",
                identity.volume, identity.number, identity.born
            ));
        }
        Fact::Mode => drop(write!(out, "0{:03o}", metadata.mode & 0o777)),
    }
    true
}

/// RFC 3659 section 7.5.5.
fn put_perm(out: &mut Vec<u8>, file: bool, rights: &Rights) {
    let letters: &[(u8, bool)] = if file {
        &[
            (b'a', rights.overwrite),
            (b'd', rights.delete),
            (b'f', rights.rename),
            (b'r', rights.read),
            (b'w', rights.overwrite),
        ]
    } else {
        &[
            (b'c', rights.create),
            (b'd', rights.delete),
            (b'e', true),
            (b'f', rights.rename),
            (b'l', rights.list),
            (b'm', rights.make_dir),
            (b'p', rights.purge),
        ]
    };
    out.extend(
        letters
            .iter()
            .filter(|(_, may)| *may)
            .map(|(letter, _)| letter),
    );
}

/// Appends `YYYYMMDDHHMMSS` in UTC (RFC 3659 section 2.3).
pub(crate) fn put_time(out: &mut Vec<u8>, at: SystemTime) {
    let seconds = at
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    drop(write!(
        out,
        "{year:04}{month:02}{day:02}{:02}{:02}{:02}",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    ));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use portcullis_gate::FileIdentity;

    use super::*;

    fn metadata(kind: EntryKind) -> Metadata {
        let at = UNIX_EPOCH + Duration::from_secs(1_769_903_998);
        Metadata {
            kind,
            size: 12,
            mode: 0o644,
            accessed: at,
            modified: at,
            identity: FileIdentity {
                volume: 1,
                number: 0x2a,
                born: 255,
            },
        }
    }

    fn line(facts: Facts, place: Place, kind: EntryKind, rights: Rights) -> String {
        let mut out = Vec::new();
        put_facts(&mut out, facts, place, &metadata(kind), &rights);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn facts_of_files_and_folders() {
        let reader = Rights {
            list: true,
            read: true,
            ..Rights::default()
        };
        assert_eq!(
            line(Facts::default(), Place::Entry, EntryKind::File, reader),
            "type=file;size=12;modify=20260131235958;perm=r;unique=1g2agff;UNIX.mode=0644; "
        );
        assert_eq!(
            line(Facts::default(), Place::Current, EntryKind::Folder, reader),
            "type=cdir;modify=20260131235958;perm=el;unique=1g2agff;UNIX.mode=0644; "
        );
        let all = Rights {
            list: true,
            read: true,
            overwrite: true,
            rename: true,
            delete: true,
            create: true,
            make_dir: true,
            purge: true,
        };
        let perm = Facts::chosen("perm;nonsense");
        assert_eq!(
            line(perm, Place::Entry, EntryKind::File, all),
            "perm=adfrw; "
        );
        assert_eq!(
            line(perm, Place::Entry, EntryKind::Folder, all),
            "perm=cdeflmp; "
        );
        assert_eq!(
            line(Facts::chosen(""), Place::Entry, EntryKind::File, all),
            " "
        );
    }

    #[test]
    fn what_is_chosen_is_told() {
        let some = Facts::chosen("Size;TYPE;x.y;");
        assert_eq!(some.names(), "type;size;");
        assert_eq!(some.features(), "type*;size*;modify;perm;unique;UNIX.mode;");
    }
}
