DROP INDEX accounts_exceptions;
CREATE INDEX accounts_never ON accounts (name_normal) WHERE factor_rule = 'never';
