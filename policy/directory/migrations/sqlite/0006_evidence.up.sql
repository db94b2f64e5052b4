-- What each node signed of its chain of records: its hash at a record. Never removed.
CREATE TABLE audit_checkpoints (
    node      INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    at        INTEGER NOT NULL,
    key       BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (node, last_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_checkpoints_at ON audit_checkpoints (node, at);

-- What stands for records that were removed for their age: between which hashes they stood, when
-- and by which rule they went, signed by their node.
CREATE TABLE audit_stubs (
    node        INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    hash_before BLOB NOT NULL,
    hash_after  BLOB NOT NULL,
    newest      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    rule        TEXT NOT NULL,
    key         BLOB NOT NULL,
    signature   BLOB NOT NULL,
    PRIMARY KEY (node, last_seq)
) STRICT, WITHOUT ROWID;
