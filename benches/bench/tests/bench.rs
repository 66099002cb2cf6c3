//! The program as its caller sees it: arguments, files, interruption. This build is timed as it is: what counts here is not
//! the figures.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

fn bench(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("--quick").args(args);
    for (option, file) in [("--json", "out.json"), ("--html", "out.html")] {
        command.arg(option).arg(folder.join(file));
    }
    command
}

fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn measurements(path: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text<'v>(v: &'v Value, field: &str) -> &'v str {
    v[field].as_str().unwrap_or_else(|| panic!("{field} in {v}"))
}

fn number(v: &Value, field: &str) -> f64 {
    v[field].as_f64().unwrap_or_else(|| panic!("{field} in {v}"))
}

#[test]
fn a_run_leaves_json_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let args = ["--filter", "mlp_64x256", "--threads", "2"];
    let (code, out, err) = ended(&mut bench(folder, &args));
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(err.starts_with("1 shapes and 0 rows") && err.lines().count() == 1, "{err}");
    let list = measurements(&folder.join("out.json"));
    let mut seen = BTreeSet::new();
    for v in &list {
        let of = ["shape", "layout", "dtype", "variant"].map(|field| text(v, field));
        assert_eq!((of, &v["bar"]), (["64x256", "nc", "f32", "plain"], &Value::Null));
        assert_eq!(v["over_ours"].is_f64(), v["impl"] == "graph", "others are multiples of ours");
        let pass = text(v, "pass");
        let tensors =
            [("forward", 2), ("backward", 3), ("step", 5)].into_iter().find(|p| p.0 == pass).unwrap().1;
        assert_eq!(v["bytes"].as_u64(), Some(tensors * 4 * 64 * 256));
        let (median, least) = (number(v, "median_ns"), number(v, "min_ns"));
        assert!(median >= least && least > 0.0 && number(v, "roofline_gbps") > 0.0);
        assert!((number(v, "gbps") * median / number(v, "bytes") - 1.0).abs() < 1e-9);
        assert!(number(v, "samples") >= 3.0 && number(v, "spread") >= 0.0);
        seen.insert(format!("{} {} {pass}", text(v, "impl"), v["threads"]));
    }
    for who in ["floor 1", "floor 2", "dispatch 1", "rayon+dispatch 2", "graph 1"] {
        assert!(
            ["forward", "backward", "step"].iter().all(|pass| seen.contains(&format!("{who} {pass}"))),
            "{who}"
        );
    }
    assert_eq!((list.len(), seen.len()), (15, 15));
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains("with debug assertions") && page.matches("<svg").count() == 4, "a build is named");
    for file in ["out.json", "out.html"] {
        assert!(out.contains(&format!("written to {}\n", folder.join(file).display())), "{out}");
    }
    assert!(out.contains("mlp_64x256 nc 64x256\n") && out.contains("rayon+dispatch ×2"), "{out}");

    // A run against it, with a time that cannot be, is one in which something moved.
    let before = folder.join("before.json");
    let mut changed = list;
    for v in changed.iter_mut().filter(|v| v["impl"] == "dispatch") {
        (v["median_ns"], v["min_ns"], v["spread"]) = (1.0.into(), 1.0.into(), 0.0.into());
    }
    std::fs::write(&before, serde_json::to_vec(&changed).unwrap()).unwrap();
    let before = before.to_str().unwrap();
    let (code, out, _) = ended(bench(folder, &args).args(["--baseline", before]));
    assert_eq!(code, Some(0));
    assert!(out.contains("against the baseline: 15 compared"), "{out}");
    let marked = out.lines().filter(|l| l.contains("x slower") && l.contains(" dispatch (noise")).count();
    assert_eq!(marked, 3, "{out}");

    // What was measured is shown again.
    let show = ["--show", before, "--html", folder.join("again.html").to_str().unwrap()].map(String::from);
    let (code, again, err) = ended(Command::new(env!("CARGO_BIN_EXE_bench")).args(show));
    assert!(
        code == Some(0) && again.contains("rayon+dispatch ×2") && folder.join("again.html").exists(),
        "{err}"
    );
}

