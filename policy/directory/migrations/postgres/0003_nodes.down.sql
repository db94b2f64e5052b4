ALTER TABLE site DROP COLUMN key_check;
-- Only one chain can be kept: that of the first node.
ALTER TABLE folder_moves DROP COLUMN node;
DELETE FROM audit WHERE node <> (SELECT min(id) FROM nodes);
ALTER TABLE audit DROP CONSTRAINT audit_pkey;
DROP INDEX audit_place;
DROP INDEX audit_kind;
DROP INDEX audit_account;
ALTER TABLE audit DROP COLUMN place;
ALTER TABLE audit DROP COLUMN node;
ALTER TABLE audit ADD PRIMARY KEY (seq);
CREATE INDEX audit_kind ON audit (kind, seq) WHERE kind <> 'file';
CREATE INDEX audit_account ON audit (account, seq) WHERE account IS NOT NULL;
DELETE FROM audit_state WHERE node <> (SELECT min(id) FROM nodes);
UPDATE audit_state SET node = 1;
INSERT INTO audit_state (node, closed_through, last_intent)
VALUES (1, 0, 0) ON CONFLICT DO NOTHING;
ALTER TABLE audit_state RENAME node TO only_row;
ALTER TABLE audit_state ADD CONSTRAINT audit_state_only_row_check CHECK (only_row = 1);
DROP TABLE acknowledgements;
DROP TABLE nodes;
