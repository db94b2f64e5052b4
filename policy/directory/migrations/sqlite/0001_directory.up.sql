-- Accounts, groups, what they may, how they prove who they are, and what happened.
-- Times are milliseconds since 1970. Folders are absolute paths of the site's tree, in NFC,
-- compared byte for byte. Numbers named `version` come from policy_sequence.

CREATE TABLE policy_sequence (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    newest   INTEGER NOT NULL
) STRICT;
INSERT INTO policy_sequence (only_row, newest) VALUES (1, 0);

-- One row for every policy commit: the change as JSON, to be told to the sessions.
CREATE TABLE outbox (
    version INTEGER PRIMARY KEY,
    change  TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE TABLE site (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    factor_rule TEXT    NOT NULL CHECK (factor_rule IN ('everyone', 'administrators', 'off')),
    tickets     INTEGER NOT NULL CHECK (tickets IN (0, 1)),
    protocols   INTEGER NOT NULL,
    groups_only INTEGER NOT NULL CHECK (groups_only IN (0, 1)),
    version     INTEGER NOT NULL
) STRICT;
INSERT INTO site (only_row, factor_rule, tickets, protocols, groups_only, version)
VALUES (1, 'everyone', 1, 15, 0, 0);

CREATE TABLE providers (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    scim_active   INTEGER NOT NULL CHECK (scim_active IN (0, 1)),
    idp_freshness INTEGER          -- seconds; NULL is off
) STRICT;

-- AUTOINCREMENT: an id is never given twice, so that nothing is inherited.
CREATE TABLE accounts (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT    NOT NULL,
    name_normal       TEXT    NOT NULL UNIQUE,
    display           TEXT,
    local_disabled    INTEGER NOT NULL DEFAULT 0 CHECK (local_disabled IN (0, 1)),
    provider_disabled INTEGER NOT NULL DEFAULT 0 CHECK (provider_disabled IN (0, 1)),
    expires           INTEGER,
    role              TEXT    NOT NULL
        CHECK (role IN ('none', 'administrator', 'read_only_administrator')),
    protocols         INTEGER NOT NULL,
    factor_rule       TEXT    NOT NULL CHECK (factor_rule IN ('site', 'always', 'never')),
    root_view         TEXT,
    home              TEXT,        -- in the site's tree, not as the account sees it
    max_sessions      INTEGER NOT NULL DEFAULT 2000 CHECK (max_sessions > 0),
    provider_id       INTEGER REFERENCES providers (id),
    keeps_password    INTEGER NOT NULL DEFAULT 0 CHECK (keeps_password IN (0, 1)),
    last_idp_sign_in  INTEGER,
    break_glass       INTEGER NOT NULL DEFAULT 0 CHECK (break_glass IN (0, 1)),
    cut_epoch         INTEGER NOT NULL DEFAULT 0,
    version           INTEGER NOT NULL,
    made              INTEGER NOT NULL
) STRICT;
CREATE INDEX accounts_role ON accounts (role) WHERE role <> 'none';
CREATE INDEX accounts_never ON accounts (name_normal) WHERE factor_rule = 'never';
CREATE INDEX accounts_root_view ON accounts (root_view) WHERE root_view IS NOT NULL;
CREATE INDEX accounts_home ON accounts (home) WHERE home IS NOT NULL;
CREATE INDEX accounts_provider ON accounts (provider_id) WHERE provider_id IS NOT NULL;

-- Their partial uploads may still lie in the storage, and their names stand in the audit.
CREATE TABLE deleted_accounts (
    id          INTEGER PRIMARY KEY,
    name_normal TEXT    NOT NULL,
    at          INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_accounts_name ON deleted_accounts (name_normal, id);
CREATE INDEX deleted_accounts_at ON deleted_accounts (at);

CREATE TABLE groups (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    provider_id INTEGER REFERENCES providers (id),
    protocols   INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    account  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    PRIMARY KEY (account, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_group ON memberships (group_id, account);

-- `subject` spells whom a row names (u:ID, g:ID, l:ID,ID...), so that one row is not made twice.
CREATE TABLE grants (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    folder    TEXT    NOT NULL,
    level     TEXT    NOT NULL,
    recursive INTEGER NOT NULL CHECK (recursive IN (0, 1)),
    account   INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    group_id  INTEGER REFERENCES groups (id) ON DELETE CASCADE,
    subject   TEXT    NOT NULL,
    UNIQUE (folder, subject, level, recursive)
) STRICT;
CREATE INDEX grants_account ON grants (account) WHERE account IS NOT NULL;
CREATE INDEX grants_group ON grants (group_id) WHERE group_id IS NOT NULL;

-- The groups of an AND list. A list never shrinks: no cascade from groups.
CREATE TABLE grant_groups (
    grant_id INTEGER NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    group_id INTEGER NOT NULL REFERENCES groups (id),
    PRIMARY KEY (grant_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_groups_group ON grant_groups (group_id, grant_id);

CREATE TABLE fences (
    folder TEXT PRIMARY KEY CHECK (folder <> '/')
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    folder   TEXT    NOT NULL,
    account  INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    group_id INTEGER REFERENCES groups (id),
    subject  TEXT    NOT NULL,
    frozen   TEXT,               -- what it named before a group of it was deleted
    UNIQUE (folder, subject)
) STRICT;
CREATE INDEX blocks_account ON blocks (account) WHERE account IS NOT NULL;
CREATE INDEX blocks_group ON blocks (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX blocks_frozen ON blocks (id) WHERE frozen IS NOT NULL;

CREATE TABLE block_groups (
    block_id INTEGER NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    group_id INTEGER NOT NULL REFERENCES groups (id),
    PRIMARY KEY (block_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_groups_group ON block_groups (group_id, block_id);

-- The last members of a deleted group, whom its block keeps naming.
CREATE TABLE block_members (
    account  INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    block_id INTEGER NOT NULL REFERENCES blocks (id) ON DELETE CASCADE,
    PRIMARY KEY (account, block_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_members_block ON block_members (block_id, account);

-- One password, key or one-time-code secret; one id for all kinds, never given twice.
CREATE TABLE credentials (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind    TEXT    NOT NULL CHECK (kind IN ('password', 'key', 'totp')),
    version INTEGER NOT NULL,
    made    INTEGER NOT NULL
) STRICT;
CREATE INDEX credentials_account ON credentials (account, kind);
CREATE UNIQUE INDEX credentials_single ON credentials (account, kind) WHERE kind <> 'key';

CREATE TABLE passwords (
    credential INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    hash       TEXT NOT NULL
) STRICT;

CREATE TABLE ssh_keys (
    credential  INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    account     INTEGER NOT NULL,
    fingerprint TEXT    NOT NULL,
    algorithm   TEXT    NOT NULL,
    blob        BLOB    NOT NULL,
    comment     TEXT    NOT NULL,
    vouched     INTEGER NOT NULL CHECK (vouched IN (0, 1)),
    UNIQUE (account, fingerprint)
) STRICT;

CREATE TABLE totp (
    credential INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    sealed     BLOB    NOT NULL,
    last_step  INTEGER NOT NULL
) STRICT;

CREATE TABLE invitations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    INTEGER NOT NULL UNIQUE REFERENCES accounts (id) ON DELETE CASCADE,
    token_hash BLOB    NOT NULL UNIQUE,
    expires    INTEGER NOT NULL
) STRICT;

CREATE TABLE tickets (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    account            INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    credential         INTEGER NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    credential_version INTEGER NOT NULL,
    scope              TEXT    NOT NULL,
    address            TEXT    NOT NULL,
    code_hash          BLOB    NOT NULL,
    ends               INTEGER NOT NULL
) STRICT;
CREATE INDEX tickets_account ON tickets (account, credential, scope, address, ends);
CREATE INDEX tickets_credential ON tickets (credential);
CREATE INDEX tickets_ends ON tickets (ends);

CREATE TABLE throttles (
    kind         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    count        INTEGER NOT NULL,
    window_end   INTEGER NOT NULL,
    closed_until INTEGER NOT NULL,
    dead_after   INTEGER NOT NULL,
    PRIMARY KEY (kind, subject, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_dead ON throttles (dead_after);

CREATE TABLE known_addresses (
    account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    address TEXT    NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (account, address)
) STRICT, WITHOUT ROWID;

-- Renames of folders: a row stands from before the rename until the rules followed.
CREATE TABLE folder_moves (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    from_folder TEXT    NOT NULL,
    to_folder   TEXT    NOT NULL,
    at          INTEGER NOT NULL
) STRICT;

-- hash = SHA-256(hash of the record before || seq || intent || record).
-- An intent and its outcome carry the same number in `intent`. The other columns repeat what
-- `record` says, to be searched; `audit verify` compares them.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    intent  INTEGER,
    kind    TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    account INTEGER,
    record  TEXT    NOT NULL,
    hash    BLOB    NOT NULL
) STRICT;
CREATE INDEX audit_kind ON audit (kind, seq) WHERE kind <> 'file';
CREATE INDEX audit_account ON audit (account, seq) WHERE account IS NOT NULL;

-- Every intent up to the record closed_through has its outcome; last_intent is the highest number
-- of an intent up to there.
CREATE TABLE audit_state (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    closed_through INTEGER NOT NULL,
    last_intent    INTEGER NOT NULL
) STRICT;
INSERT INTO audit_state (only_row, closed_through, last_intent) VALUES (1, 0, 0);
