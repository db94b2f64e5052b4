//! `portcullis`: the one binary, and the only place that names concrete back-ends and databases.

mod backup;
mod boot;
mod breached;
mod cli;
mod config;
mod control;
mod data;
mod failure;
mod metrics;
mod notify;
mod supervise;

fn main() -> std::process::ExitCode {
    cli::main()
}
