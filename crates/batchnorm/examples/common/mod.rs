//! What the examples share: the data, the network with its optimizer, the training loop and the pictures.

pub(crate) mod adam;
pub(crate) mod data;
pub(crate) mod network;
pub(crate) mod plot;
pub(crate) mod progress;
pub(crate) mod scale;
pub(crate) mod softmax;
pub(crate) mod stopwatch;
pub(crate) mod train;

use std::process::ExitCode;

/// An error whose message is all that the user needs.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Ends a program: quietly, or with the message on stderr and a code of failure.
pub(crate) fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
