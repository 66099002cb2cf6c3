//! `cargo xtask tune`: what the layer learns about schedules on this machine, and why.

use crate::bench::{self, report};
use crate::files;
use crate::out::{self, Done};
use benches::inputs::{Inputs, Outputs};
use benches::layer::Kernels;
use benches::shapes::{self, Named};
use benches::{memory, threads, tune};
use bn_conformance::data::X;
use bn_core::Element;
use bn_core::schedule::{self, Kind, Learned, Policy};
use half::{bf16, f16};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Steps over the shapes of mlp.txt, resnet50.txt and edge.txt until their schedules are learned, and shows what was tried.
///
/// A class is all steps that share what was learned: kernels, type, task, how features lie, ⌊log₂⌋ of samples, features and
/// values of a feature in a sample, and threads. Exit code 1 where a file cannot be written, 2 where an argument is wrong.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only shapes with this in their name, layout or dimensions.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// One element type: f32, f64, f16 or bf16.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "f64", "f16", "bf16"])]
    dtype: String,
    /// A file for `batchnorm::schedule::load`, so that a program has the same schedules in every run.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The plot [default: target/tune/schedules.svg].
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Take this build of the program, whatever its profile, instead of a release build made first.
    #[arg(long)]
    as_built: bool,
}

const LISTS: [&str; 3] = ["mlp", "resnet50", "edge"];

const UNUSABLE: u8 = 2;

pub(crate) fn run(args: &Args) -> Done {
    let shapes = match wanted(&args.filter) {
        Ok(shapes) => shapes,
        Err(error) => {
            out::complain(&format!("error: {error}"));
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    if cfg!(debug_assertions) && args.as_built && args.write.is_some() {
        out::complain(
            "error: --write: expected a release build, whose times a program has, got --as-built of another",
        );
        return Ok(ExitCode::from(UNUSABLE));
    }
    if cfg!(debug_assertions) && !args.as_built {
        out::complain("building for release first: about four minutes where nothing is built yet");
        return bench::in_release();
    }
    if let Err(error) = memory::keep_freed() {
        out::complain(&format!("freed memory goes back to the system, times hold page faults: {error}"));
    }
    Policy::Learn.set();
    let done = out::with_bar(|progress| match args.dtype.as_str() {
        "f64" => learn::<f64>(&shapes, progress),
        "f16" => learn::<f16>(&shapes, progress),
        "bf16" => learn::<bf16>(&shapes, progress),
        _ => learn::<f32>(&shapes, progress),
    });
    match done.and_then(|()| show(args)) {
        Ok(text) => {
            io::stdout().lock().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => out::failure(&format!("error: {error}")),
    }
}

fn wanted(filter: &str) -> Result<Vec<Named>, String> {
    let mut found = Vec::new();
    for list in LISTS {
        found.extend(shapes::load(list).map_err(|error| format!("{list}.txt: {error}"))?);
    }
    let all: Vec<String> = found.iter().map(|named| named.name.clone()).collect();
    let text = |named: &Named| format!("{} {} {}", named.name, named.layout_name, named.dims_text());
    found.retain(|named| text(named).to_lowercase().contains(&filter.to_lowercase()));
    match found.is_empty() {
        true => Err(format!("--filter: expected a part of a shape of {}, got {filter:?}", all.join(", "))),
        false => Ok(found),
    }
}

/// Steps over each shape, on one thread and on all.
fn learn<T: Element>(shapes: &[Named], progress: &dyn Fn(usize, usize)) -> Result<(), String> {
    let pool = threads::pool(None).map(Arc::new).map_err(|error| format!("cannot start threads: {error}"))?;
    for (done, named) in shapes.iter().enumerate() {
        progress(done, shapes.len());
        let inputs = Inputs::<T>::new(named, X::Normal);
        let mut outputs = Outputs::new(inputs.x.len());
        for pool in [None, Some(&pool)].into_iter().take(pool.current_num_threads()) {
            if let Some(mut layer) = Kernels::Dispatch.layer(&inputs, pool) {
                layer.answer(&inputs, &mut outputs)?;
                tune::settle(layer.as_mut(), &inputs, &mut outputs)?;
            }
        }
    }
    Ok(())
}

/// Writes the files, and says what was learned.
fn show(args: &Args) -> Result<String, String> {
    let mut learned = schedule::learned();
    learned.retain(|learned| learned.tried.iter().any(|tried| tried.least.is_some()));
    let order = |kind| Kind::ALL.iter().position(|&known| known == kind);
    let pass = |learned: &Learned| (learned.class.task.name(), learned.class.size, learned.class.threads);
    learned.sort_by_key(|learned| (order(learned.class.kind), pass(learned)));
    let mut text = table(&learned);
    let svg = args.svg.clone().unwrap_or_else(|| out::root().join("target/tune/schedules.svg"));
    let plot = report::tuned::plot(&learned).map_err(|error| format!("the plot: {error}"))?;
    files::write(&svg, &plot)?;
    text += &format!("\nplot: {}\n", svg.display());
    if let Some(path) = &args.write {
        let lines = schedule::saved();
        files::write(path, &lines)?;
        text +=
            &format!("{} classes for batchnorm::schedule::load: {}\n", lines.lines().count(), path.display());
    }
    Ok(text)
}

/// A line for each class: what was taken, and the least time of each candidate.
fn table(learned: &[Learned]) -> String {
    let mut text = String::from(
        "class: kernels, type, task, how features lie, log2 of samples, features and values, threads\n\
         taken: the schedule, and its least time over the first guess's\n\
         tried: least times over the first guess's\n\n",
    );
    text += &format!("{:44} {:16} {:>5}  tried\n", "class", "taken", "time");
    for learned in learned {
        let first = learned.time(learned.first);
        let relative =
            |time: Option<f64>| time.zip(first).map_or("-".into(), |(t, first)| format!("{:.2}", t / first));
        let tried: Vec<String> =
            learned.tried.iter().map(|tried| format!("{} {}", tried.name, relative(tried.least))).collect();
        let (class, taken) = (learned.class.to_string(), relative(learned.time(learned.choice)));
        text += &format!("{class:44} {:16} {taken:>5}  {}\n", learned.choice, tried.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_found_by_a_part_of_their_names() {
        assert!(wanted("").unwrap().len() > 30);
        assert_eq!(wanted("STAGE1_WIDE").unwrap().len(), 2);
        let error = wanted("stage9").unwrap_err();
        assert!(error.starts_with("--filter: expected a part of a shape of mlp_32x50,"), "{error}");
        assert!(error.ends_with("got \"stage9\""), "{error}");
    }
}
