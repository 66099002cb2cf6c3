//! Other libraries, measured in the same run: each is a program of its own that answers a line with a line, as
//! benches/peers/README.md has it. A peer that is missing is a hint, never a failure.

use super::record::root;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Answer, Inputs, Outputs};
use benches::memory::ONE_HEAP;
use benches::threads::OPENMP;
use benches::variant::Variant;
use bn_core::{Config, Real};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// The peers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[expect(missing_docs, reason = "the libraries' names")]
pub enum Name {
    Torch,
    Candle,
    Burn,
    Numpy,
}

impl Name {
    /// The program, built where it is one of this workspace.
    fn command(self) -> Command {
        let root = root();
        let python = |script: &str| {
            let mut command = Command::new(std::env::var_os("PYTHON").unwrap_or("python3".into()));
            command.arg(root.join("benches/peers").join(script));
            command
        };
        let crate_of = |package: &str| {
            let cargo = |what: &str| {
                let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
                command.args([what, "--release", "--package", package, "--manifest-path"]);
                command.arg(root.join("Cargo.toml"));
                command
            };
            // Apart, so that its progress is seen. A build that fails does so again below, and is told.
            let _ = cargo("build").status();
            let mut run = cargo("run");
            run.arg("--quiet");
            run
        };
        match self {
            Self::Torch => python("torch.py"),
            Self::Numpy => python("numpy_peer.py"),
            Self::Candle => crate_of("peer-candle"),
            Self::Burn => crate_of("peer-burn"),
        }
    }
}

/// Large outputs are allocated anew by most libraries; their page faults shall not count against them.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "34359738368"), ONE_HEAP];

/// A peer's program on a number of threads. Ctrl-C reaches it as well: the wait for its answer ends with it.
struct Process {
    name: String,
    threads: usize,
    version: String,
    /// What it can do beside normalizing.
    variants: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Where stderr goes.
    said: PathBuf,
}

