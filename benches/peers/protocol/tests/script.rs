//! A script of requests against a peer in memory.

use peer_protocol::{Case, Error, Inputs, Outputs, Peer, serve};
use serde_json::{Value, json};
use std::path::Path;

/// Gives back what it was given, with marks that show which pass ran.
struct Echo(Inputs, f64);

impl Peer for Echo {
    const NAME: &'static str = "echo";
    const PACKAGE: &'static str = "serde_json";
    type Forward = Vec<u8>;
    type Gradients = (Vec<u8>, Vec<u8>);

    fn load(case: &Case, inputs: Inputs) -> Result<Self, Error> {
        assert_eq!(rayon::current_num_threads(), case.threads.get());
        Ok(Self(inputs, case.eps))
    }

    fn forward(&self) -> Result<Self::Forward, Error> {
        match self.1 {
            2.0 => panic!("eps is 2"),
            3.0 => Err("eps is 3".into()),
            _ => Ok(self.0.x.clone()),
        }
    }

    fn backward(&self, forward: &Self::Forward) -> Result<Self::Gradients, Error> {
        assert_eq!(*forward, self.0.x);
        let dweight = if self.1 == 4.0 { Vec::new() } else { self.0.weight.clone() };
        Ok((self.0.dy.clone(), dweight))
    }

    fn outputs(&self, y: Self::Forward, (dx, dweight): Self::Gradients) -> Result<Outputs, Error> {
        Ok(Outputs { y, dx, dweight, dbias: self.0.bias.clone() })
    }
}

/// The answers to the requests, one by one, after the hello.
fn answers(requests: &[String]) -> Vec<Value> {
    let mut said = Vec::new();
    serve::<Echo>(requests.join("\n").as_bytes(), &mut said).unwrap();
    let lines = String::from_utf8(said).unwrap();
    let mut answers = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let hello: Value = answers.next().unwrap();
    assert_eq!((&hello["peer"], &hello["impls"]), (&json!("echo"), &json!(["echo"])));
    assert!(hello["version"].as_str().unwrap().starts_with("1."), "{hello}");
    answers.collect()
}

/// Inputs for 2×3×2 values of f32.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("x", vec![1; 48]), ("dy", vec![2; 48]), ("weight", vec![3; 12]), ("bias", vec![4; 12])]
    {
        std::fs::write(folder.path().join(name).with_extension("bin"), bytes).unwrap();
    }
    folder
}

fn load(folder: &Path) -> Value {
    json!({ "do": "load", "dims": [2, 3, 2], "layout": "ncl", "dtype": "f32", "threads": 2, "eps": 1e-5, "folder": folder })
}

/// The request with some fields changed.
fn but(mut request: Value, fields: Value) -> String {
    for (name, value) in fields.as_object().unwrap() {
        request[name] = value.clone();
    }
    request.to_string()
}

const ANSWER: &str = r#"{"do":"answer","impl":"echo"}"#;

#[test]
fn a_case_is_loaded_answered_and_timed() {
    let folder = written();
    let time = |pass| json!({ "do": "time", "impl": "echo", "pass": pass, "runs": 3 }).to_string();
    let mut requests = vec![load(folder.path()).to_string(), ANSWER.into()];
    requests.extend(["forward", "backward", "step"].map(time));
    let answers = answers(&requests);
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0], json!({ "impls": [{ "name": "echo" }] }));
    assert_eq!(answers[1], json!({ "ok": true }));
    for answer in &answers[2..] {
        assert_eq!(answer["ns"].as_array().unwrap().iter().filter(|ns| ns.is_u64()).count(), 3, "{answer}");
    }
    for (name, bytes) in
        [("y", [1; 48].as_slice()), ("dx", &[2; 48]), ("dweight", &[3; 12]), ("dbias", &[4; 12])]
    {
        assert_eq!(std::fs::read(folder.path().join(name).with_extension("bin")).unwrap(), bytes, "{name}");
    }
}

#[test]
fn layouts_are_outer_features_inner() {
    for (layout, dims, shape) in [
        ("nc", json!([2, 3]), [2, 3, 1]),
        ("nchw", json!([2, 3, 4, 5]), [2, 3, 20]),
        ("nlc", json!([2, 3, 4]), [6, 4, 1]),
        ("nhwc", json!([2, 3, 4, 5]), [24, 5, 1]),
        ("ndhwc", json!([2, 3, 4, 5, 6]), [120, 6, 1]),
    ] {
        let request = but(load(Path::new("")), json!({ "layout": layout, "dims": dims }));
        let case: Case = serde_json::from_str(&request).unwrap();
        assert_eq!(case.shape().unwrap(), shape, "{layout}");
    }
}

#[test]
fn what_goes_wrong_is_said_and_the_peer_goes_on() {
    let folder = written();
    let load = load(folder.path());
    let loaded = load.to_string();
    let gone = folder.path().join("gone");
    for (request, says) in [
        (ANSWER.to_string(), "expected a case to be loaded first, got none"),
        ("{".into(), "expected a request in JSON, got EOF"),
        ("\u{1}".into(), "expected a request in JSON, got"),
        (
            json!({ "do": "sing" }).to_string(),
            "unknown variant `sing`, expected one of `load`, `answer`, `time`",
        ),
        (json!({ "do": "load" }).to_string(), "missing field"),
        (but(load.clone(), json!({ "layout": "cn" })), "expected a layout of NC, NCL"),
        (but(load.clone(), json!({ "dtype": "f8" })), "unknown variant `f8`, expected `f32` or `f64`"),
        (but(load.clone(), json!({ "variant": "relu" })), "unknown variant `relu`, expected `plain`"),
        (but(load.clone(), json!({ "threads": 0 })), "expected a nonzero"),
        (but(load.clone(), json!({ "dims": [12] })), "expected 3 dimensions for NCL, got 1"),
        (but(load.clone(), json!({ "dims": [2, 3, u64::MAX] })), "expected at most"),
        (but(load.clone(), json!({ "dims": [2, 3, 3] })), "x.bin: expected 72 bytes, got 48"),
        (but(load.clone(), json!({ "dims": [1, 6, 2] })), "weight.bin: expected 24 bytes, got 12"),
        (but(load.clone(), json!({ "folder": gone })), "x.bin: expected 48 bytes, got No such file"),
    ] {
        let answers = answers(&[request.clone(), loaded.clone(), ANSWER.into()]);
        assert!(answers[0]["error"].as_str().unwrap().contains(says), "{request}: {}", answers[0]);
        assert_eq!(answers[2], json!({ "ok": true }), "{request}");
    }
}

#[test]
fn what_the_peer_does_wrong_is_said_too() {
    let folder = written();
    for (eps, says) in [
        (2.0, "expected an answer, got a panic: eps is 2"),
        (3.0, "eps is 3"),
        (4.0, "dweight.bin: expected 12 bytes from the peer, got 0"),
    ] {
        let load = load(folder.path());
        let wrong = but(load.clone(), json!({ "eps": eps }));
        let answers = answers(&[wrong, ANSWER.into(), load.to_string(), ANSWER.into()]);
        assert!(answers[1]["error"].as_str().unwrap().contains(says), "{eps}: {}", answers[1]);
        assert_eq!(answers[3], json!({ "ok": true }), "{eps}");
    }
    let other =
        answers(&[load(folder.path()).to_string(), json!({ "do": "answer", "impl": "e" }).to_string()]);
    assert_eq!(other[1], json!({ "error": "expected the impl echo, got e" }));
}
