//! Other libraries, measured in the same run: each is a program of its own that answers a line with a line.
//!
//! | it reads | it answers |
//! | --- | --- |
//! | nothing | `{"peer":"torch","version":"2.15.0","impls":["torch"]}`, or `"unavailable":"expected …"` and it ends |
//! | `{"do":"load","dims":[…],"layout":"nchw","dtype":"f32","threads":1,"eps":1e-5,"folder":"…"}` | `{"impls":[{"name":"torch"},{"name":"other","skip":"expected …"}]}` |
//! | `{"do":"answer","impl":"torch"}` | `{"ok":true}`, with y.bin, dx.bin, dweight.bin and dbias.bin in the folder |
//! | `{"do":"time","impl":"torch","pass":"forward","runs":5}` | `{"ns":[…]}`, a time for each run, after one that is not counted |
//!
//! The folder holds x.bin, dy.bin, weight.bin and bias.bin: little-endian values in the layout's own order. Where
//! anything goes wrong the answer is `{"error":"…"}`. A peer that is missing is a hint, never a failure.

use super::stop;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Answer, Inputs, Outputs};
use bn_core::{Config, Real};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

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
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
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

/// Large outputs are allocated anew by most libraries; their page faults shall not count against them.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "34359738368")];

/// What a peer may take before its first line, which holds its build; and before any other.
const START: Duration = Duration::from_secs(1800);
const ANSWER: Duration = Duration::from_secs(300);

/// A peer's running program.
struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: PathBuf,
}

impl Process {
    /// Starts a program and takes its greeting.
    fn start(name: &str, mut command: Command, said: &Path) -> Result<(Self, Value), String> {
        let told = |what: String| format!("{name}: not run: {what}");
        let log = said.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| File::create(said));
        let log = log.map_err(|error| told(format!("cannot write {}: {error}", said.display())))?;
        command.envs(ALLOCATOR).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // A Ctrl-C is this program's to handle.
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| {
            told(format!("expected a program {}, got: {error}", command.get_program().display()))
        })?;
        let (send, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        let mut process = Self { name: name.into(), child, stdin, lines, said: said.into() };
        let greeting = process.receive(START).map_err(told)?;
        match greeting["unavailable"].as_str() {
            Some(why) => Err(told(why.into())),
            None if greeting["impls"].is_array() => Ok((process, greeting)),
            None => Err(told(format!("expected a greeting with impls, got {greeting}"))),
        }
    }

    fn receive(&mut self, within: Duration) -> Result<Value, String> {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    return serde_json::from_str(&line)
                        .map_err(|_| format!("expected a line of JSON, got {line:?}"));
                }
                Err(RecvTimeoutError::Timeout) if stop::requested() => return Err("interrupted".into()),
                Err(RecvTimeoutError::Timeout) if start.elapsed() < within => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("expected an answer within {} s, got none", within.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!(
                        "expected a line, but the program ended{}; all it said: {}",
                        last_words(&self.said),
                        self.said.display()
                    ));
                }
            }
        }
    }

    /// Sends a request and takes the answer.
    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let sent = match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{request}").and_then(|()| stdin.flush()),
            None => Ok(()),
        };
        if let Err(error) = sent {
            return Err(format!("{}: cannot ask it{}: {error}", self.name, last_words(&self.said)));
        }
        let answer = self.receive(ANSWER).map_err(|error| format!("{}: {error}", self.name))?;
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