#[test]
fn hard_data_have_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, out, err) = ended(&mut bench(folder, &["--filter", "hard_images", "--threads", "2"]));
    assert_eq!(code, Some(0), "{out}{err}");
    let mut seen = Vec::new();
    for v in &measurements(&folder.join("out.json")) {
        let of = ["shape", "layout", "against", "impl"].map(|field| text(v, field));
        assert_eq!((of, &v["bar"]), (["8x64x28x28", "nchw", "plain", "dispatch"], &4.0.into()));
        let (size, tensors) =
            (if v["dtype"] == "f16" { 2 } else { 4 }, if v["pass"] == "forward" { 2 } else { 3 });
        assert_eq!(v["bytes"].as_u64(), Some(tensors * size * 8 * 64 * 28 * 28));
        for (median, least) in [("median_ns", "min_ns"), ("against_median_ns", "against_min_ns")] {
            assert!(number(v, median) >= number(v, least) && number(v, least) > 0.0, "{v}");
        }
        assert!(number(v, "roofline_gbps") > 0.0 && (3.0..=15.0).contains(&number(v, "samples")), "{v}");
        seen.push(["variant", "dtype", "pass"].map(|field| text(v, field)).join(" "));
    }
    let mut want = Vec::new();
    for dtype in ["f32", "f16"] {
        for variant in ["hard:weight_1e-33", "hard:dy_nan"] {
            want.extend(["forward", "backward"].map(|pass| format!("{variant} {dtype} {pass}")));
        }
    }
    assert_eq!(seen, want);
    assert_eq!(out.lines().filter(|line| line.starts_with("hard:")).count(), 4, "{out}");
    assert!(out.contains("hard data: 8 passes have a bar, "), "{out}");

    // An earlier run's rows are known again by their variant.
    let before = folder.join("before.json");
    std::fs::copy(folder.join("out.json"), &before).unwrap();
    let args = ["--filter", "hard:dy_nan hard_images", "--baseline", before.to_str().unwrap()];
    let (_, out, _) = ended(&mut bench(folder, &args));
    assert!(out.contains("against the baseline: 4 compared"), "{out}");
}

#[test]
fn a_relu_and_a_residual_have_rows_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let args = ["--filter", "relu stage1_narrow", "--threads", "2"];
    let (code, out, err) = ended(&mut bench(folder, &args));
    assert_eq!(code, Some(0), "{out}{err}");
    let list = measurements(&folder.join("out.json"));
    let mut seen = BTreeSet::new();
    for v in &list {
        let of = ["shape", "layout", "dtype"].map(|field| text(v, field));
        assert_eq!((of, &v["against"]), (["32x64x56x56", "nchw", "f32"], &Value::Null));
        let (variant, pass) = (text(v, "variant"), text(v, "pass"));
        let is_floor = text(v, "impl") == "floor";
        let tensors = match (variant, pass) {
            ("add_relu", "forward") if !is_floor => 3,
            ("add_relu", "step") if !is_floor => 8,
            (_, "forward") => 2,
            ("add_relu", "backward") if !is_floor => 5,
            (_, "backward") => 3,
            (_, _) => 5,
        };
        assert_eq!(v["bytes"].as_u64(), Some(tensors * 4 * 32 * 64 * 56 * 56), "{variant} {pass}");
        let share = number(v, "gbps") / number(v, "roofline_gbps");
        assert!(!is_floor || share <= 1.0 + 1e-9, "the floor is its own copy: {share}");
        seen.insert(format!("{variant} {} {} {pass}", text(v, "impl"), v["threads"]));
    }
    for who in ["floor 1", "floor 2", "dispatch 1", "rayon+dispatch 2"] {
        for variant in ["relu", "add_relu"] {
            assert!(
                ["forward", "backward", "step"]
                    .iter()
                    .all(|pass| seen.contains(&format!("{variant} {who} {pass}")))
            );
        }
    }
    assert_eq!((list.len(), seen.len()), (24, 24), "the textbook has neither");
    assert!(out.contains("stage1_narrow nchw 32x64x56x56 add_relu\n"), "{out}");
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains("id=\"varied\"") && page.contains("32x64x56x56 relu"));
}

