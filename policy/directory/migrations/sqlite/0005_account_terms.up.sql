-- When an account was last used, and from where it may be: `addresses` holds ranges with commas
-- between them; NULL is anywhere. What was used before is not known exactly, so that idleness is
-- counted from now on.
ALTER TABLE accounts ADD COLUMN last_login INTEGER;
ALTER TABLE accounts ADD COLUMN last_used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN idle_exempt INTEGER NOT NULL DEFAULT 0
    CHECK (idle_exempt IN (0, 1));
ALTER TABLE accounts ADD COLUMN idle_disabled INTEGER NOT NULL DEFAULT 0
    CHECK (idle_disabled IN (0, 1));
ALTER TABLE accounts ADD COLUMN addresses TEXT;
UPDATE accounts SET last_used = unixepoch() * 1000;
CREATE INDEX accounts_last_used ON accounts (last_used)
    WHERE NOT local_disabled AND NOT provider_disabled AND NOT break_glass AND NOT idle_exempt;
CREATE INDEX accounts_idle_disabled ON accounts (name_normal) WHERE idle_disabled;
CREATE INDEX accounts_expires ON accounts (expires) WHERE expires IS NOT NULL;

ALTER TABLE groups ADD COLUMN addresses TEXT;

-- Days after which an account that nobody uses is disabled; NULL is off.
ALTER TABLE site ADD COLUMN inactivity INTEGER CHECK (inactivity > 0);
