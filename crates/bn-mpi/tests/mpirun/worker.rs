//! What a process does under `mpirun`.

use super::FILE;
use batchnorm::functions::Forward;
use batchnorm::ranks::{Communicator, Ranks};
use batchnorm::{BatchNorm, DefaultBackend, Saved, Shape, Workspace, checkpoint};
use bn_conformance::together;
use bn_mpi::{Mpi, mpi};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Of the layer that is stored.
pub(crate) const FEATURES: usize = 3;
/// After how many steps a process dies.
pub(crate) const STEPS: i64 = 2;

pub(crate) fn run(scenario: &str) -> ExitCode {
    let Some(universe) = mpi::initialize() else {
        eprintln!("MPI could not be initialized");
        return ExitCode::FAILURE;
    };
    let comm = Mpi::new(&universe.world());
    let failures = match scenario {
        "together" => together::all(&DefaultBackend::default(), &comm),
        "network" => together::shape_of_a_network(&DefaultBackend::default(), &comm),
        "killed" => killed(&comm).err().map(|error| error.to_string()).into_iter().collect(),
        other => vec![format!("no such scenario: {other}")],
    };
    for failure in &failures {
        eprintln!("rank {} of {}: {failure}", comm.rank(), comm.size());
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Steps after which rank 0 stores the layer. Before the next one rank 1 dies.
fn killed(comm: &Mpi) -> Result<(), Box<dyn std::error::Error>> {
    let file = PathBuf::from(std::env::var(FILE)?);
    let (mut ranks, mut bn) = (Ranks::new(comm), BatchNorm::<f32>::new(FEATURES)?);
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let (shape, x, mut y) = (Shape::nc(2, FEATURES)?, [1.0, 2.0, 3.0, 5.0, 8.0, 13.0], [0.0; 6]);
    for step in 0.. {
        if step == STEPS && comm.rank() == 1 {
            std::process::abort();
        }
        bn.forward_ranks(Forward::new(shape, &x, &mut y), ranks.layer(0), &mut saved, &mut workspace)?;
        if comm.rank() == 0 {
            let folder = file.parent().ok_or("a file in a folder")?;
            let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
            temporary.write_all(&checkpoint::serialize([("bn.", &bn)])?)?;
            temporary.persist(&file)?;
        }
    }
    Ok(())
}