impl Process {
    /// Starts a program and takes its greeting.
    fn start(name: &str, threads: usize, mut command: Command, logs: &Path) -> Result<Self, String> {
        let said = logs.join(format!("peer-{name}-{threads}.log"));
        let log = std::fs::create_dir_all(logs).and_then(|()| File::create(&said));
        let log = log.map_err(|error| format!("cannot write {}: {error}", said.display()))?;
        // Some fix their pool when they start. A thread of OpenMP's that spins takes a core from the others.
        command.env("RAYON_NUM_THREADS", threads.to_string()).env("OMP_WAIT_POLICY", "passive");
        command.envs(ALLOCATOR).envs(OPENMP);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let program = command.get_program().display().to_string();
        let mut child =
            command.spawn().map_err(|error| format!("expected a program {program}, got: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("expected an output to read")?);
        let mut process = Self {
            name: name.into(),
            threads,
            version: String::new(),
            variants: vec![],
            child,
            stdin,
            stdout,
            said,
        };
        let greeting = process.receive()?;
        process.version = greeting["version"].as_str().unwrap_or("of unknown version").into();
        let variants = greeting["variants"].as_array().map_or(&[][..], Vec::as_slice);
        process.variants = variants.iter().filter_map(Value::as_str).map(String::from).collect();
        match greeting["unavailable"].as_str() {
            Some(why) => Err(why.into()),
            None if greeting["impls"].is_array() => Ok(process),
            None => Err(format!("expected a greeting with impls, got {greeting}")),
        }
    }

    fn receive(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).map_err(|error| error.to_string())?;
        if read > 0 {
            let line = line.trim_end();
            return serde_json::from_str(line).map_err(|_| format!("expected a line of JSON, got {line:?}"));
        }
        let text = String::from_utf8_lossy(&std::fs::read(&self.said).unwrap_or_default()).into_owned();
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let said = self.said.display();
        Err(format!("expected a line, but the program ended with {last:?}; all it said: {said}"))
    }

    /// Sends a request and takes the answer.
    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        if let Some(stdin) = &mut self.stdin {
            // One that has ended is found out by the answer.
            let _ = writeln!(stdin, "{request}").and_then(|()| stdin.flush());
        }
        let answer = self.receive().map_err(|error| format!("{}: {error}", self.name))?;
        match answer["error"].as_str() {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(answer),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // End of input is the sign to go; one that stays is sent away.
        self.stdin = None;
        for _ in 0..20 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every peer that was asked for and is there, a program for each number of threads.
pub(crate) struct Peers {
    running: Vec<Rc<RefCell<Process>>>,
    folder: tempfile::TempDir,
}

/// A peer's implementation of a loaded shape, and its version.
pub(crate) type Loaded<T> = (Box<dyn Implementation<T>>, String);

impl Peers {
    /// Starts them; what cannot be started is told.
    pub(crate) fn start(
        names: &[Name],
        threads: &[usize],
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, String> {
        let mut peers = Self::none()?;
        for name in names {
            // NumPy's elementwise loops know one thread.
            let threads = if *name == Name::Numpy { &threads[..1] } else { threads };
            let text = name.to_possible_value().map_or(String::new(), |value| value.get_name().into());
            peers.add(&text, threads, &|| name.command(), &root().join("target/bench"), tell);
        }
        Ok(peers)
    }

    fn none() -> Result<Self, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("cannot make a folder for peers: {error}"))?;
        Ok(Self { running: Vec::new(), folder })
    }

    fn add(
        &mut self,
        name: &str,
        threads: &[usize],
        command: &dyn Fn() -> Command,
        logs: &Path,
        tell: &mut dyn FnMut(String),
    ) {
        for &threads in threads {
            match Process::start(name, threads, command(), logs) {
                Ok(process) => self.running.push(Rc::new(RefCell::new(process))),
                Err(why) => return tell(format!("{name}: not run: {why}")),
            }
        }
    }

    /// Gives the inputs to every peer that knows their variant; those that take them are returned with their versions, the others
    /// told.
    pub(crate) fn load<T: Real>(&self, inputs: &Inputs<T>, tell: &mut dyn FnMut(String)) -> Vec<Loaded<T>> {
        let mut loaded: Vec<Loaded<T>> = Vec::new();
        let (named, variant) = (&inputs.named, inputs.variant);
        let knows = |process: &Process| {
            variant == Variant::Plain || process.variants.iter().any(|known| known == variant.name())
        };
        let (running, others): (Vec<_>, Vec<_>) =
            self.running.iter().partition(|process| knows(&process.borrow()));
        for process in others {
            tell(format!(
                "{}: skipped all rows of {}, which it does not have",
                process.borrow().name,
                variant.name()
            ));
        }
        if running.is_empty() {
            return loaded;
        }
        if let Err(error) = write_inputs(self.folder.path(), inputs) {
            tell(format!("peers: {}: not run: cannot write the tensors: {error}", named.name));
            return loaded;
        }
        for process in running {
            let threads = process.borrow().threads;
            let mut request = json!({
                "do": "load",
                "dims": named.dims,
                "layout": named.layout_name.to_lowercase(),
                "dtype": T::NAME,
                "threads": threads,
                "eps": Config::default().eps,
                "folder": self.folder.path(),
            });
            if variant != Variant::Plain {
                request["variant"] = variant.name().into();
            }
            let answer = process.borrow_mut().ask(&request);
            let impls = answer.map(|answer| answer["impls"].as_array().cloned().unwrap_or_default());
            let impls = impls.unwrap_or_else(|error| {
                tell(format!("{error}, at {} on {threads} threads", named.name));
                Vec::new()
            });
            for one in impls {
                let name = one["name"].as_str().unwrap_or_default().to_string();
                if let Some(why) = one["skip"].as_str() {
                    tell(format!("{name}: skipped {}: {why}", named.name));
                    continue;
                }
                let folder = self.folder.path().to_path_buf();
                let remote = Remote { process: process.clone(), name, threads, folder };
                loaded.push((Box::new(remote), process.borrow().version.clone()));
            }
        }
        loaded
    }
}

/// An implementation in a peer's program.
struct Remote {
    process: Rc<RefCell<Process>>,
    name: String,
    threads: usize,
    folder: PathBuf,
}

const OUTPUTS: [&str; 5] = ["y.bin", "dx.bin", "dweight.bin", "dbias.bin", "dresidual.bin"];

impl<T: Real> Implementation<T> for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn time(&mut self, pass: Pass, runs: u32, _: &Inputs<T>, _: &mut Outputs<T>) -> Result<Duration, String> {
        let request = json!({"do": "time", "impl": self.name, "pass": pass.name(), "runs": runs});
        let answer = self.process.borrow_mut().ask(&request)?;
        let times: Option<Vec<f64>> =
            answer["ns"].as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        match times.filter(|times| times.len() == runs as usize && times.iter().all(|&ns| ns > 0.0)) {
            Some(times) => Ok(Duration::from_nanos(times.iter().sum::<f64>() as u64)),
            None => Err(format!("{}: expected {runs} times above 0 in ns, got {answer}", self.name)),
        }
    }

    fn answer(&mut self, inputs: &Inputs<T>, _: &mut Outputs<T>) -> Result<Option<Answer<T>>, String> {
        // What another one wrote must not pass for this one's answer.
        for name in OUTPUTS {
            let _ = std::fs::remove_file(self.folder.join(name));
        }
        self.process.borrow_mut().ask(&json!({"do": "answer", "impl": self.name}))?;
        let (len, features) = (inputs.x.len(), inputs.weight.len());
        let read = |i: usize, len| {
            let path = self.folder.join(OUTPUTS[i]);
            read_values(&path, len).map_err(|error| format!("{}: {}: {error}", self.name, OUTPUTS[i]))
        };
        Ok(Some(Answer {
            y: read(0, len)?,
            dx: read(1, len)?,
            dweight: read(2, features)?,
            dbias: read(3, features)?,
            dresidual: if inputs.residual.is_some() { read(4, len)? } else { Vec::new() },
        }))
    }
}

fn write_inputs<T: Real>(folder: &Path, inputs: &Inputs<T>) -> std::io::Result<()> {
    let Inputs { x, dy, weight, bias, .. } = inputs;
    let tensors = [
        ("x", x.as_slice()),
        ("dy", dy.as_slice()),
        ("weight", weight.as_slice()),
        ("bias", bias.as_slice()),
    ];
    let residual = inputs.residual_slice().map(|values| ("residual", Some(values)));
    for (name, values) in tensors.into_iter().chain(residual) {
        let values = values.unwrap_or_default();
        let mut bytes = Vec::with_capacity(size_of_val(values));
        for value in values {
            match T::NAME {
                "f64" => bytes.extend_from_slice(&value.to_f64().to_le_bytes()),
                _ => bytes.extend_from_slice(&(value.to_f64() as f32).to_le_bytes()),
            }
        }
        std::fs::write(folder.join(name).with_extension("bin"), bytes)?;
    }
    Ok(())
}

fn read_values<T: Real>(path: &Path, len: usize) -> Result<Vec<T>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if bytes.len() != len * size_of::<T>() {
        return Err(format!("expected {} bytes, got {}", len * size_of::<T>(), bytes.len()));
    }
    let (eights, fours) = (bytes.as_chunks::<8>().0, bytes.as_chunks::<4>().0);
    Ok(match T::NAME {
        "f64" => eights.iter().map(|v| T::from_f64(f64::from_le_bytes(*v))).collect(),
        _ => fours.iter().map(|v| T::from_f64(f64::from(f32::from_le_bytes(*v)))).collect(),
    })
}

#[cfg(test)]
mod tests;
