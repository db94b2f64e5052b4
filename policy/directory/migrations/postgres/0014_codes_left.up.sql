-- How many codes a set of recovery codes has left, so that those with few are found by an index;
-- NULL of other credentials.
ALTER TABLE credentials ADD COLUMN codes_left BIGINT;
UPDATE credentials SET codes_left =
    (SELECT count(*) FROM recovery_codes r WHERE r.credential = credentials.id)
WHERE kind = 'recovery';
CREATE INDEX credentials_codes_left ON credentials (codes_left, account)
    WHERE codes_left IS NOT NULL;
