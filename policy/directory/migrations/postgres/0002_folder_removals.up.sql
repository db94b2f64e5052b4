-- Renames and removals of folders: a row stands from before the step on the disk until the rules
-- followed or went. `to_folder` is NULL for a removal. volume, number and born say which folder it
-- is (64 unsigned bits each, kept as signed); NULL where that is not known.
ALTER TABLE folder_moves
    ALTER COLUMN to_folder DROP NOT NULL,
    ADD COLUMN volume BIGINT,
    ADD COLUMN number BIGINT,
    ADD COLUMN born BIGINT;
