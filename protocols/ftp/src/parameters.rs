//! Commands that set how later ones go (RFC 959 section 4.1.2 and its successors).
//!
//! Owns the syntax of their arguments in replies. Knows nothing of files.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::command::{
    Command, Extended, Verb, allocation, extended_port, host_port, is_binary, number,
};
use crate::connection::{Conversation, Protection};
use crate::data::Channel;
use crate::hash;
use crate::listing::Facts;
use crate::ops;
use crate::quirks;
use crate::reply::Reply;
use crate::served::Served;
use crate::told;
use crate::transfer::Progress;
use crate::work::Work;

/// A refusal is a reply like any other.
type Said = Result<Reply, Reply>;

/// The longest name of a host (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;

fn done() -> Reply {
    Reply::new(200, "Done.")
}

fn syntax(verb: Verb) -> Reply {
    let found = Verb::ALL.iter().find(|(one, ..)| *one == verb);
    let form = found.map_or("", |(_, _, _, form)| form);
    Reply::new(501, format!("This should read {}{form}.", verb.text()))
}

fn text(command: &Command) -> Result<&str, Reply> {
    command.text().ok_or_else(|| syntax(command.verb))
}

/// TYPE.
pub(crate) fn type_code(served: &mut Served, command: &Command) -> Said {
    let text = text(command)?;
    match is_binary(text) {
        Some(binary) => served.binary = binary,
        None if text.is_empty() => return Err(syntax(Verb::Type)),
        None => return Err(Reply::new(504, "TYPE A, TYPE I and TYPE L 8 are served.")),
    }
    Ok(done())
}

/// STRU and MODE, of which one value each is served.
pub(crate) fn only(command: &Command, value: &str) -> Said {
    let text = text(command)?;
    if text.eq_ignore_ascii_case(value) {
        return Ok(done());
    }
    let known = ["F", "R", "P", "S", "B", "C", "Z"];
    if known.iter().any(|one| text.eq_ignore_ascii_case(one)) {
        let word = command.verb.text();
        return Err(Reply::new(
            504,
            format!("{word} {value} is what is served."),
        ));
    }
    Err(syntax(command.verb))
}

/// REST (RFC 3659 section 5): in bytes of the file, which converted lines do not have.
pub(crate) fn restart(served: &mut Served, command: &Command, converts: bool) -> Said {
    let offset = number(text(command)?).filter(|offset| i64::try_from(*offset).is_ok());
    let offset = offset.ok_or_else(|| syntax(Verb::Rest))?;
    if converts && offset > 0 {
        return Err(Reply::new(504, "REST goes with TYPE I."));
    }
    served.restart = offset;
    Ok(Reply::new(
        350,
        format!("The next transfer goes on at {offset}."),
    ))
}

/// ALLO: the size that the next upload must come to (rule U2); 0 announces nothing.
pub(crate) fn allocate(served: &mut Served, command: &Command) -> Said {
    let bytes = allocation(text(command)?).ok_or_else(|| syntax(Verb::Allo))?;
    served.announced = (bytes > 0).then_some(bytes);
    Ok(done())
}

/// SITE HELP, and nothing else.
pub(crate) fn site(command: &Command) -> Said {
    let word = text(command)?.split(' ').next().unwrap_or_default();
    if word.eq_ignore_ascii_case("HELP") {
        return Ok(told::site_help());
    }
    Err(Reply::new(
        502,
        "This SITE command is not served; SITE HELP tells which are.",
    ))
}

/// HOST (RFC 7151): there is one site, whatever it is called, before USER.
pub(crate) fn host(conversation: &Conversation, command: &Command) -> Said {
    let name = text(command)?;
    if conversation.served.is_some() {
        return Err(Reply::new(503, "HOST comes before the login."));
    }
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if name.is_empty() || name.len() > MAX_HOST || !name.bytes().all(letters) {
        return Err(syntax(Verb::Host));
    }
    Ok(Reply::new(220, "Portcullis is ready."))
}

/// LANG (RFC 2640 section 4).
pub(crate) fn language(command: &Command) -> Said {
    let language = text(command)?.to_ascii_lowercase();
    let primary = language.split('-').next().unwrap_or_default();
    match primary {
        "" | "en" => Ok(Reply::new(200, "Replies are in English.")),
        _ => Err(Reply::new(504, "Replies are in English only.")),
    }
}

/// OPTS (RFC 2389 section 4).
pub(crate) fn options(served: Option<&mut Served>, command: &Command) -> Said {
    let text = text(command)?;
    if quirks::asks_for_utf8(text) {
        return Ok(Reply::new(200, "Names are UTF-8 in any case."));
    }
    let (what, value) = text.split_once(' ').unwrap_or((text, ""));
    let value = value.trim_matches(' ');
    match (what.to_ascii_uppercase().as_str(), served) {
        ("UTF8", _) => Err(Reply::new(504, "Names are UTF-8 in any case.")),
        ("MLST", Some(served)) => {
            served.facts = Facts::chosen(value);
            let facts = served.facts.names();
            Ok(Reply::new(200, format!("MLST OPTS {facts}")))
        }
        ("HASH", Some(served)) => {
            if !value.is_empty() {
                let named = hash::named(value);
                served.algorithm = named.ok_or(Reply::new(501, "FEAT tells which are served."))?;
            }
            Ok(Reply::new(200, hash::name(served.algorithm)))
        }
        ("MLST" | "HASH", None) => Err(Reply::new(530, "Log in first: USER and PASS.")),
        _ => Err(Reply::new(501, "There is nothing of this to be set.")),
    }
}

