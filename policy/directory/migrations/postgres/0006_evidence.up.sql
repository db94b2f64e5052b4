-- What each node signed of its chain of records: its hash at a record. Never removed.
CREATE TABLE audit_checkpoints (
    node      BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq  BIGINT NOT NULL,
    hash      BYTEA NOT NULL,
    at        BIGINT NOT NULL,
    key       BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    PRIMARY KEY (node, last_seq)
);
CREATE INDEX audit_checkpoints_at ON audit_checkpoints (node, at);

-- What stands for records that were removed for their age: between which hashes they stood, when
-- and by which rule they went, signed by their node.
CREATE TABLE audit_stubs (
    node        BIGINT NOT NULL,
    first_seq   BIGINT NOT NULL,
    last_seq    BIGINT NOT NULL,
    hash_before BYTEA NOT NULL,
    hash_after  BYTEA NOT NULL,
    newest      BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    rule        TEXT NOT NULL,
    key         BYTEA NOT NULL,
    signature   BYTEA NOT NULL,
    PRIMARY KEY (node, last_seq)
);
