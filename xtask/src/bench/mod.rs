//! `cargo xtask bench`: the layer on every backend, the textbook and other libraries, against the floor.

mod accuracy;
mod baseline;
mod group;
mod hard;
mod machine;
mod measure;
mod peer;
mod plan;
mod record;
pub(crate) mod report;
mod stop;
mod table;

use crate::out::{self, Done, complain};
use crate::tools;
use benches::memory;
use clap::builder::RangedU64ValueParser;
use group::Runner;
use hard::Row;
use indicatif::{ProgressBar, ProgressStyle};
use machine::Machine;
use peer::Peers;
use plan::{Plan, Pools};
use record::Record;
use report::Report;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Times the layer on every backend, the textbook's strategies and other libraries, against a streaming copy.
///
/// Each answer is checked before it is timed; all take turns. A table comes as it goes, JSON, CSV and an HTML report
/// with plots at the end; Ctrl-C ends with what was measured so far, exit code 130. Exit code 1 where a backend of
/// this project gave a wrong answer, 2 where an argument cannot be used.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Less than two minutes: the shapes of mlp.txt, resnet50.txt and three of batch.txt, the dispatched kernels on
    /// one thread and on all, and the graph where it is not too slow. Peers take their own time on top.
    #[arg(long)]
    quick: bool,
    /// Only shapes with this in their name, layout, dimensions or type, and such rows of hard data; `hard`: only these.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// The most threads; as many as the machine offers, if not given.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..=1024))]
    threads: Option<u16>,
    /// Another library, measured in the same run; may be given several times. One that is not installed is told.
    #[arg(long = "peer", value_name = "NAME", value_enum)]
    peers: Vec<peer::Name>,
    /// Where the measurements go, rewritten whenever a shape is done [default: target/bench/bench.json].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The same as lines [default: target/bench/bench.csv].
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The report, a page that needs no other file [default: target/bench/report.html].
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The JSON of an earlier run: what moved beyond the noise is marked.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Keep the run: benches/record/CPU/DATE.{json,csv,txt,svg}.
    #[arg(long)]
    record: bool,
    /// Time this build of the program, whatever its profile, instead of a release build made first.
    #[arg(long)]
    as_built: bool,
}

/// An argument cannot be used.
const UNUSABLE: u8 = 2;

pub(crate) fn run(args: &Args) -> Done {
    let prepared = plan::list(args.quick, args.filter.as_deref())
        .and_then(|plan| Ok((plan, args.baseline.as_deref().map(baseline::load).transpose()?)));
    let (plan, earlier) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    if cfg!(debug_assertions) && !args.as_built {
        return in_release();
    }
    if let Err(error) = memory::keep_freed() {
        complain(&format!("freed memory goes back to the system, the figures hold page faults: {error}"));
    }
    match measure(args, &plan, earlier.as_deref()) {
        Ok(code) => code,
        Err(error) => out::failure(&format!("error: {error}")),
    }
}

/// The same command in a release build: `cargo xtask` has the one that tests have, with checks in it.
pub(crate) fn in_release() -> Done {
    let mut command = tools::cargo();
    command.current_dir(std::env::current_dir()?).args(["run", "--release", "--quiet", "--package", "xtask"]);
    command.arg("--manifest-path").arg(out::root().join("Cargo.toml"));
    command.arg("--").args(std::env::args_os().skip(1));
    #[cfg(unix)]
    return Err(std::os::unix::process::CommandExt::exec(&mut command));
    #[cfg(not(unix))]
    return command.status().map(|status| match status.code() {
        Some(code) => ExitCode::from(code as u8),
        None => ExitCode::FAILURE,
    });
}

