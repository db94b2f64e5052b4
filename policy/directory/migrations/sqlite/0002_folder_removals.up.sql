-- Renames and removals of folders: a row stands from before the step on the disk until the rules
-- followed or went. `to_folder` is NULL for a removal. volume, number and born say which folder it
-- is (64 unsigned bits each, kept as signed); NULL where that is not known.
CREATE TABLE folder_moves_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    from_folder TEXT    NOT NULL,
    to_folder   TEXT,
    volume      INTEGER,
    number      INTEGER,
    born        INTEGER,
    at          INTEGER NOT NULL
) STRICT;
INSERT INTO folder_moves_new (id, from_folder, to_folder, at)
SELECT id, from_folder, to_folder, at FROM folder_moves;
DROP TABLE folder_moves;
ALTER TABLE folder_moves_new RENAME TO folder_moves;
