-- How long a check of a hash that another system made takes on a slow host, in milliseconds; 0 for
-- the gateway's own.
ALTER TABLE passwords ADD COLUMN import_time BIGINT NOT NULL DEFAULT 0;
CREATE INDEX passwords_imported ON passwords (import_time) WHERE import_time > 0;
