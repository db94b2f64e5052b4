-- Removals that were never ended cannot be kept: what stands on such folders stays.
CREATE TABLE folder_moves_old (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    from_folder TEXT    NOT NULL,
    to_folder   TEXT    NOT NULL,
    at          INTEGER NOT NULL
) STRICT;
INSERT INTO folder_moves_old (id, from_folder, to_folder, at)
SELECT id, from_folder, to_folder, at FROM folder_moves WHERE to_folder IS NOT NULL;
DROP TABLE folder_moves;
ALTER TABLE folder_moves_old RENAME TO folder_moves;
