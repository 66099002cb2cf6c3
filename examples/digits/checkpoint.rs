//! The state of a run in a file: a magic number with a version, a checksum, and the run in postcard, which
//! keeps every bit of a float.
//!
//! It is written beside the file and renamed over it, so that an interruption at any moment leaves either
//! the old state or the new one.

use crate::run::{Run, Settings};
use examples::Result;
use examples::adam::Adam;
use examples::perceptron::Perceptron;
use examples::train::{Model, Trainer};
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// The last byte is the version: it changes with what a state holds, and with how a run goes on from it.
const MAGIC: [u8; 8] = *b"digits\0\x02";
const HEADER: usize = MAGIC.len() + size_of::<u32>();

pub(crate) fn save(file: &Path, run: &Run) -> Result<()> {
    let body = postcard::to_stdvec(run)?;
    write(file, &body).map_err(|e| format!("cannot save the state to {}: {e}", file.display()).into())
}

fn write(file: &Path, body: &[u8]) -> std::io::Result<()> {
    // "state.bin" has the parent "", which is the current folder.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = NamedTempFile::new_in(folder)?;
    temporary.write_all(&MAGIC)?;
    temporary.write_all(&crc32fast::hash(body).to_le_bytes())?;
    temporary.write_all(body)?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}

/// The state in `file`, which must be one of a run with the same settings.
pub(crate) fn load(file: &Path, settings: Settings) -> Result<Run> {
    let bytes = fs::read(file).map_err(|e| format!("cannot load the state from {}: {e}", file.display()))?;
    decode(&bytes, settings).map_err(|e| format!("cannot go on from {}: {e}", file.display()).into())
}

/// The state in the bytes of a file.
pub(crate) fn decode(bytes: &[u8], settings: Settings) -> Result<Run> {
    let body = body(bytes)?;
    let (mut run, rest) = postcard::take_from_bytes::<Run>(body)
        .map_err(|e| format!("expected the state of a run, got something else ({e})"))?;
    if !rest.is_empty() {
        return Err(format!("expected nothing after the state, got {} more bytes", rest.len()).into());
    }
    if run.settings != settings {
        return Err(
            format!("expected the state of a run with {settings}, got one with {}", run.settings).into()
        );
    }
    check_dims(&mut run)?;
    Ok(run)
}

/// What lies behind the header, if that fits.
fn body(bytes: &[u8]) -> Result<&[u8]> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Err(
            format!("expected at least {HEADER} bytes, got {}: the file is cut off", bytes.len()).into()
        );
    };
    let (magic, checksum) = header.split_at(MAGIC.len());
    let ([name @ .., version], [got_name @ .., got_version]) = (&MAGIC, magic) else {
        return Err("expected a header".into());
    };
    if got_name != name {
        return Err("expected a state saved by this program, got another kind of file".into());
    }
    if got_version != version {
        return Err(format!("expected a state of version {version}, got version {got_version}").into());
    }
    let expected = checksum.iter().rev().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
    let got = crc32fast::hash(body);
    if got != expected {
        return Err(
            format!("expected the checksum {expected:08x}, got {got:08x}: the file is damaged").into()
        );
    }
    Ok(body)
}

/// A state that fits its own checksum may still be of a network that is not this program's.
fn check_dims(run: &mut Run) -> Result<()> {
    let mut fresh = Run::new(run.settings)?;
    for (expected, got) in fresh.contenders_mut().into_iter().zip(run.contenders_mut()) {
        let (expected, got) = (dims(&mut expected.trainer), dims(&mut got.trainer));
        if expected != got {
            return Err(format!("expected arrays of the dimensions {expected:?}, got {got:?}").into());
        }
    }
    Ok(())
}

/// The dimensions of every parameter and of its moments.
pub(crate) fn dims(trainer: &mut Trainer<Perceptron, Adam>) -> Vec<Vec<usize>> {
    let moments =
        trainer.optimizer.moments.iter().flat_map(|m| [m.mean.shape().to_vec(), m.square.shape().to_vec()]);
    let moments: Vec<_> = moments.collect();
    let params = trainer.network.params_mut();
    params.iter().map(|p| p.shape().to_vec()).chain(moments).collect()
}
