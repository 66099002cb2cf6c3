//! `cargo xtask bits`: the bits of every backend, on any number of threads and at any build level.

use crate::files;
use crate::out::{self, Done};
use bn_conformance::bits::{CaseBits, Group, bits};
use bn_conformance::golden;
use bn_core::schedule::{Kind, Policy};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Every backend, number of threads and schedule on every case of the table: the same bits, without asking the oracle which.
///
/// The committed digests are checked as well. A build for another machine is held to this one's bits by --write here and --like
/// there. Exit code 1: other bits, named by case and backend.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write a line per case, with its digest.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Expect the digests of this file, written on the same machine: the cases' data come of its C library.
    #[arg(long, value_name = "FILE")]
    like: Option<PathBuf>,
    /// Run every shape on one in N of the plain data sets, another shape on others. All hard and all long cases are run.
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN)]
    one_in: NonZeroUsize,
}

/// Numbers of threads: one, as many as CI has, and odd ones.
const THREADS: [usize; 4] = [1, 2, 3, 7];

/// In how many parts each number of threads has a case once more.
const PARTS: [usize; 4] = [5, 2, 3, 16];

/// The threads that run each candidate of a schedule.
const CANDIDATE_THREADS: usize = 3;

/// How many faults are named.
const NAMED: usize = 40;

pub(crate) fn run(args: &Args) -> Done {
    match found(args) {
        Ok((cases, faults)) => report(args, &cases, &faults),
        Err(error) => out::failure(&error),
    }
}

/// The bits of the cases, and what is wrong with them.
fn found(args: &Args) -> Result<(Vec<CaseBits>, Vec<String>), String> {
    let one_in = args.one_in.get();
    let cases = cases(one_in, args.like.is_none())?;
    let mut faults = faults(&cases, args.like.as_deref(), one_in == 1)?;
    for backend in xtask::available() {
        let golden = golden::faults(&backend)?;
        faults.extend(golden.iter().map(|fault| format!("{}: {fault}", backend.name)));
    }
    Ok((cases, faults))
}

type Place<'a> = Box<dyn Fn(&mut (dyn FnMut() + Send)) + Sync + 'a>;

fn inside(pool: &rayon::ThreadPool) -> Place<'_> {
    Box::new(move |run| pool.install(run))
}

/// The bits of one in `one_in` of the table's cases; with `candidates`, those of each schedule are held to them.
fn cases(one_in: usize, candidates: bool) -> Result<Vec<CaseBits>, String> {
    let pool =
        |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().map_err(|e| format!("{n} threads: {e}"));
    let pools = THREADS.iter().map(|&n| pool(n)).collect::<Result<Vec<_>, _>>()?;
    let places: Vec<Place<'_>> = pools.iter().map(inside).collect();
    let serial = xtask::available().into_iter().filter(|b| !b.name.starts_with("rayon+")).collect();
    let mut groups = vec![Group { place: "no pool".into(), candidates: serial, within: &|run| run() }];
    for (threads, place) in THREADS.iter().zip(&places) {
        groups.push(Group { place: format!("{threads} threads"), candidates: xtask::eager(), within: place });
    }
    for (n, (threads, place)) in PARTS.iter().zip(THREADS.iter().zip(&places)) {
        groups.push(Group {
            place: format!("{threads} threads"),
            candidates: xtask::eager_in_parts(*n),
            within: place,
        });
    }
    let mut cases = out::with_bar(|progress| bits(&groups, one_in, progress));
    let pool = pool(CANDIDATE_THREADS)?;
    for number in (0..schedule_candidates()).filter(|_| candidates) {
        let within = inside(&pool);
        let place = format!("candidate {number} of each schedule");
        let group = Group { place: place.clone(), candidates: xtask::eager(), within: &within };
        Policy::Miniature(number).set();
        let forced = out::with_bar(|progress| bits(&[group], one_in, progress));
        for (case, forced) in cases.iter_mut().zip(forced) {
            if forced.digest != case.digest {
                case.unlike.push(format!("{place}: {:016x}, not {:016x}", forced.digest, case.digest));
            }
            case.unlike.extend(forced.unlike);
        }
    }
    Policy::Learn.set();
    Ok(cases)
}

