//! `portcullis`: the one binary, and the only place that names concrete back-ends and databases.

mod boot;
mod cli;
mod config;
mod control;
mod data;
mod failure;
mod supervise;

/// Password hashes take and give back 19 MiB each, on many threads; this allocator returns such
/// memory to the host, where the C library's keeps hundreds of MiB.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
