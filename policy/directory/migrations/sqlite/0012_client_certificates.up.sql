-- TLS client certificates of accounts. `public_key` is the SHA-256 of the SubjectPublicKeyInfo,
-- `fingerprint` the certificate's in hexadecimal digits.
CREATE TABLE client_certificates (
    credential  INTEGER PRIMARY KEY REFERENCES credentials (id) ON DELETE CASCADE,
    account     INTEGER NOT NULL,
    public_key  BLOB    NOT NULL,
    fingerprint TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    expires     INTEGER NOT NULL,
    UNIQUE (account, public_key)
) STRICT;
CREATE INDEX client_certificates_account ON client_certificates (account, fingerprint);