/// How many candidates the kind of tensor has that has most.
fn schedule_candidates() -> usize {
    Kind::ALL.into_iter().map(|kind| kind.candidates().len()).max().unwrap_or_default()
}

/// What is wrong: backends that disagree, cases unlike the file's, and where the cases are the `whole` table, missing ones.
fn faults(cases: &[CaseBits], like: Option<&Path>, whole: bool) -> Result<Vec<String>, String> {
    let mut faults: Vec<String> =
        cases.iter().flat_map(|case| case.unlike.iter().map(|who| format!("{}: {who}", case.name))).collect();
    let Some(path) = like else { return Ok(faults) };
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut there = BTreeMap::new();
    for line in text.lines() {
        let read =
            line.split_once(' ').and_then(|(name, hex)| Some((name, u64::from_str_radix(hex, 16).ok()?)));
        let (name, digest) =
            read.ok_or_else(|| format!("{}: expected lines CASE HEX, got {line:?}", path.display()))?;
        there.insert(name, digest);
    }
    for CaseBits { name, digest, .. } in cases {
        match there.remove(name.as_str()) {
            Some(want) if want == *digest => {}
            Some(want) => faults.push(format!("{name}: expected the digest {want:016x}, got {digest:016x}")),
            None => faults.push(format!("{name}: is not in {}", path.display())),
        }
    }
    let missing = there.keys().filter(|_| whole);
    faults.extend(missing.map(|name| format!("{name}: is in {} and not run", path.display())));
    Ok(faults)
}

fn report(args: &Args, cases: &[CaseBits], faults: &[String]) -> Done {
    let mut stdout = io::stdout().lock();
    for fault in faults.iter().take(NAMED) {
        writeln!(stdout, "{fault}")?;
    }
    for (name, level) in xtask::unavailable() {
        writeln!(stdout, "Not run: {name}, this machine has no {level}.")?;
    }
    let kinds = xtask::available().len();
    writeln!(
        stdout,
        "bits: {} cases, {kinds} backends, threads {THREADS:?}, parts {PARTS:?}, {} candidates of schedules, {} faults",
        cases.len(),
        schedule_candidates(),
        faults.len()
    )?;
    if let Some(path) = &args.write {
        let mut text = String::new();
        for CaseBits { name, digest, .. } in cases {
            let _ = writeln!(text, "{name} {digest:016x}");
        }
        if let Err(error) = files::write(path, &text) {
            return out::failure(&error);
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_digests_and_other_cases_are_named() {
        let case = |name: &str, digest, unlike: &[&str]| CaseBits {
            name: name.into(),
            digest,
            unlike: unlike.iter().map(ToString::to_string).collect(),
        };
        let cases = [case("a", 1, &[]), case("b", 2, &["wide, no pool: y"]), case("new", 3, &[])];
        assert_eq!(faults(&cases, None, true).unwrap(), ["b: wide, no pool: y"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bits.txt");
        std::fs::write(&path, "a 0000000000000001\nb 0000000000000007\ngone 0\n").unwrap();
        let found = faults(&cases, Some(&path), true).unwrap();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(found[1], "b: expected the digest 0000000000000007, got 0000000000000002");
        assert!(found[2].starts_with("new: is not in") && found[3].starts_with("gone: is in"), "{found:?}");
        assert_eq!(faults(&cases, Some(&path), false).unwrap(), found[..3]);
        std::fs::write(&path, "a\n").unwrap();
        assert!(
            faults(&cases, Some(&path), true).unwrap_err().contains("expected lines CASE HEX, got \"a\"")
        );
        assert!(faults(&cases, Some(&folder.path().join("none")), true).is_err());
    }
}
