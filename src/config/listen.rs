//! Addresses: to listen on, and of clients and proxies.

use std::net::SocketAddr;

use portcullis_model::AddressList;
use serde::Deserialize;
use toml::Spanned;

use super::Problems;

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an address such as \"0.0.0.0:2022\", or a list of addresses"
)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn addresses_to_listen_on(
    problems: &mut Problems<'_>,
    setting: &str,
    raw: Spanned<OneOrMany>,
) -> Vec<SocketAddr> {
    let span = raw.span();
    let texts = match raw.into_inner() {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    if texts.is_empty() || texts.len() > 16 {
        problems.add(
            Some(span.clone()),
            format!("{setting} wants 1 to 16 addresses"),
        );
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => problems.add(
                Some(span.clone()),
                format!(
                    "{setting}: `{text}` is not an address with a port; write it like \
                     \"0.0.0.0:2022\" or \"[::]:2022\""
                ),
            ),
        }
    }
    if let Some(address) = named_twice(addresses.iter()) {
        problems.add(
            Some(span),
            format!("{setting} names {address} twice; once is enough"),
        );
    }
    addresses
}

/// The first address that comes a second time. A free port may be asked for several times.
pub(super) fn named_twice<'a>(
    addresses: impl Iterator<Item = &'a SocketAddr>,
) -> Option<SocketAddr> {
    let mut seen = std::collections::HashSet::new();
    addresses
        .filter(|address| address.port() != 0)
        .find(|address| !seen.insert(*address))
        .copied()
}

/// Addresses and ranges; nobody where the list is empty.
pub(super) fn address_list(
    problems: &mut Problems<'_>,
    setting: &str,
    raw: Option<Spanned<Vec<String>>>,
) -> Option<AddressList> {
    let raw = raw.filter(|raw| !raw.get_ref().is_empty())?;
    let span = raw.span();
    let ranges: Result<Vec<_>, _> = raw.into_inner().iter().map(|text| text.parse()).collect();
    match ranges.and_then(AddressList::new) {
        Ok(list) => Some(list),
        Err(error) => {
            problems.add(Some(span), format!("{setting}: {error}"));
            None
        }
    }
}
