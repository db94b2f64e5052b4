-- Removals that were never ended cannot be kept: what stands on such folders stays.
DELETE FROM folder_moves WHERE to_folder IS NULL;
ALTER TABLE folder_moves
    DROP COLUMN volume,
    DROP COLUMN number,
    DROP COLUMN born,
    ALTER COLUMN to_folder SET NOT NULL;
