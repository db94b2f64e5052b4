-- Exceptions from the second-factor rule are looked for in each of their kinds.
DROP INDEX accounts_never;
CREATE INDEX accounts_exceptions ON accounts (factor_rule, name_normal) WHERE factor_rule <> 'site';
