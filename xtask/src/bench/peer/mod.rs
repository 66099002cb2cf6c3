//! Other libraries, measured in the same run: each is a program of its own that answers a line with a line.
//!
//! | it reads | it answers |
//! | --- | --- |
//! | nothing | `{"peer":"torch","version":"2.15.0","impls":["torch"]}`, or `"unavailable":"expected …"` and it ends |
//! | `{"do":"load","dims":[…],"layout":"nchw","dtype":"f32","threads":1,"eps":1e-5,"folder":"…"}` | `{"impls":[{"name":"torch"},{"name":"other","skip":"expected …"}]}` |
//! | `{"do":"answer","impl":"torch"}` | `{"ok":true}`, with y.bin, dx.bin, dweight.bin and dbias.bin in the folder |
//! | `{"do":"time","impl":"torch","pass":"forward","runs":5}` | `{"ns":[…]}`, a time for each run, after what is not counted |
//!
//! The folder holds x.bin, dy.bin, weight.bin and bias.bin: little-endian values in the layout's own order. Where
//! anything goes wrong the answer is `{"error":"…"}`. A peer that is missing is a hint, never a failure.

mod process;

use crate::tools;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Answer, Inputs, Outputs};
use bn_core::{Config, Real};
use process::Process;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

/// The peers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Name {
    Torch,
    Candle,
    Burn,
    Numpy,
}

impl Name {
    /// The program, started in the workspace's folder.
    fn command(self) -> Command {
        let python = |script: &str| {
            let mut command = Command::new(std::env::var_os("PYTHON").unwrap_or("python3".into()));
            command.arg(script);
            command
        };
        let crate_of = |package: &str| {
            let mut command = tools::cargo();
            command.args(["run", "--release", "--quiet", "--package", package]);
            command
        };
        match self {
            Self::Torch => python("benches/peers/torch.py"),
            Self::Numpy => python("benches/peers/numpy_peer.py"),
            Self::Candle => crate_of("peer-candle"),
            Self::Burn => crate_of("peer-burn"),
        }
    }

    /// On which of these numbers of threads it is run: NumPy's elementwise loops know one.
    fn threads(self, all: &[usize]) -> &[usize] {
        if self == Self::Numpy { &all[..1] } else { all }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Candle => "candle",
            Self::Burn => "burn",
            Self::Numpy => "numpy",
        }
    }
}

/// A peer on a number of threads.
struct Running {
    process: Rc<RefCell<Process>>,
    threads: usize,
    version: String,
}

/// Every peer that was asked for and is there, a program for each number of threads.
pub(crate) struct Peers {
    running: Vec<Running>,
    folder: tempfile::TempDir,
}

/// A peer's implementation of a loaded shape.
pub(crate) type Loaded<T> = (Box<dyn Implementation<T>>, String);

impl Peers {
    /// Starts them; what cannot be started is told.
    pub(crate) fn start(
        names: &[Name],
        threads: &[usize],
        root: &Path,
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, String> {
        let programs = names.iter().map(|name| {
            let command = move || {
                let mut command = name.command();
                command.current_dir(root);
                command
            };
            (name.text(), name.threads(threads), command)
        });
        Self::start_programs(programs, &root.join("target/bench"), tell)
    }

    fn start_programs<'a>(
        programs: impl Iterator<Item = (&'a str, &'a [usize], impl Fn() -> Command)>,
        logs: &Path,
        tell: &mut dyn FnMut(String),
    ) -> Result<Self, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("cannot make a folder for peers: {error}"))?;
        let mut running = Vec::new();
        for (name, threads, command) in programs {
            for &threads in threads {
                let said = logs.join(format!("peer-{name}-{threads}.log"));
                let mut command = command();
                // Some fix their pool when they start. A thread of OpenMP's that spins takes a core from the others.
                command.env("RAYON_NUM_THREADS", threads.to_string()).env("OMP_WAIT_POLICY", "passive");
                match Process::start(name, command, &said) {
                    Ok((process, greeting)) => {
                        let version =
                            greeting["version"].as_str().unwrap_or("of unknown version").to_string();
                        running.push(Running { process: Rc::new(RefCell::new(process)), threads, version });
                    }
                    Err(why) => {
                        tell(why);
                        break;
                    }
                }
            }
        }
        Ok(Self { running, folder })
    }

    /// Gives the inputs to every peer; those that take them are returned with their versions, the others told.
    pub(crate) fn load<T: Real>(&self, inputs: &Inputs<T>, tell: &mut dyn FnMut(String)) -> Vec<Loaded<T>> {
        let mut loaded: Vec<Loaded<T>> = Vec::new();
        if self.running.is_empty() {
            return loaded;
        }
        if let Err(error) = write_inputs(self.folder.path(), inputs) {
            tell(format!("peers: {}: not run: cannot write the tensors: {error}", inputs.named.name));
            return loaded;
        }
        for Running { process, threads, version } in &self.running {
            let named = &inputs.named;
            let request = json!({
                "do": "load",
                "dims": named.dims,
                "layout": named.layout_name.to_lowercase(),
                "dtype": T::NAME,
                "threads": threads,
                "eps": Config::default().eps,
                "folder": self.folder.path(),
            });
            let answer = match process.borrow_mut().ask(&request) {
                Ok(answer) => answer,
                Err(error) => {
                    tell(format!("{error}, at {} on {threads} threads", named.name));
                    continue;
                }
            };
            for one in answer["impls"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let name = one["name"].as_str().unwrap_or_default().to_string();
                match one["skip"].as_str() {
                    Some(why) => tell(format!("{name}: skipped {}: {why}", named.name)),
                    None => {
                        let process = process.clone();
                        let folder = self.folder.path().to_path_buf();
                        let remote = Remote { process, name, threads: *threads, folder };
                        loaded.push((Box::new(remote), version.clone()));
                    }
                }
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

const OUTPUTS: [&str; 4] = ["y.bin", "dx.bin", "dweight.bin", "dbias.bin"];

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
    for (name, values) in tensors {
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
