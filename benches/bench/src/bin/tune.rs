//! The program behind `cargo xtask tune`: what the layer learns about schedules on this machine, and why.

use benches::inputs::{Inputs, Outputs};
use benches::layer::Kernels;
use benches::shapes::{self, Named};
use benches::{memory, threads, tune};
use bn_conformance::data::X;
use bn_core::Element;
use bn_core::schedule::{self, Kind, Learned, Policy};
use bn_dispatch::Level;
use clap::Parser;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use half::{bf16, f16};
use indicatif::ProgressIterator;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Steps over the shapes of mlp.txt, resnet50.txt and edge.txt until their schedules are learned, and shows what was tried.
///
/// A class is all steps that share what was learned: kernels, type, task, how features lie, ⌊log₂⌋ of samples, features and
/// values of a feature in a sample, and threads. Exit code 1 where a file cannot be written, 2 where an argument is wrong.
#[derive(Parser)]
#[command(name = "cargo xtask tune", bin_name = "cargo xtask tune")]
struct Args {
    /// Only shapes with this in their name, layout or dimensions.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// One element type: f32, f64, f16 or bf16.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "f64", "f16", "bf16"])]
    dtype: String,
    /// A file for `batchnorm::schedule::load`, so that a program has the same schedules in every run.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const LISTS: [&str; 3] = ["mlp", "resnet50", "edge"];

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = |code: u8| {
        move |error: String| {
            eprintln!("error: {error}");
            ExitCode::from(code)
        }
    };
    if let Some(Err(error)) = Level::wanted() {
        return ended(2)(format!("BATCHNORM_LEVEL: {error}"));
    }
    if let Err(error) = memory::keep_freed() {
        eprintln!("freed memory goes back to the system, times hold page faults: {error}");
    }
    let shapes = match wanted(&args.filter) {
        Ok(shapes) => shapes,
        Err(error) => return ended(2)(error),
    };
    Policy::Learn.set();
    eprintln!("{} shapes on one thread and on all", shapes.len());
    let done = match args.dtype.as_str() {
        "f64" => learn::<f64>(&shapes),
        "f16" => learn::<f16>(&shapes),
        "bf16" => learn::<bf16>(&shapes),
        _ => learn::<f32>(&shapes),
    };
    done.and_then(|()| show(&args)).map_or_else(ended(1), |()| ExitCode::SUCCESS)
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
fn learn<T: Element>(shapes: &[Named]) -> Result<(), String> {
    let pool = threads::pool(None).map(Arc::new).map_err(|error| format!("cannot start threads: {error}"))?;
    for named in shapes.iter().progress() {
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

/// A line for each class: what was taken, and the least time of each candidate.
fn show(args: &Args) -> Result<(), String> {
    let mut learned = schedule::learned();
    learned.retain(|learned| learned.tried.iter().any(|tried| tried.least.is_some()));
    let order = |kind| Kind::ALL.iter().position(|&known| known == kind);
    let pass = |learned: &Learned| (learned.class.task.name(), learned.class.size, learned.class.threads);
    learned.sort_by_key(|learned| (order(learned.class.kind), pass(learned)));
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["class", "schedule taken", "time", "tried"]);
    for learned in learned {
        let first = learned.time(learned.first);
        let relative =
            |time: Option<f64>| time.zip(first).map_or("-".into(), |(t, first)| format!("{:.2}", t / first));
        let tried = learned.tried.iter().map(|tried| format!("{} {}", tried.name, relative(tried.least)));
        let (class, taken) = (learned.class.to_string(), relative(learned.time(learned.choice)));
        table.add_row([class, learned.choice.to_string(), taken, tried.collect::<Vec<_>>().join(", ")]);
    }
    println!("class: kernels, type, task, how features lie, log2 of samples, features and values, threads");
    println!("times: the least, over the first guess's\n\n{table}");
    if let Some(path) = &args.write {
        let lines = schedule::saved();
        std::fs::write(path, &lines).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{} classes for batchnorm::schedule::load: {}", lines.lines().count(), path.display());
    }
    Ok(())
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
