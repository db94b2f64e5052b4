-- Up to when a node trusted its clock, in milliseconds since 1970; 0 is never.
ALTER TABLE nodes ADD COLUMN clock_trusted BIGINT NOT NULL DEFAULT 0;
