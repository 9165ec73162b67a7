//! The program.

use std::process::ExitCode;

// The system's allocator costs a tenth of the throughput, musl's far more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The one provider of cryptography for the whole process; ring is only linked because Pingora depends on it.
    // Nothing can have been installed before the first line of the program.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let arguments =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
    gateway::cli::main(arguments, variables)
}
