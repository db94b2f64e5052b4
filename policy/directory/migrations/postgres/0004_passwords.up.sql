-- More kinds of credentials. Which there are, the program knows.
ALTER TABLE credentials DROP CONSTRAINT credentials_kind_check;
DROP INDEX credentials_single;
CREATE UNIQUE INDEX credentials_single ON credentials (account, kind)
    WHERE kind IN ('password', 'totp', 'recovery');

-- At the next login a new password is asked.
ALTER TABLE passwords ADD COLUMN must_change BOOLEAN NOT NULL DEFAULT FALSE;

-- hash = SHA-256 of the app password, which has at least 128 bits. `addresses` holds ranges with
-- commas between them; empty is any address. `folder` is in the site's tree; NULL is all.
CREATE TABLE app_passwords (
    credential BIGINT PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    account    BIGINT NOT NULL,
    hash       BYTEA  NOT NULL,
    label      TEXT   NOT NULL,
    protocols  BIGINT NOT NULL,
    folder     TEXT COLLATE "C",
    addresses  TEXT   NOT NULL,
    expires    BIGINT NOT NULL,
    last_used  BIGINT
);
CREATE INDEX app_passwords_account ON app_passwords (account);
CREATE INDEX app_passwords_expires ON app_passwords (expires);
CREATE INDEX app_passwords_folder ON app_passwords USING spgist (folder) WHERE folder IS NOT NULL;

-- The codes of one set that are not spent: hash = SHA-256.
CREATE TABLE recovery_codes (
    credential BIGINT NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    hash       BYTEA  NOT NULL,
    PRIMARY KEY (credential, hash)
);
CREATE INDEX credentials_recovery ON credentials (account) WHERE kind = 'recovery';

ALTER TABLE site ADD COLUMN app_passwords TEXT NOT NULL DEFAULT 'allowed'
    CHECK (app_passwords IN ('allowed', 'addresses', 'forbidden'));
