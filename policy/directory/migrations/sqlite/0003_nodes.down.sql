ALTER TABLE site DROP COLUMN key_check;
ALTER TABLE folder_moves DROP COLUMN node;
ALTER TABLE audit_state RENAME TO audit_state_new;
CREATE TABLE audit_state (
    only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
    closed_through INTEGER NOT NULL,
    last_intent    INTEGER NOT NULL
) STRICT;
INSERT INTO audit_state (only_row, closed_through, last_intent)
SELECT 1, closed_through, last_intent FROM audit_state_new WHERE node = 1;
DROP TABLE audit_state_new;
ALTER TABLE audit DROP COLUMN node;
DROP TABLE acknowledgements;
DROP TABLE nodes;