#[test]
fn arguments_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (args, says) in [
        (["--peer", "abacus"], "[possible values: torch, candle, burn, numpy]"),
        (
            ["--filter", "resnet51"],
            "expected a part of a shape's name, layout or dimensions, or a variant, got \"resnet51\"",
        ),
        (["--baseline", "no/such.json"], "no/such.json: expected a JSON list of measurements"),
        (["--threads", "0"], "0 is not in 1..=1024"),
        (["--threads", "many"], "invalid digit"),
    ] {
        let (code, out, err) = ended(&mut bench(folder, &args));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(says), "expected {says:?} in {err:?}");
        assert!(!folder.join("out.json").exists(), "{args:?}: nothing is written");
    }
    std::fs::write(folder.join("file"), "").unwrap();
    let (code, _, err) = ended(&mut bench(&folder.join("file"), &["--filter", "mlp_64x256"]));
    assert!(code == Some(1) && err.contains("cannot write") && err.contains("out.json"), "{err}");
    let (code, _, err) = ended(bench(folder, &[]).env("BATCHNORM_LEVEL", "avx3"));
    assert!(
        code == Some(2) && err.contains("expected a level of baseline, avx2, avx512, got \"avx3\""),
        "{err}"
    );
}

#[cfg(unix)]
#[test]
fn a_missing_peer_is_a_hint_and_one_that_answers_wrong_is_not_timed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let python = folder.join("python");
    let program = |script: &str| {
        std::fs::write(&python, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let peer = |name: &str| {
        let args = ["--peer", name, "--filter", "mlp_32x50", "--threads", "1"];
        let (code, _, err) = ended(bench(folder, &args).env("PYTHON", &python));
        assert_eq!(code, Some(0), "{err}");
        err
    };
    let err = peer("numpy");
    assert!(err.contains("numpy: not run: expected a program"), "{err}");

    program("echo '{\"peer\":\"torch\",\"unavailable\":\"expected the package torch: pip install torch\"}'");
    let err = peer("torch");
    assert!(err.ends_with("torch: not run: expected the package torch: pip install torch\n"), "{err}");
    let page = std::fs::read_to_string(folder.join("out.html")).unwrap();
    assert!(page.contains("pip install torch"), "the report says it as well");

    program(
        "echo '{\"peer\":\"torch\",\"version\":\"9\",\"impls\":[\"torch\"]}'\nwhile read -r line; do case \"$line\" in\n\
         *load*) folder=${line#*'\"folder\":\"'}; folder=${folder%%'\"'*}; echo '{\"impls\":[{\"name\":\"torch\"}]}' ;;\n\
         *answer*) for t in x:y x:dx weight:dweight bias:dbias; do cp $folder/${t%:*}.bin $folder/${t#*:}.bin; done\n\
         echo '{\"ok\":true}' ;;\n*) echo '{\"ns\":[1]}' ;; esac; done",
    );
    let err = peer("torch");
    assert!(err.contains("torch: not timed at mlp_32x50 on 1 threads: y[0]: expected"), "{err}");
    assert!(measurements(&folder.join("out.json")).iter().all(|v| v["impl"] != "torch"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_what_it_measured() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let mut command = bench(folder.path(), &["--filter", "NC "]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !std::fs::read(&json).is_ok_and(|text| text.len() > 10) {
        assert!(start.elapsed() < Duration::from_secs(120), "no shape was finished");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130), "{}", String::from_utf8_lossy(&stderr));
    let list = measurements(&json);
    let shapes = |shape: &str| list.iter().filter(|v| v["shape"] == shape).count();
    assert!(shapes("32x50") == 15 && shapes("65536x256") == 0);
    assert!(String::from_utf8_lossy(&stdout).contains("Interrupted: this is what was measured so far."));
    let page = std::fs::read_to_string(folder.path().join("out.html")).unwrap();
    assert!(page.contains("The run was interrupted") && page.contains("</html>"));
}
