-- Authorities whose SSH user certificates are trusted; `max_validity` in seconds.
CREATE TABLE ssh_authorities (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL UNIQUE,
    fingerprint  TEXT    NOT NULL UNIQUE,
    algorithm    TEXT    NOT NULL,
    blob         BLOB    NOT NULL,
    max_validity INTEGER NOT NULL,
    made         INTEGER NOT NULL
) STRICT;

-- Certificates of accounts that were used and are still valid. `digest` is the SHA-256 of the
-- whole certificate, `key` the fingerprint of the key that it certifies.
CREATE TABLE ssh_certificates (
    credential INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    account    INTEGER NOT NULL,
    authority  INTEGER NOT NULL REFERENCES ssh_authorities (id),
    digest     BLOB    NOT NULL,
    serial     TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    ends       INTEGER NOT NULL,
    UNIQUE (account, digest)
) STRICT;
CREATE INDEX ssh_certificates_authority ON ssh_certificates (authority, serial);
CREATE INDEX ssh_certificates_key_id ON ssh_certificates (authority, key_id);
CREATE INDEX ssh_certificates_key ON ssh_certificates (key);
CREATE INDEX ssh_certificates_ends ON ssh_certificates (ends);

-- By the authority's fingerprint, so that one which is removed and added again revokes the same.
CREATE TABLE ssh_revocations (
    authority TEXT    NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('serial', 'key_id', 'key')),
    value     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (authority, kind, value)
) STRICT, WITHOUT ROWID;

-- What a certificate must name as principal, as a JSON list; NULL is the account's own name.
ALTER TABLE accounts ADD COLUMN principals TEXT;
