//! `cargo xtask bench` as its caller sees it: arguments, files, interruption. This build is timed as it is: what counts
//! here is not the figures.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn bench(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["bench", "--as-built", "--quick"]).args(args);
    for (option, file) in [("--json", "out.json"), ("--csv", "out.csv"), ("--html", "out.html")] {
        command.arg(option).arg(folder.join(file));
    }
    command
}

fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = bench(folder, args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn measurements(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_leaves_json_csv_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, out, err) = run(folder, &["--filter", "mlp_64x256", "--threads", "2"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let list = measurements(&folder.join("out.json"));
    let text =
        |v: &Value, field: &str| v[field].as_str().unwrap_or_else(|| panic!("{field} in {v}")).to_string();
    let mut seen = Vec::new();
    for v in &list {
        assert_eq!([text(v, "shape"), text(v, "layout"), text(v, "dtype")], ["64x256", "nc", "f32"]);
        assert_eq!(
            (text(v, "variant"), &v["against"], &v["bar"]),
            ("plain".into(), &Value::Null, &Value::Null)
        );
        let pass = text(v, "pass");
        let tensors =
            ["forward", "backward", "step"].iter().zip([2, 3, 5]).find(|(p, _)| **p == pass).unwrap().1;
        assert_eq!(v["bytes"].as_u64(), Some(tensors * 4 * 64 * 256));
        let number = |field: &str| v[field].as_f64().unwrap_or_else(|| panic!("{field} in {v}"));
        assert!(
            number("median_ns") >= number("min_ns")
                && number("min_ns") > 0.0
                && number("roofline_gbps") > 0.0
        );
        assert!((number("gbps") * number("median_ns") / number("bytes") - 1.0).abs() < 1e-9);
        assert!(number("samples") >= 3.0 && number("spread") >= 0.0);
        seen.push(format!("{} {} {pass}", text(v, "impl"), v["threads"]));
    }
    for who in ["floor 1", "floor 2", "dispatch 1", "rayon+dispatch 2", "graph 1"] {
        for pass in ["forward", "backward", "step"] {
            let one = format!("{who} {pass}");
            assert_eq!(seen.iter().filter(|s| **s == one).count(), 1, "{one} in {seen:?}");
        }
    }
    assert_eq!(list.len(), 15);
    let csv = std::fs::read_to_string(folder.join("out.csv")).unwrap();
    assert_eq!(csv.lines().count(), 16);
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains("with debug assertions") && page.matches("<svg").count() == 4, "a build is named");
    for file in ["out.json", "out.csv", "out.html"] {
        assert!(out.contains(&format!("written to {}\n", folder.join(file).display())), "{out}");
    }
    assert!(out.contains("mlp_64x256 nc 64x256\n") && out.contains("rayon+dispatch ×2"), "{out}");

    // A run against it, with a time that cannot be, is one in which something moved.
    let before = folder.join("before.json");
    let mut changed = list;
    for v in &mut changed {
        if v["impl"] == "dispatch" {
            (v["median_ns"], v["min_ns"], v["spread"]) = (1.0.into(), 1.0.into(), 0.0.into());
        }
    }
    std::fs::write(&before, serde_json::to_vec(&changed).unwrap()).unwrap();
    let baseline = before.to_str().unwrap();
    let (code, out, _) = run(folder, &["--filter", "mlp_64x256", "--threads", "2", "--baseline", baseline]);
    assert_eq!(code, Some(0));
    assert!(out.contains("against the baseline: 15 compared"), "{out}");
    let marked = out.lines().filter(|l| l.contains("x slower") && l.contains(" dispatch (noise")).count();
    assert_eq!(marked, 3, "{out}");
}

#[test]
fn hard_data_have_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, out, err) = run(folder, &["--filter", "hard_images", "--threads", "2"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let list = measurements(&folder.join("out.json"));
    let mut seen = Vec::new();
    for v in &list {
        assert_eq!(
            (&v["shape"], &v["layout"], &v["against"]),
            (&"8x64x28x28".into(), &"nchw".into(), &"plain".into())
        );
        assert_eq!((&v["impl"], &v["threads"], &v["bar"]), (&"dispatch".into(), &1.into(), &4.0.into()));
        let number = |field: &str| v[field].as_f64().unwrap_or_else(|| panic!("{field} in {v}"));
        let size = if v["dtype"] == "f16" { 2 } else { 4 };
        let tensors = if v["pass"] == "forward" { 2 } else { 3 };
        assert_eq!(v["bytes"].as_u64(), Some(tensors * size * 8 * 64 * 28 * 28));
        for least in ["min_ns", "against_min_ns", "roofline_gbps"] {
            assert!(number(least) > 0.0, "{v}");
        }
        assert!(number("median_ns") >= number("min_ns"), "{v}");
        assert!(number("against_median_ns") >= number("against_min_ns"), "{v}");
        assert!((3.0..=15.0).contains(&number("samples")), "{v}");
        seen.push(["variant", "dtype", "pass"].map(|field| v[field].as_str().unwrap()).join(" "));
    }
    let mut want = Vec::new();
    for dtype in ["f32", "f16"] {
        for variant in ["hard:weight_1e-33", "hard:dy_nan"] {
            want.extend(["forward", "backward"].map(|pass| format!("{variant} {dtype} {pass}")));
        }
    }
    assert_eq!(seen, want);
    let lines = out.lines().filter(|line| line.trim_start().starts_with("hard:")).count();
    assert!(lines == 4 && out.matches("hard data: a pass's time").count() == 1, "{out}");
    assert!(out.contains("hard data: 8 passes have a bar, "), "{out}");
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    let section = page.split("<h2 id=\"hard\">").nth(1).unwrap().split("<h2").next().unwrap();
    assert!(section.contains("<svg") && section.matches("<tr><td>").count() == 4, "{section}");

    // An earlier run's rows are known again by their variant.
    let before = folder.join("before.json");
    std::fs::copy(folder.join("out.json"), &before).unwrap();
    let args = ["--filter", "hard:dy_nan hard_images", "--baseline", before.to_str().unwrap()];
    let (_, out, _) = run(folder, &args);
    assert!(out.contains("against the baseline: 4 compared"), "{out}");
}

#[test]
fn arguments_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let other = folder.join("other.json");
    std::fs::write(&other, "{\"a\": 1}").unwrap();
    let other = other.to_str().unwrap();
    for (args, says) in [
        (["--peer", "abacus"], "[possible values: torch, candle, burn, numpy]"),
        (
            ["--filter", "resnet51"],
            "expected a part of a shape's name, layout or dimensions, got \"resnet51\"",
        ),
        (["--baseline", "no/such.json"], "no/such.json: expected a JSON list of measurements"),
        (
            ["--baseline", other],
            "expected a JSON list of measurements as --json writes it, got: invalid type: map",
        ),
        (["--threads", "0"], "0 is not in 1..=1024"),
        (["--threads", "many"], "invalid digit"),
    ] {
        let (code, out, err) = run(folder, &args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(says), "expected {says:?} in {err:?}");
        assert!(!folder.join("out.json").exists(), "{args:?}: nothing is written");
    }
    let folder = folder.join("other.json");
    let (code, _, err) = run(&folder, &["--filter", "mlp_64x256"]);
    assert!(code == Some(1) && err.contains("cannot write") && err.contains("out.json"), "{err}");
}

