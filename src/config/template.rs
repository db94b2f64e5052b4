//! The commented `portcullis.toml` that the first start writes.

use std::fmt::Write as _;

use super::limits::LIMITS;

const HEAD: &str = r#"# Portcullis. A line of `#` and a setting shows its default; take the `#` away
# to change it. `portcullis check-config` says what is wrong, with the line. `portcullis reload`
# reads this file again and ends nothing; it names what takes effect at the next start only. Users,
# groups and rights are not set here: see `portcullis --help`.

[sftp]
# Addresses and ports to listen on: one text, or a list of up to 16.
#listen = ["0.0.0.0:2022"]
# Proxies such as HAProxy before this gateway, as addresses or ranges: ["10.0.0.5", "10.1.0.0/16"].
# From these a PROXY header (version 1 or 2) is demanded, and the client's address is the one that
# it says; from nobody else a header is taken.
#proxies = []

# FTP and FTPS are off until there is one of these; several may stand here.
#[[ftp]]
# Addresses and ports to listen on: one text, or a list of up to 16.
#listen = "0.0.0.0:2121"
# "explicit" waits for AUTH TLS, "implicit" speaks TLS from the first byte (port 990 of old).
#tls = "explicit"
# From where a login without TLS is allowed, as addresses or ranges. Passwords and files can then be
# read by whoever is on the way.
#clear_login_from = []
# The ports for data connections, which a firewall must let in, such as "50000-50999"; any where it
# is empty.
#passive_ports = ""
# The address under which clients reach them, such as "203.0.113.7", where it is not the one that
# they connected to; and other addresses for some clients:
# [{ clients = ["10.0.0.0/8"], address = "10.0.0.5" }]
#external_address = ""
#external_addresses = []
# "require" refuses data connections that do not resume the TLS session of their control connection:
# safer, but Python's ftplib and Apache's commons-net cannot do it.
#data_session = "allow"
# Whether clients may be called back (PORT, EPRT), at their own address.
#active = false
# "binary" sends and takes bytes as they are where a client asks for ASCII.
#ascii = "convert"
# Whether uploads under TLS count as whole that end without a close_notify, as old clients end them.
#unclean_end = false
# As for SFTP; data connections must come through the proxy too.
#proxies = []

[tls]
# Certificate chain and private key in PEM, absolute or relative to the data folder. Where they are
# not named, tls.crt and tls.key there are used, and made where they are missing.
#certificate = "tls.crt"
#key = "tls.key"

[directory]
# Where accounts, policy and the audit are kept: "embedded" is a file of SQLite in the data folder;
# an address such as "postgres://portcullis@db.example.com/portcullis" is a database of PostgreSQL,
# which several gateways can share. PORTCULLIS_DATABASE in the environment stands above this.
#database = "embedded"

[audit]
# Records are removed after so many days, and a signed stub says what is missing; 0 keeps them all.
#keep_days = 0

[storage]
# The folder that is served: absolute, or relative to the data folder. It may not be, contain or
# lie in the data folder, except for the default.
#root = "files"
# When the close of an upload is acknowledged: "close" is after fsync of the file and its folder;
# "never" is at once, which survives a crash of the gateway but not a loss of power.
#fsync = "close"

[metrics]
# Where health (/healthz, /readyz) and counts for Prometheus (/metrics) are told over HTTP, in clear
# and to everyone who can connect: "127.0.0.1:9100" is told on this host only, "" nowhere.
#listen = ""

[log]
# "text" for people, "json" for machines; always on standard error.
#format = "text"
# The least level that is written (error, warn, info, debug), or a filter for each part.
#filter = "info"

[limits]
"#;

/// The text of a fresh `portcullis.toml`: every setting, commented out, with its default.
pub fn commented() -> String {
    let mut text = HEAD.to_owned();
    for limit in LIMITS {
        let _ = writeln!(
            text,
            "# {}; in {}, {} to {}.\n#{} = {}",
            capital(limit.what),
            limit.unit,
            limit.least,
            limit.most,
            limit.key,
            limit.default
        );
    }
    text
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
