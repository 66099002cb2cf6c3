//! Requests line by line, and the clock.

use crate::{Case, Error, Peer};
use benches::implementation::waking;
use benches::threads;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// The workspace's, in which the versions of what is built stand.
const LOCK: &str = include_str!("../../../../Cargo.lock");

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Request {
    Load(Case),
    Answer { r#impl: String },
    Time { r#impl: String, pass: Pass, runs: usize },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pass {
    Forward,
    Backward,
    Step,
}

/// A case that was taken, and the threads that run it.
struct Loaded<P> {
    case: Case,
    peer: P,
    pool: rayon::ThreadPool,
}

/// The peer's program: answers on stdout what comes from stdin. Starts itself anew with an allocator that keeps
/// what is freed, as the benchmarks have it.
#[must_use]
pub fn main<P: Peer + Send>() -> ExitCode {
    if let Err(error) = benches::memory::keep_freed() {
        eprintln!("the allocator's settings stay as they are: {error}");
    }
    match serve::<P>(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", P::NAME);
            ExitCode::FAILURE
        }
    }
}

/// Says hello, and answers requests until their end. What goes wrong is an answer as well.
///
/// # Errors
/// Where the requests cannot be read or the answers not be written.
pub fn serve<P: Peer + Send>(requests: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut say = |answer: Value| {
        writeln!(answers, "{answer}")?;
        answers.flush()
    };
    say(json!({ "peer": P::NAME, "version": version(P::PACKAGE), "impls": [P::NAME] }))?;
    let mut loaded: Option<Loaded<P>> = None;
    for line in requests.split(b'\n') {
        let line = line?;
        // Frameworks panic at what they do not expect.
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&line, &mut loaded))).unwrap_or_else(|panic| {
            Err(format!("expected an answer, got a panic: {}", words(&*panic)).into())
        });
        say(answer.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
    }
    Ok(())
}

fn answer<P: Peer + Send>(line: &[u8], loaded: &mut Option<Loaded<P>>) -> Result<Value, Error> {
    let json = serde_json::from_slice(line).map_err(|e| format!("expected a request in JSON, got {e}"))?;
    match serde_json::from_value(json)? {
        Request::Load(case) => {
            // The last case's tensors go first: there may be no room for both.
            *loaded = None;
            let inputs = case.inputs()?;
            let pool = threads::pool(Some(case.threads.get()))?;
            let peer = pool.install(|| P::load(&case, inputs))?;
            *loaded = Some(Loaded { case, peer, pool });
            Ok(json!({ "impls": [{ "name": P::NAME }] }))
        }
        Request::Answer { r#impl } => {
            let Loaded { case, peer, pool } = find(loaded, &r#impl)?;
            let outputs = pool.install(|| {
                let forward = peer.forward()?;
                let gradients = peer.backward(&forward)?;
                peer.outputs(forward, gradients)
            })?;
            case.write(&outputs)?;
            Ok(json!({ "ok": true }))
        }
        Request::Time { r#impl, pass, runs } => {
            let Loaded { peer, pool, .. } = find(loaded, &r#impl)?;
            Ok(json!({ "ns": pool.install(|| time(peer, pass, runs))? }))
        }
    }
}

fn find<'a, P: Peer>(loaded: &'a Option<Loaded<P>>, name: &str) -> Result<&'a Loaded<P>, Error> {
    if name != P::NAME {
        return Err(format!("expected the impl {}, got {name}", P::NAME).into());
    }
    loaded.as_ref().ok_or_else(|| "expected a case to be loaded first, got none".into())
}

/// Nanoseconds of each run, after untimed ones. Results are freed outside of what is timed.
fn time<P: Peer>(peer: &P, pass: Pass, runs: usize) -> Result<Vec<u64>, Error> {
    let saved = match pass {
        Pass::Backward => Some(peer.forward()?),
        Pass::Forward | Pass::Step => None,
    };
    let run = || -> Result<u64, Error> {
        let start = Instant::now();
        let forward = if saved.is_none() { Some(peer.forward()?) } else { None };
        let gradients = match (pass, saved.as_ref().or(forward.as_ref())) {
            (Pass::Backward | Pass::Step, Some(forward)) => Some(peer.backward(forward)?),
            _ => None,
        };
        let elapsed = start.elapsed();
        drop((forward, gradients));
        Ok(elapsed.as_nanos().try_into()?)
    };
    let waking = waking(rayon::current_num_threads());
    let start = Instant::now();
    run()?;
    while start.elapsed() < waking {
        run()?;
    }
    (0..runs).map(|_| run()).collect()
}

/// The version of a package in Cargo.lock.
fn version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.unwrap_or("unknown")
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}
