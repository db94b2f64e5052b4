//! The house's own rules as tests: who may depend on whom, what may stand where, in what shape.

mod dependencies;
mod rules;
mod sources;
mod style;

pub use sources::top;
