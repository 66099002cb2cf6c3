//! What the examples share: the data, a perceptron, the training loop with its optimizer, and the pictures. The adapters'
//! examples take them from here as well.

pub mod adam;
pub mod args;
pub mod beside;
pub mod data;
pub mod perceptron;
pub mod plot;
pub mod progress;
pub mod scale;
pub mod softmax;
pub mod steps;
pub mod stopwatch;
pub mod train;
pub mod turns;

use std::process::ExitCode;

/// An error whose message is all that the user needs.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What may fail with a message for the user.
pub type Result<T> = std::result::Result<T, Error>;

/// Ends a program: quietly, or with the message on stderr and a code of failure.
pub fn exit(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