/// The last line that a program wrote to stderr, as part of a sentence.
fn last_words(said: &Path) -> String {
    let text = std::fs::read(said).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map(|line| format!(" with {line:?}")).unwrap_or_default()
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
                match Process::start(name, command(), &said) {
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
mod tests {
    use super::*;
    use benches::layer::Kernels;
    use benches::shapes::parse;
    use bn_conformance::data::X;

    /// A shell as a peer: greets, then does for each line what `body` says.
    fn shell(greeting: &str, body: &str) -> Command {
        let script =
            format!("echo '{greeting}'\nwhile read -r line; do\ncase \"$line\" in\n{body}\nesac\ndone");
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    }

    const GREETING: &str = r#"{"peer":"fake","version":"1.2","impls":["good","bad"]}"#;

    fn inputs() -> Inputs<f32> {
        Inputs::new(&parse("a NC 8x4").unwrap()[0], X::Shifted)
    }

    /// Starts a peer and loads the inputs; returns what is loaded and what was told.
    fn loaded(command: impl Fn() -> Command, threads: &[usize]) -> (Peers, Vec<Loaded<f32>>, Vec<String>) {
        let logs = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        let mut tell = |what| told.push(what);
        let programs = std::iter::once(("fake", threads, command));
        let peers = Peers::start_programs(programs, logs.path(), &mut tell).unwrap();
        let loaded = peers.load(&inputs(), &mut tell);
        (peers, loaded, told)
    }

    #[test]
    fn a_peer_is_loaded_checked_and_timed() {
        // It knows the answer, because it is put beside its inputs.
        let body = r#"
            *load*) folder=${line#*'"folder":"'}; folder=${folder%%'"'*}
                echo '{"impls":[{"name":"good"},{"name":"odd","skip":"expected nhwc, got nc"}]}' ;;
            *answer*) for t in y dx dweight dbias; do cp "$folder/want-$t.bin" "$folder/$t.bin"; done
                echo '{"ok":true}' ;;
            *time*) echo '{"ns":[10.5,20,30]}' ;;"#;
        let (peers, mut all, told) = loaded(|| shell(GREETING, body), &[1, 2]);
        assert_eq!(told, vec!["odd: skipped a: expected nhwc, got nc"; 2]);
        assert_eq!(all.iter().map(|(one, _)| one.threads()).collect::<Vec<_>>(), [1, 2]);
        let (one, version) = &mut all[0];
        assert_eq!((one.name(), version.as_str()), ("good", "1.2"));

        let inputs = inputs();
        let mut outputs = Outputs::new(32);
        let mut layer = Kernels::Scalar.layer(&inputs, None).unwrap();
        let want = layer.answer(&inputs, &mut outputs).unwrap().unwrap();
        let Answer { y, dx, dweight, dbias } = &want;
        for (name, values) in [("y", y), ("dx", dx), ("dweight", dweight), ("dbias", dbias)] {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(peers.folder.path().join(format!("want-{name}.bin")), bytes).unwrap();
        }
        let got = one.answer(&inputs, &mut outputs).unwrap().unwrap();
        assert_eq!(got.check_bits(&want), Ok(()));
        assert_eq!(one.time(Pass::Step, 3, &inputs, &mut outputs).unwrap(), Duration::from_nanos(60));
        let error = one.time(Pass::Step, 2, &inputs, &mut outputs).unwrap_err();
        assert!(error.contains("expected 2 times above 0"), "{error}");
        std::fs::write(peers.folder.path().join("want-dx.bin"), b"short").unwrap();
        let error = one.answer(&inputs, &mut outputs).unwrap_err();
        assert_eq!(error, "good: dx.bin: expected 128 bytes, got 5");
        let x = std::fs::read(peers.folder.path().join("x.bin")).unwrap();
        assert_eq!(x[..4], inputs.x_slice()[0].to_le_bytes());
    }

    #[test]
    fn a_peer_that_is_not_there_is_a_hint() {
        let gone = r#"{"peer":"fake","unavailable":"expected the package torch: pip install torch"}"#;
        let dies = || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo 'no such file' >&2"]);
            command
        };
        for (command, says) in [
            (
                &(|| shell(gone, "*) ;;")) as &dyn Fn() -> Command,
                "expected the package torch: pip install torch",
            ),
            (&|| shell("hello", "*) ;;"), "expected a line of JSON, got \"hello\""),
            (&|| shell("{}", "*) ;;"), "expected a greeting with impls, got {}"),
            (&dies, "the program ended with \"no such file\""),
            (&|| Command::new("no/such/program"), "expected a program no/such/program, got: No such file"),
        ] {
            let (_, all, told) = loaded(command, &[1, 2]);
            assert_eq!((all.len(), told.len()), (0, 1), "{told:?}");
            assert!(told[0].starts_with("fake: not run: ") && told[0].contains(says), "{told:?}");
        }
    }

    #[test]
    fn a_peer_that_fails_is_told() {
        let (_, all, told) = loaded(|| shell(GREETING, r#"*) echo '{"error":"out of memory"}' ;;"#), &[1]);
        assert_eq!((all.len(), told), (0, vec!["fake: out of memory, at a on 1 threads".to_string()]));
        let body = r#"*load*) echo '{"impls":[{"name":"good"}]}' ;; *) exit 3 ;;"#;
        let (_peers, mut all, told) = loaded(|| shell(GREETING, body), &[1]);
        assert_eq!(told, Vec::<String>::new());
        let error = all[0].0.time(Pass::Forward, 1, &inputs(), &mut Outputs::new(32)).unwrap_err();
        assert!(error.starts_with("fake: expected a line, but the program ended"), "{error}");
    }
}
