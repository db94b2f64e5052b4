ALTER TABLE accounts DROP COLUMN principals;
DROP TABLE ssh_revocations;
DROP TABLE ssh_certificates;
DELETE FROM credentials WHERE kind = 'certificate';
DROP TABLE ssh_authorities;