/// HASH.
pub(crate) fn hash(
    served: &mut Served,
    command: &Command,
    threads: Arc<Semaphore>,
) -> Result<Work, Reply> {
    let path = ops::place(served, command)?;
    let from = std::mem::take(&mut served.restart);
    let run = hash::hash(served.fs.clone(), path, served.algorithm, from, threads);
    Ok(Work {
        begin: None,
        run: Box::pin(run),
        progress: Progress::default(),
        settling: Arc::default(),
    })
}

/// PBSZ (RFC 4217 section 8).
pub(crate) fn buffer_size(conversation: &mut Conversation, command: &Command) -> Said {
    if !conversation.is_under_tls() {
        return Err(Reply::new(503, "AUTH comes first."));
    }
    number(text(command)?).ok_or_else(|| syntax(Verb::Pbsz))?;
    conversation.protection.sized = true;
    Ok(Reply::new(200, "PBSZ=0"))
}

/// PROT (RFC 4217 section 9).
pub(crate) fn protect(conversation: &mut Conversation, command: &Command) -> Said {
    if !conversation.protection.sized {
        return Err(Reply::new(503, "PBSZ comes first."));
    }
    let level = text(command)?.to_ascii_uppercase();
    match level.as_str() {
        "P" => {
            conversation.protection = Protection {
                private: true,
                ..conversation.protection
            };
            Ok(done())
        }
        "C" => Err(Reply::new(534, "Data goes under TLS here.")),
        "S" | "E" => Err(Reply::new(536, "PROT P is what is served.")),
        _ => Err(Reply::new(504, "PROT P is what is served.")),
    }
}

/// PASV, EPSV, PORT and EPRT.
pub(crate) fn data_connection(conversation: &mut Conversation, command: &Command) -> Said {
    if let Some(served) = &mut conversation.served {
        served.channel = Channel::None;
        served.rename_from = None;
        if served.only_epsv && command.verb != Verb::Epsv {
            return Err(Reply::new(503, "After EPSV ALL only EPSV is served."));
        }
    }
    match command.verb {
        Verb::Pasv => passive(conversation),
        Verb::Epsv => extended_passive(conversation, text(command)?),
        Verb::Port => {
            let to = host_port(text(command)?).ok_or_else(|| syntax(Verb::Port))?;
            active(conversation, to)
        }
        _ => match extended_port(text(command)?).ok_or_else(|| syntax(Verb::Eprt))? {
            Extended::At(to) => active(conversation, to),
            Extended::OtherFamily => Err(Reply::new(522, "Families 1 and 2 are served (1,2).")),
        },
    }
}

fn passive(conversation: &mut Conversation) -> Said {
    let (client, dialled) = (conversation.peer.ip(), conversation.dialled.ip());
    let told = conversation.service.config.told_address(client, dialled);
    let IpAddr::V4(address) = told else {
        return Err(Reply::new(
            425,
            "This address is no IPv4 address: send EPSV.",
        ));
    };
    let port = open_port(conversation)?;
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    let at = format!("Entering passive mode ({a},{b},{c},{d},{high},{low}).");
    Ok(Reply::new(227, at))
}

fn extended_passive(conversation: &mut Conversation, wanted: &str) -> Said {
    let six = conversation.dialled.ip().to_canonical().is_ipv6();
    match wanted.to_ascii_uppercase().as_str() {
        "" => {}
        "ALL" => {
            if let Some(served) = &mut conversation.served {
                served.only_epsv = true;
            }
            return Ok(Reply::new(200, "From now on EPSV only."));
        }
        "1" if !six => {}
        "2" if six => {}
        "1" | "2" => {
            let family = if six { 2 } else { 1 };
            return Err(Reply::new(
                522,
                format!("Use this connection's family ({family})."),
            ));
        }
        other if number(other).is_some() => {
            return Err(Reply::new(522, "Families 1 and 2 are served (1,2)."));
        }
        _ => return Err(syntax(Verb::Epsv)),
    }
    let port = open_port(conversation)?;
    Ok(Reply::new(
        229,
        format!("Entering extended passive mode (|||{port}|)."),
    ))
}

fn open_port(conversation: &mut Conversation) -> Result<u16, Reply> {
    let service = &conversation.service;
    let opened = service.ports.open(conversation.local);
    let socket = opened.map_err(|error| {
        tracing::warn!(%error, "no passive port could be opened");
        Reply::new(425, "No passive port is free; try again later.")
    })?;
    let port = socket.port();
    let ends = Instant::now() + service.config.data_wait;
    if let Some(served) = &mut conversation.served {
        served.channel = Channel::Passive(socket, ends);
    }
    Ok(port)
}

fn active(conversation: &mut Conversation, to: SocketAddr) -> Said {
    if !conversation.service.config.active || conversation.is_proxied() {
        return Err(Reply::new(
            502,
            "Active mode is off here: send EPSV or PASV.",
        ));
    }
    let own = to.ip().to_canonical() == conversation.peer.ip().to_canonical();
    if !own || to.port() < 1024 {
        return Err(Reply::new(
            501,
            "Only your own address, at a port from 1024 on.",
        ));
    }
    if let Some(served) = &mut conversation.served {
        served.channel = Channel::Active(to);
    }
    Ok(done())
}
