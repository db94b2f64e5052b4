-- More kinds of credentials. SQLite cannot change a CHECK in place, and dropping a table deletes
-- what refers to its rows: the tables that do are copied too. Which kinds there are, the program
-- knows.
CREATE TABLE credentials_new (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    made    INTEGER NOT NULL
) STRICT;
INSERT INTO credentials_new (id, account, kind, version, made)
SELECT id, account, kind, version, made FROM credentials;
-- An id is never given twice.
DELETE FROM sqlite_sequence WHERE name = 'credentials_new';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'credentials_new', seq FROM sqlite_sequence WHERE name = 'credentials';

-- must_change: at the next login a new password is asked.
CREATE TABLE passwords_new (
    credential  INTEGER PRIMARY KEY REFERENCES credentials_new (id) ON DELETE CASCADE,
    hash        TEXT    NOT NULL,
    must_change INTEGER NOT NULL DEFAULT 0 CHECK (must_change IN (0, 1))
) STRICT;
INSERT INTO passwords_new (credential, hash) SELECT credential, hash FROM passwords;
DROP TABLE passwords;
ALTER TABLE passwords_new RENAME TO passwords;

CREATE TABLE ssh_keys_new (
    credential  INTEGER PRIMARY KEY REFERENCES credentials_new (id) ON DELETE CASCADE,
    account     INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    blob        BLOB    NOT NULL,
    comment     TEXT    NOT NULL,
    vouched     INTEGER NOT NULL CHECK (vouched IN (0, 1)),
    UNIQUE (account, fingerprint)
) STRICT;
INSERT INTO ssh_keys_new (credential, account, fingerprint, algorithm, blob, comment, vouched)
SELECT credential, account, fingerprint, algorithm, blob, comment, vouched FROM ssh_keys;
DROP TABLE ssh_keys;
ALTER TABLE ssh_keys_new RENAME TO ssh_keys;

CREATE TABLE totp_new (
    credential INTEGER PRIMARY KEY REFERENCES credentials_new (id) ON DELETE CASCADE,
    sealed     BLOB    NOT NULL,
    last_step  INTEGER NOT NULL
) STRICT;
INSERT INTO totp_new (credential, sealed, last_step)
SELECT credential, sealed, last_step FROM totp;
DROP TABLE totp;
ALTER TABLE totp_new RENAME TO totp;

-- Tickets live for hours at most and spare a second code: they are not copied.
DROP TABLE tickets;
CREATE TABLE tickets (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    account            INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    credential         INTEGER NOT NULL REFERENCES credentials_new (id) ON DELETE CASCADE,
    credential_version INTEGER NOT NULL,
    scope              TEXT    NOT NULL,
    address            TEXT    NOT NULL,
    code_hash          BLOB    NOT NULL,
    ends               INTEGER NOT NULL
) STRICT;
CREATE INDEX tickets_account ON tickets (account, credential, scope, address, ends);
CREATE INDEX tickets_credential ON tickets (credential);
CREATE INDEX tickets_ends ON tickets (ends);

DROP TABLE credentials;
ALTER TABLE credentials_new RENAME TO credentials;
CREATE INDEX credentials_account ON credentials (account, kind);
CREATE UNIQUE INDEX credentials_single ON credentials (account, kind)
    WHERE kind IN ('password', 'totp', 'recovery');

-- hash = SHA-256 of the app password, which has at least 128 bits. `addresses` holds ranges with
-- commas between them; empty is any address. `folder` is in the site's tree; NULL is all.
CREATE TABLE app_passwords (
    credential INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    account    INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    label      TEXT    NOT NULL,
    protocols  INTEGER NOT NULL,
    folder     TEXT,
    addresses  TEXT    NOT NULL,
    expires    INTEGER NOT NULL,
    last_used  INTEGER
) STRICT;
CREATE INDEX app_passwords_account ON app_passwords (account);
CREATE INDEX app_passwords_expires ON app_passwords (expires);
CREATE INDEX app_passwords_folder ON app_passwords (folder) WHERE folder IS NOT NULL;

-- The codes of one set that are not spent: hash = SHA-256.
CREATE TABLE recovery_codes (
    credential INTEGER NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL,
    PRIMARY KEY (credential, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX credentials_recovery ON credentials (account) WHERE kind = 'recovery';

ALTER TABLE site ADD COLUMN app_passwords TEXT NOT NULL DEFAULT 'allowed'
    CHECK (app_passwords IN ('allowed', 'addresses', 'forbidden'));
