ALTER TABLE site DROP COLUMN app_passwords;
DROP TABLE recovery_codes;
DROP TABLE app_passwords;
DELETE FROM credentials WHERE kind NOT IN ('password', 'key', 'totp');
DROP INDEX credentials_single;
DROP INDEX credentials_recovery;
CREATE UNIQUE INDEX credentials_single ON credentials (account, kind) WHERE kind <> 'key';
ALTER TABLE credentials ADD CONSTRAINT credentials_kind_check
    CHECK (kind IN ('password', 'key', 'totp'));
ALTER TABLE passwords DROP COLUMN must_change;
