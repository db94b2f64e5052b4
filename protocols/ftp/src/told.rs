//! What the gateway tells of itself: HELP, FEAT, STAT, SITE HELP.
//!
//! Owns these texts. Knows nothing of files. No text names a version: who asks has not logged in.

use crate::command::Verb;
use crate::hash::{self, Algorithm};
use crate::listing::Facts;
use crate::reply::Reply;
use crate::served::Served;

/// Words of a line of HELP.
const HELP_WORDS: usize = 8;

/// HELP (RFC 959), of one command or of all.
pub(crate) fn help(about: Option<&str>) -> Reply {
    let about = about.filter(|text| !text.is_empty());
    let Some(about) = about else {
        let words: Vec<&str> = Verb::ALL.iter().map(|(_, text, ..)| *text).collect();
        let lines = words.chunks(HELP_WORDS).map(|words| words.join(" "));
        return Reply::lines(
            214,
            "These commands are known:",
            lines,
            "Help is at an end.",
        );
    };
    let found = Verb::ALL
        .iter()
        .find(|(_, text, ..)| text.eq_ignore_ascii_case(about));
    match found {
        Some((_, text, _, syntax)) => Reply::new(214, format!("Syntax: {text}{syntax}")),
        None => Reply::new(502, "No such command."),
    }
}

/// SITE HELP: there are no others.
pub(crate) fn site_help() -> Reply {
    Reply::lines(
        214,
        "These SITE commands are known:",
        ["HELP".to_owned()],
        "End",
    )
}

/// FEAT (RFC 2389).
pub(crate) fn features(served: Option<&Served>) -> Reply {
    let facts = served.map_or_else(Facts::default, |served| served.facts);
    let algorithm = served.map_or_else(Algorithm::default, |served| served.algorithm);
    let lines = [
        "AUTH TLS".to_owned(),
        "CLNT".to_owned(),
        "EPRT".to_owned(),
        "EPSV".to_owned(),
        format!("HASH {}", hash::features(algorithm)),
        "HOST".to_owned(),
        "LANG EN*".to_owned(),
        "MDTM".to_owned(),
        "MFMT".to_owned(),
        format!("MLST {}", facts.features()),
        "PBSZ".to_owned(),
        "PROT".to_owned(),
        "REST STREAM".to_owned(),
        "SIZE".to_owned(),
        "TVFS".to_owned(),
        "UTF8".to_owned(),
    ];
    Reply::lines(211, "Features:", lines, "End")
}

/// STAT without a path.
pub(crate) fn status(served: &Served, private: bool, running: Option<u64>) -> Reply {
    let yes = |yes| if yes { "yes" } else { "no" };
    let mut lines = vec![
        format!("Logged in as {}", served.session.account().1.shown()),
        format!(
            "TYPE {}, STRU F, MODE S",
            if served.binary { "I" } else { "A" }
        ),
        format!("Data under TLS: {}", yes(private)),
    ];
    if let Some(bytes) = running {
        lines.push(format!("A transfer is running: {bytes} bytes so far"));
    }
    Reply::lines(211, "Portcullis", lines, "End")
}
