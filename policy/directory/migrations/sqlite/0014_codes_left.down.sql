DROP INDEX credentials_codes_left;
ALTER TABLE credentials DROP COLUMN codes_left;
