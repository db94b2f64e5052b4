-- An earlier version knows no such hash: nobody could log in by it.
DELETE FROM credentials WHERE id IN (SELECT credential FROM passwords WHERE import_time > 0);
DROP INDEX passwords_imported;
ALTER TABLE passwords DROP COLUMN import_time;
