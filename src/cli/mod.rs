//! The command line: what was typed becomes a request, the request runs, and what came of it is
//! shown. Nothing else prints, reads the environment or asks the terminal.

pub mod arguments;
mod cache;
mod commands;
mod doctor;
pub mod environment;
mod images;
mod interrupt;
mod layers;
pub mod layers_arguments;
mod layers_text;
mod logging;
mod oci;
pub mod oci_arguments;
pub mod options;
pub mod report;

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::config::LogLevel;
use crate::error::Error;
use crate::progress::Reporter;
use crate::progress::bars::Bars;
use crate::progress::json::Json;
use crate::progress::plain::Plain;

use arguments::{Arguments, ProgressChoice};

pub use options::{BuildOptions, BuildRequest, CleanWhat};

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    // A wrong command line ends here, with exit code 2 and clap's own words.
    let arguments = Arguments::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            // An error that cannot be shown still has its exit code.
            let _ = report::write_error(&mut stderr().lock(), &error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The reporter that the command line asks for.
fn reporter(choice: ProgressChoice, level: LogLevel) -> Arc<dyn Reporter> {
    match choice {
        ProgressChoice::Json => Arc::new(Json::new(stdout(), level)),
        ProgressChoice::Bar => Arc::new(Bars::new(level)),
        ProgressChoice::Auto if stderr().is_terminal() => Arc::new(Bars::new(level)),
        ProgressChoice::Auto | ProgressChoice::Plain => Arc::new(Plain::new(stderr(), level)),
    }
}

/// Prints lines on standard output; a reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write;
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::other("failed to write to standard output").caused_by(error))
        }
        _ => Ok(()),
    }
}
