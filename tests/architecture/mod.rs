//! The house's own rules as tests: who may depend on whom, what may stand where, how long a file is.

mod dependencies;
mod rules;
mod sources;
mod style;
