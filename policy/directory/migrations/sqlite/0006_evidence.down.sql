-- The chains stay; where records were removed for their age, an earlier version misses them.
DROP TABLE audit_stubs;
DROP TABLE audit_checkpoints;