#[cfg(unix)]
#[test]
fn a_missing_peer_is_a_hint_and_one_that_answers_is_measured() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let python = folder.join("python");
    let program = |script: &str| {
        std::fs::write(&python, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let peer = |args: &[&str]| {
        let args = [args, &["--filter", "mlp_32x50", "--threads", "1"]].concat();
        let Output { status, stdout, stderr } = bench(folder, &args).env("PYTHON", &python).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    };
    let (code, _, err) = peer(&["--peer", "numpy"]);
    assert!(code == Some(0) && err.contains("numpy: not run: expected a program"), "{err}");

    program("echo '{\"peer\":\"torch\",\"unavailable\":\"expected the package torch: pip install torch\"}'");
    let (code, _, err) = peer(&["--peer", "torch"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(0), "torch: not run: expected the package torch: pip install torch\n")
    );
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains("pip install torch"), "the report says it as well");

    // A peer whose answers are wrong is not timed.
    program(
        "echo '{\"peer\":\"torch\",\"version\":\"9\",\"impls\":[\"torch\"]}'\nwhile read -r line; do case \"$line\" in\n\
         *load*) folder=${line#*'\"folder\":\"'}; folder=${folder%%'\"'*}; echo '{\"impls\":[{\"name\":\"torch\"}]}' ;;\n\
         *answer*) for t in x:y x:dx weight:dweight bias:dbias; do cp $folder/${t%:*}.bin $folder/${t#*:}.bin; done\n\
         echo '{\"ok\":true}' ;;\n*) echo '{\"ns\":[1]}' ;; esac; done",
    );
    let (code, _, err) = peer(&["--peer", "torch"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("torch: not timed at mlp_32x50 on 1 threads: y[0]: expected"), "{err}");
    assert!(measurements(&folder.join("out.json")).iter().all(|v| v["impl"] != "torch"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_what_it_measured() {
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let child = bench(folder.path(), &["--filter", "NC "])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let done = || std::fs::read(&json).is_ok_and(|text| text.len() > 10);
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "no shape was finished");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(130), "{err}");
    let list = measurements(&json);
    let shapes = |shape: &str| list.iter().filter(|v| v["shape"] == shape).count();
    assert!(shapes("32x50") == 15 && shapes("65536x256") == 0, "{out}");
    assert!(out.contains("Interrupted: this is what was measured so far."), "{out}");
    let page = std::fs::read_to_string(folder.path().join("out.html")).unwrap();
    assert!(page.contains("The run was interrupted") && page.contains("</html>"));
}