/// Everything after the arguments were understood; the error is one of files or threads.
fn measure(args: &Args, (tasks, rows): &Plan, earlier: Option<&[baseline::Earlier]>) -> Result<Done, String> {
    let folder = out::root().join("target/bench");
    let path = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| folder.join(name));
    let json = path(&args.json, "bench.json");
    let (csv, html) = (path(&args.csv, "bench.csv"), path(&args.html, "report.html"));
    // Now, not after ten minutes.
    record::replace(&json, &record::json(&[]))?;
    [&csv, &html].into_iter().try_for_each(|path| record::probe(path))?;
    stop::listen()?;

    let machine = Machine::here();
    let offered = || std::thread::available_parallelism().map_or(1, usize::from);
    let pools = Pools::new(args.quick, args.threads.map_or_else(offered, usize::from))?;
    let weight = tasks.iter().map(|task| task.weight(args.quick)).chain(rows.iter().map(Row::weight)).sum();
    let bar = ProgressBar::new(weight);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar.set_message("starting peers");
    bar.tick();
    let mut notes = Vec::new();
    let mut names = args.peers.clone();
    names.sort_unstable();
    names.dedup();
    let peers = Peers::start(&names, &pools.ends(), &out::root(), &mut |note| notes.push(note))?;
    bar.reset();

    let mut runner = Runner { quick: args.quick, pools, peers, machine, bar, notes, wrong: 0 };
    let mut records = Vec::new();
    let mut told = 0;
    print(&runner, &runner.machine.text())?;
    let mut done = |runner: &mut Runner, group: Vec<Record>, text: &str| {
        records.extend(group);
        record::replace(&json, &record::json(&records))?;
        print(runner, text)?;
        for note in &runner.notes[told..] {
            runner.bar.suspend(|| complain(note));
        }
        told = runner.notes.len();
        Ok::<_, String>(())
    };
    for task in tasks {
        if stop::requested() {
            break;
        }
        let group = runner.run(task);
        let text = table::group(&group);
        done(&mut runner, group, &text)?;
    }
    for (i, row) in rows.iter().enumerate() {
        if stop::requested() {
            break;
        }
        let group = runner.row(row);
        let text = if i == 0 { hard::heading() } else { String::new() } + &hard::line(&group);
        done(&mut runner, group, &text)?;
    }
    runner.bar.finish_and_clear();
    let Runner { machine, notes, wrong, peers, .. } = runner;
    drop(peers);

    let changes = earlier.map(|earlier| baseline::compare(earlier, &records));
    let interrupted = stop::requested();
    let report = Report { machine, records, notes, changes, interrupted, quick: args.quick };
    let mut end = table::summary(report.plain()) + &hard::summary(report.hard());
    if let Some(changes) = &report.changes {
        end += &table::changes(&report.records, changes);
    }
    let csv_text = record::csv(&report.records)?;
    record::replace(&csv, &csv_text)?;
    record::replace(&html, report.html().as_bytes())?;
    let mut written = vec![json, csv, html];
    if args.record && !interrupted {
        let folder = out::root().join("benches/record").join(report.machine.slug());
        let mut groups: String = report.groups().map(table::group).collect();
        let rows: String = report.hard_rows().map(hard::line).collect();
        groups += &if rows.is_empty() { rows } else { hard::heading() + &rows };
        let text = format!("{}\n{groups}{end}{}", report.machine.text(), report.notes_text());
        for (ending, content) in [
            ("json", record::json(&report.records)),
            ("csv", csv_text),
            ("txt", text.into_bytes()),
            ("svg", report.overview().into_bytes()),
        ] {
            let path = folder.join(&report.machine.date).with_extension(ending);
            record::replace(&path, &content)?;
            written.push(path);
        }
    }
    if interrupted {
        end += "\nInterrupted: this is what was measured so far.\n";
    }
    end += "\n";
    written.iter().for_each(|path| end += &format!("written to {}\n", path.display()));
    let code = match (interrupted, wrong) {
        (true, _) => ExitCode::from(stop::CODE),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    };
    Ok(io::stdout().write_all(end.as_bytes()).map(|()| code))
}

/// Prints beside the progress bar. Without a reader there is no use in going on.
fn print(runner: &Runner, text: &str) -> Result<(), String> {
    let mut stdout = io::stdout();
    let written = runner.bar.suspend(|| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
    written.map_err(|error| format!("cannot write the table: {error}"))
}
