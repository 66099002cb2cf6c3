//! The program behind `cargo xtask bench`.

use bench::{Name, Options};
use benches::memory;
use bn_dispatch::Level;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Times the layer on every backend, the textbook's strategies and other libraries, against a streaming copy.
///
/// Each answer is checked before it is timed; all take turns. A table comes as it goes, JSON and an HTML report with plots
/// at the end; Ctrl-C ends with what was measured so far, exit code 130. Exit code 1 where a backend of this project gave a
/// wrong answer, 2 where an argument cannot be used.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// Less than two minutes: the shapes of mlp.txt, resnet50.txt and three of batch.txt, two of them with a ReLU, the
    /// dispatched kernels on one thread and on all, and the graph where it is not too slow. Peers take their own time on top.
    #[arg(long)]
    quick: bool,
    /// Only shapes with this in their variant, name, layout, dimensions or type, and such rows of hard data. `relu`: with a
    /// ReLU, or a residual and a ReLU; `hard`: hard data alone.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// The most threads; as many as the machine offers, if not given.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,
    /// Another library, measured in the same run; may be given several times. One that is not installed is told.
    #[arg(long = "peer", value_name = "NAME", value_enum)]
    peers: Vec<Name>,
    /// Where the measurements go, rewritten whenever a shape is done [default: target/bench/bench.json].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The report, a page that needs no other file [default: target/bench/report.html].
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A picture of the shares of the floor, as README shows it.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The JSON of an earlier run: what moved beyond the noise is marked.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Measure nothing: tables, report and picture of the run in this JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "filter", "threads", "peers", "json", "baseline"])]
    show: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Args { quick, filter, threads, mut peers, json, html, svg, baseline, show } = Args::parse();
    if let Some(Err(error)) = Level::wanted() {
        eprintln!("BATCHNORM_LEVEL: {error}");
        return ExitCode::from(2);
    }
    if let Err(error) = memory::keep_freed() {
        eprintln!("freed memory goes back to the system, the figures hold page faults: {error}");
    }
    peers.sort_unstable();
    peers.dedup();
    bench::run(&Options { quick, filter, threads, peers, json, html, svg, baseline, show })
}
