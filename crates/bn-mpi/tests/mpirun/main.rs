//! Runs what ranks must hold under `mpirun`: this program starts itself as the processes of each number.

mod worker;

use batchnorm::{BatchNorm, checkpoint};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

/// What the processes are to do, by a variable of their environment.
const SCENARIO: &str = "BN_MPI_SCENARIO";
/// Where rank 0 puts its checkpoint.
const FILE: &str = "BN_MPI_FILE";
/// Longer than any scenario takes: a run that waits for ever is a failure too.
const LONGEST: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if let Ok(scenario) = std::env::var(SCENARIO) {
        return worker::run(&scenario);
    }
    let mut failed = 0;
    let mut hold = |name: &str, result: Result<(), String>| match result {
        Ok(()) => println!("test {name} ... ok"),
        Err(said) => {
            failed += 1;
            println!("test {name} ... FAILED\n{said}");
        }
    };
    for processes in [1, 2, 3, 4] {
        hold(&format!("what ranks must hold, {processes} processes"), all_well("together", processes));
    }
    hold("the bits of the whole at (32,64,56,56), 4 processes", all_well("network", 4));
    hold("a process that dies ends the run, and the last checkpoint loads", killed());
    hold("digits on 4 processes have the losses of one", digits());
    println!("\ntest result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all_well(scenario: &str, processes: usize) -> Result<(), String> {
    let output = mpirun(scenario, processes, None)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(said(&output)),
    }
}

fn killed() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("layer.safetensors");
    let output = mpirun("killed", 3, Some(&file))?;
    if output.status.success() {
        return Err(format!("expected a run that fails, got one that ends well\n{}", said(&output)));
    }
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut bn = BatchNorm::<f32>::new(worker::FEATURES).map_err(|error| error.to_string())?;
    checkpoint::load(&bytes, [("bn.", &mut bn)]).map_err(|error| error.to_string())?;
    match bn.running.map(|running| running.num_batches_tracked) {
        Some(worker::STEPS) => Ok(()),
        other => Err(format!("expected {} batches in the checkpoint, got {other:?}", worker::STEPS)),
    }
}

/// The example, which cargo builds beside the tests.
fn digits() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let picture = folder.path().join("digits.svg");
    let program = own()?;
    let program = program.parent().and_then(Path::parent).ok_or("expected a program in target/*/deps")?;
    let mut command = Command::new("mpirun");
    command.args(["-n", "4"]).arg(program.join("examples").join("digits_mpi"));
    command.args(["--epochs", "2", "--svg"]).arg(&picture);
    let output = run(command, 4)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let is_drawn = std::fs::read_to_string(&picture).is_ok_and(|svg| svg.contains("</svg>"));
    match output.status.success() && text.contains("all 20 losses are the same to the last bit") && is_drawn {
        true => Ok(()),
        false => Err(said(&output)),
    }
}

fn own() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

fn mpirun(scenario: &str, processes: usize, file: Option<&Path>) -> Result<Output, String> {
    let mut command = Command::new("mpirun");
    command.args(["-n", &processes.to_string()]).arg(own()?).env(SCENARIO, scenario);
    if let Some(file) = file {
        command.env(FILE, file);
    }
    run(command, processes)
}

/// Runs mpirun's command.
fn run(mut command: Command, processes: usize) -> Result<Output, String> {
    // More processes than cores, and as root: of Open MPI's own settings, which others do not look at.
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1").env("OMPI_MCA_mpi_yield_when_idle", "1");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let (out, err) = (tempfile::tempfile(), tempfile::tempfile());
    let (mut out, mut err) = (out.map_err(|e| e.to_string())?, err.map_err(|e| e.to_string())?);
    command.stdout(out.try_clone().map_err(|e| e.to_string())?);
    command.stderr(err.try_clone().map_err(|e| e.to_string())?);
    let mut child =
        command.spawn().map_err(|error| format!("mpirun: {error}: Debian has it in openmpi-bin"))?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if start.elapsed() > LONGEST => {
                child.kill().map_err(|error| error.to_string())?;
                child.wait().map_err(|error| error.to_string())?;
                return Err(format!("{processes} processes have not ended after {LONGEST:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    Ok(Output { status, stdout: read(&mut out), stderr: read(&mut err) })
}

fn read(file: &mut std::fs::File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    // What cannot be read is not told.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    bytes
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}{err}", output.status)
}
