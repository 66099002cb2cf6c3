//! Golden digests: the bits that the scalar kernels give, committed, so that another machine, another compiler
//! or another build level can be held to them. Every other backend is held to the scalar kernels by `conforms`.
//!
//! `BATCHNORM_GOLDEN=write cargo test -p bn-conformance golden` writes them anew. A line that changes is
//! a change of the numeric plan and belongs into the changelog. A line that is added is not.

use crate::any::{AnyCase, Candidate};
use crate::case::Case;
use crate::data::{Dy, X, rng};
use crate::table::{self, Entry, LONG, SHAPES, first, last};
use bn_core::{Element, Error, Layout, Real};
use half::{bf16, f16};
use rand::RngExt;
use std::fmt::Write;

/// The committed file.
pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/digests.txt");

/// Shapes that are renormalized as well, after all others, and RMAX and DMAX.
const RENORMED: &[Entry] =
    &[first(&[67, 13]), first(&[2, 67, 7, 7]), first(&[3, 4, 259]), last(&[3, 4, 5, 7])];
const LIMITS: [f64; 2] = [1.5, 0.75];

/// Values whose making needs no function that the system's libraries round as they like: n/2⁵³, shifted and rounded.
fn exact<R: Real>(len: usize, from: f64, span: f64, rng: &mut rand_pcg::Pcg64Mcg) -> Vec<R> {
    let fraction = |rng: &mut rand_pcg::Pcg64Mcg| (rng.random::<u64>() >> 11) as f64 / (1u64 << 53) as f64;
    (0..len).map(|_| R::from_f64(from + span * fraction(rng))).collect()
}

/// One digest for all tensors of a few steps of a shape: centred, far off centre, in evaluation, and with a constant dy,
/// where dγ is nothing but what the sums have lost, so that another order of them shows.
fn of_shape<T: Element>(entry: Entry, renorm: Option<[f64; 2]>, backend: &Candidate) -> u64
where
    AnyCase: From<Case<T>>,
{
    let mut all = 0u64;
    for (variant, from, span) in [(0, -1.0, 1.0), (7, 1000.0, 1.0), (4, -3.0, 1.0), (0, -1.0, 0.0)] {
        let mut case = table::inputs::<T>(entry, (X::Zero, Dy::Ones), variant);
        let mut rng = rng(variant as u64 + 1);
        let narrow = |v: Vec<T::Compute>| v.into_iter().map(T::from_compute).collect::<Vec<T>>();
        (case.x, case.dy) = (
            narrow(exact(case.x.len(), from, 2.5, &mut rng)),
            Some(narrow(exact(case.x.len(), -0.4, span, &mut rng))),
        );
        let c = case.features();
        for (param, (scale, offset)) in case.affine.iter_mut().zip([(0.5, 1.0), (-1.0, 2.0)]) {
            param.iter_mut().for_each(|param| *param = exact(c, scale, offset, &mut rng));
        }
        case.running = case.running.map(|_| [exact(c, -1.0, 2.0, &mut rng), exact(c, 0.5, 1.0, &mut rng)]);
        case.renorm = renorm.filter(|_| case.running.is_some());
        let case = AnyCase::from(case);
        match (backend.run)(&case) {
            Ok(results) => {
                for (tensor, values) in results.iter() {
                    all = all.rotate_left(7) ^ case.digest(tensor, values);
                }
            }
            Err(Error::OneValue { .. }) => all = all.rotate_left(7) ^ 1,
            // A digest that is not the committed one.
            Err(_) => all = all.rotate_left(7) ^ 2,
        }
    }
    all
}

/// A line for each shape of the table, as the committed file has them.
#[must_use]
pub fn digests(backend: &Candidate) -> String {
    let mut lines = String::from("# dims layout f32 f64 f16 bf16; FNV-1a of the bits, see src/golden.rs\n");
    let plain = SHAPES.iter().chain(LONG).map(|entry| (*entry, None));
    let renormed = RENORMED.iter().map(|entry| (*entry, Some(LIMITS)));
    for (entry, renorm) in plain.chain(renormed) {
        let dims: Vec<String> = entry.dims.iter().map(ToString::to_string).collect();
        let layout = if entry.layout == Layout::ChannelsFirst { "first" } else { "last" };
        let what = if renorm.is_some() { "renorm " } else { "" };
        let [a, b, c, d] = [
            of_shape::<f32>(entry, renorm, backend),
            of_shape::<f64>(entry, renorm, backend),
            of_shape::<f16>(entry, renorm, backend),
            of_shape::<bf16>(entry, renorm, backend),
        ];
        let _ = writeln!(lines, "{} {layout} {what}{a:016x} {b:016x} {c:016x} {d:016x}", dims.join("x"));
    }
    lines
}

/// The shapes whose bits are not the committed ones.
///
/// # Errors
/// A file that cannot be read, in words.
pub fn faults(backend: &Candidate) -> Result<Vec<String>, String> {
    let committed = std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    Ok(differences(&digests(backend), &committed))
}

/// The lines of two listings that differ, a line of one alone included.
#[must_use]
pub fn differences(got: &str, committed: &str) -> Vec<String> {
    let (mut got, mut committed) = (got.lines(), committed.lines());
    let mut differences = Vec::new();
    loop {
        match (got.next(), committed.next()) {
            (None, None) => return differences,
            (got, committed) if got == committed => {}
            (got, committed) => differences.push(format!(
                "golden: got {:?}, expected {:?}",
                got.unwrap_or_default(),
                committed.unwrap_or_default()
            )),
        }
    }
}
