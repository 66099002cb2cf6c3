//! What synchronized statistics cost, measured and modelled: the figures of docs/scaling.md.
//!
//! ```text
//! cargo build --release -p bn-mpi --example scaling
//! mpirun -n 4 target/release/examples/scaling collectives
//! mpirun -n 1 target/release/examples/scaling overhead
//! target/release/examples/scaling model --svg docs/scaling.svg
//! ```

mod measured;
mod model;

use bn_mpi::Mpi;
use clap::{Parser, Subcommand};
use examples::{Result, exit};
use model::Network;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures and models what synchronized statistics cost.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Under mpirun: the times of collectives and exchanges between so many processes
    Collectives,
    /// Under mpirun: a step of the layer over its ranks, against a plain one
    Overhead,
    /// The time that the batch norms of a ResNet-50 take for it on 8 to 4096 ranks
    Model {
        /// The latency of a message, in µs
        #[arg(long, default_value_t = Network::HERE.latency_us)]
        latency: f64,
        /// The bandwidth of a rank, in GB/s
        #[arg(long, default_value_t = Network::HERE.gigabytes)]
        bandwidth: f64,
        /// What the layers themselves take for an image, forward and backward, in ms
        #[arg(long, default_value_t = model::LAYERS_MS)]
        layers: f64,
        /// What the whole network takes for an image, forward and backward, in ms
        #[arg(long, default_value_t = model::NETWORK_MS)]
        network: f64,
        /// Where the picture goes
        #[arg(long, default_value = "out/scaling.svg")]
        svg: PathBuf,
    },
}

fn main() -> ExitCode {
    exit(run(Args::parse().what))
}

fn run(what: What) -> Result<()> {
    let under = |run: fn(&Mpi) -> Result<()>| {
        let universe = mpi::initialize().ok_or("expected to initialize MPI, which has been before")?;
        run(&Mpi::new(&universe.world()))
    };
    match what {
        What::Collectives => under(measured::collectives),
        What::Overhead => under(measured::overhead),
        What::Model { latency, bandwidth, layers, network, svg } => {
            let here = Network { name: "one machine", latency_us: latency, gigabytes: bandwidth };
            model::table(here, layers, network);
            model::figure(here, layers, network).save(&svg)?;
            println!("\nThe curves are in {}.", svg.display());
            Ok(())
        }
    }
}
