//! A peer's program: a line goes in, a line comes out, within a time.

use super::super::stop;
use benches::memory::ONE_HEAP;
use benches::threads::OPENMP;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Large outputs are allocated anew by most libraries; their page faults shall not count against them.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "34359738368"), ONE_HEAP];

/// What a peer may take before its first line, which holds its build; and before any other.
const START: Duration = Duration::from_secs(1800);
const ANSWER: Duration = Duration::from_secs(300);

/// A peer's running program.
pub(super) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: PathBuf,
}

impl Process {
    /// Starts a program and takes its greeting.
    pub(super) fn start(name: &str, mut command: Command, said: &Path) -> Result<(Self, Value), String> {
        let told = |what: String| format!("{name}: not run: {what}");
        let log = said.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| File::create(said));
        let log = log.map_err(|error| told(format!("cannot write {}: {error}", said.display())))?;
        command.envs(ALLOCATOR).envs(OPENMP).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
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
    pub(super) fn ask(&mut self, request: &Value) -> Result<Value, String> {
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
