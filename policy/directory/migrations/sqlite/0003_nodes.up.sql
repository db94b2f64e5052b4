-- The gateways on this database. SQLite has one; the tables are those of PostgreSQL.
CREATE TABLE nodes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT    NOT NULL UNIQUE,  -- made by chance, kept in the node's data folder
    label   TEXT    NOT NULL,         -- for people: the host's name
    renewed INTEGER NOT NULL,         -- when it last read the newest changes; 0 is never
    applied INTEGER NOT NULL          -- every change up to here was told to its sessions
) STRICT;
INSERT INTO nodes (id, name, label, renewed, applied) VALUES (1, 'local', 'local', 0, 0);

-- What a node ended because of a change.
CREATE TABLE acknowledgements (
    version            INTEGER NOT NULL,
    node               INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    sessions_ended     INTEGER NOT NULL,
    sessions_not_ended INTEGER NOT NULL,
    PRIMARY KEY (version, node)
) STRICT, WITHOUT ROWID;

-- Each node has its own chain of records, and its own mark.
ALTER TABLE audit ADD COLUMN node INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit_state RENAME TO audit_state_old;
CREATE TABLE audit_state (
    node           INTEGER PRIMARY KEY REFERENCES nodes (id),
    closed_through INTEGER NOT NULL,
    last_intent    INTEGER NOT NULL
) STRICT;
INSERT INTO audit_state (node, closed_through, last_intent)
SELECT 1, closed_through, last_intent FROM audit_state_old;
DROP TABLE audit_state_old;

-- Whoever began a step on the disk ends it.
ALTER TABLE folder_moves ADD COLUMN node INTEGER NOT NULL DEFAULT 1;

-- Made with the site's key, so that a node with another key is told so before it seals anything.
ALTER TABLE site ADD COLUMN key_check BLOB;
