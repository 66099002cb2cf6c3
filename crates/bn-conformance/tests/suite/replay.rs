//! Replaying case files: lines, verdicts, complaints.

use bn_conformance::replay::Replay;
use bn_scalar::Scalar;
use safetensors::tensor::{SafeTensors, TensorView, serialize};
use std::path::{Path, PathBuf};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn case(name: &str) -> PathBuf {
    cases().join(name).with_extension("safetensors")
}

/// The scalar kernels, by names of their own.
fn scalar(name: &'static str) -> Replay {
    let backend = bn_conformance::any::Candidate { name: name.into(), ..Scalar.into() };
    Replay { backends: vec![backend], digest: false, ranks: None, dump: None }
}

fn run(replay: &Replay, paths: &[&Path]) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), String::new());
    let paths: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let verdict = replay.run(&paths, &mut out, &mut |what| err += &format!("{what}\n")).unwrap();
    (verdict as i32, String::from_utf8(out).unwrap(), err)
}

fn replay(paths: &[&Path], more: &[&str]) -> (i32, String, String) {
    let digest = more.contains(&"--digest");
    run(&Replay { digest, ..scalar("scalar") }, paths)
}

/// `nchw_train` with one value of `tensor` changed.
fn spoiled(folder: &Path, tensor: &str) -> PathBuf {
    let bytes = std::fs::read(case("nchw_train")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut data;
    for (name, view) in &mut tensors {
        if name == tensor {
            data = view.data().to_vec();
            data[..8].copy_from_slice(&1234.5f64.to_le_bytes());
            *view = TensorView::new(view.dtype(), view.shape().to_vec(), &data).unwrap();
            break;
        }
    }
    let path = folder.join("spoiled.safetensors");
    std::fs::write(&path, serialize(tensors, header.metadata().clone()).unwrap()).unwrap();
    path
}

#[test]
fn a_line_per_case_backend_and_tensor() {
    let (code, out, err) = replay(&[&case("nchw_train")], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|l| l.split(' ').collect()).collect();
    let tensors: Vec<&str> = lines.iter().map(|l| l[2]).collect();
    assert_eq!(tensors, ["y", "dx", "dweight", "dbias", "mean", "var", "running_mean", "running_var"]);
    for line in lines {
        assert_eq!((line.len(), line[0], line[1]), (6, "nchw_train", "scalar"));
        let error: f64 = line[3].strip_prefix("error=").unwrap().parse().unwrap();
        let limit = if line[2] == "dx" { 5.01 } else { 4.01 };
        assert!(error <= limit);
        assert_eq!((line[4], line[5]), (format!("limit={limit}").as_str(), "ok"));
    }
    let half = replay(&[&case("nchw_train_f16")], &[]).1;
    assert!(half.lines().any(|l| l.contains(" dx error=") && l.ends_with(" limit=1.001 ok")), "{half}");
    // Of an f64 file the references are rounded as well.
    let f64 = replay(&[&case("nchw_train_f64")], &[]).1;
    assert!(f64.lines().any(|l| l.contains(" dx error=") && l.ends_with(" limit=6.01 ok")), "{f64}");
    assert!(half.lines().any(|l| l.contains(" var error=") && l.ends_with(" limit=4.01 ok")), "{half}");
}

#[test]
fn the_double_backward_is_replayed() {
    let (code, out, _) = replay(&[&case("nc_train_double_backward")], &["--digest"]);
    let good = out.lines().filter(|l| l.contains(" ok bits=")).count();
    assert_eq!((code, out.lines().count(), good), (0, 11, 11), "{out}");
    assert!(out.lines().any(|l| l.contains(" dd.x error=") && l.contains(" limit=6.01 ok")), "{out}");
}

#[test]
fn folders_are_replayed() {
    let (code, whole, err) = replay(&[&cases()], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    let parent = cases().parent().unwrap().to_path_buf();
    assert_eq!(replay(&[&parent], &[]).1, whole, "folders below count");
}

#[test]
fn an_error_beyond_its_limit_fails() {
    let folder = tempfile::tempdir().unwrap();
    for tensor in ["y", "dx", "dweight", "running_var"] {
        let path = spoiled(folder.path(), &format!("expect.{tensor}"));
        let (code, out, _) = replay(&[&path], &[]);
        assert_eq!(code, 1, "{out}");
        let failed: Vec<&str> = out.lines().filter(|l| l.ends_with(" FAIL")).collect();
        assert_eq!(failed.len(), 1, "{out}");
        assert!(failed[0].starts_with(&format!("spoiled scalar {tensor} error=")), "{out}");
    }
}

#[test]
fn the_layers_refusal_is_a_failure_of_every_tensor() {
    // One value per feature: the layer takes no batch statistics of it.
    let bytes = std::fs::read(case("nc_train_no_affine")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let data = [0u8; 64];
    let view = |dtype, dims: &[usize], width: usize| {
        let length = dims.iter().product::<usize>() * width;
        TensorView::new(dtype, dims.to_vec(), &data[..length]).unwrap()
    };
    use safetensors::tensor::Dtype::{F32, F64};
    let tensors = [
        ("x", view(F32, &[1, 3], 4)),
        ("expect.y", view(F64, &[1, 3], 8)),
        ("expect.var", view(F64, &[3], 8)),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("single.safetensors");
    std::fs::write(&path, serialize(tensors, header.metadata().clone()).unwrap()).unwrap();
    let (code, out, err) = replay(&[&path], &["--digest"]);
    assert_eq!(
        (code, out.as_str()),
        (1, "single scalar y error=inf limit=4.01 FAIL\nsingle scalar var error=inf limit=4.01 FAIL\n")
    );
    assert!(err.contains("expected more than 1 value per feature"), "{err}");
}

#[test]
fn a_digest_follows_the_bits() {
    let digests = |name: &str| -> Vec<String> {
        let (_, out, _) = replay(&[&case(name)], &["--digest"]);
        out.lines().map(|l| l.split_once(" bits=").unwrap().1.to_string()).collect()
    };
    let first = digests("nchw_train");
    assert!(first.iter().all(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit())), "{first:?}");
    assert_eq!(first, digests("nchw_train"));
    assert_ne!(first, digests("nhwc_train"));
    assert!(!replay(&[&case("nchw_train")], &[]).1.contains("bits="));
}

#[test]
fn what_is_no_case_is_said_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = std::fs::read(case("nchw_train")).unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let replaced = |from: &str, to: &str| {
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    for (path, want) in [
        (file("nothing.safetensors", b""), "nothing.safetensors: no whole safetensors file"),
        (file("text.safetensors", b"no header at all"), "text.safetensors: no whole safetensors file"),
        (
            file("short.safetensors", &whole[..whole.len() - 1]),
            "short.safetensors: no whole safetensors file",
        ),
        (file("lost.safetensors", &replaced("\"x\"", "\"z\"")), "lost.safetensors: expected a tensor \"x\""),
        (file("dims.safetensors", &replaced("[4,3,5,7]", "[4,3,7,5]")), "dims.safetensors: expected the dim"),
        (file("key.safetensors", &replaced("batchnorm-case-1", "batchnorm-case-9")), "for \"format\""),
        (folder.path().join("gone.safetensors"), "gone.safetensors: "),
        (empty, "empty: expected a folder with *.safetensors files, found none"),
    ] {
        let (code, out, err) = replay(&[&path, &case("nchw_train")], &[]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(want) && err.lines().count() == 1, "expected {want:?} in {err:?}");
        assert_eq!(out.lines().filter(|l| l.ends_with(" ok")).count(), 8, "the other file ran: {out}");
    }
    let wins =
        replay(&[&case("nchw_train_relu"), &folder.path().join("gone"), &case("nchw_train_relu")], &[]);
    assert_eq!(wins.0, 2, "2 wins over 1");
}

#[test]
fn what_a_backend_gave_is_dumped_in_its_own_types() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/dir");
    let paths = ["nchw_train", "nchw_train_f16", "nc_eval", "nchw_train_relu"].map(case);
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let dump = |name| Replay { dump: Some(dir.clone()), ..scalar(name) };
    for backend in ["scalar", "other"] {
        let (code, _, err) = run(&dump(backend), &paths);
        assert_eq!((code, err.as_str()), (0, ""), "a second run replaces nothing of the first backend's");
    }
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let mut names: Vec<String> =
        std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let stems = ["nc_eval", "nchw_train", "nchw_train_f16", "nchw_train_relu"];
    let want = stems.map(|s| ["other", "scalar"].map(|b| format!("{s}.{b}.safetensors"))).concat();
    assert_eq!(names, want);
    assert_eq!(read("nchw_train.scalar.safetensors"), read("nchw_train.other.safetensors"));

    // The values are near the expected ones, the types the tensors' own.
    use safetensors::tensor::Dtype::{F16, F32};
    for (stem, element) in [("nchw_train", F32), ("nchw_train_f16", F16)] {
        let (got, case) = (read(&format!("{stem}.scalar.safetensors")), std::fs::read(case(stem)).unwrap());
        let (got, case) = (SafeTensors::deserialize(&got).unwrap(), SafeTensors::deserialize(&case).unwrap());
        let expected: Vec<&str> =
            case.names().into_iter().filter_map(|n| n.strip_prefix("expect.")).collect();
        assert_eq!(expected.len(), 8);
        for name in expected {
            let (view, want) = (got.tensor(name).unwrap(), case.tensor(&format!("expect.{name}")).unwrap());
            assert_eq!(view.shape(), want.shape(), "{name}");
            assert_eq!(view.dtype(), if matches!(name, "y" | "dx") { element } else { F32 }, "{name}");
            if view.dtype() == F32 {
                let got: Vec<f32> =
                    view.data().as_chunks().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
                let want: Vec<f64> =
                    want.data().as_chunks().0.iter().map(|v| f64::from_le_bytes(*v)).collect();
                let close =
                    got.iter().zip(&want).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-3 + 1e-3 * w.abs());
                assert!(close && got.len() == want.len(), "{name}");
            }
        }
    }

    // Two cases of one name in a run.
    let other = folder.path().join("nchw_train.safetensors");
    std::fs::copy(case("nchw_train"), &other).unwrap();
    let (code, _, err) = run(&dump("scalar"), &[&case("nchw_train"), &other]);
    assert_eq!(code, 1);
    assert!(err.contains("nchw_train.scalar.safetensors: expected cases of different names"), "{err}");
}

#[test]
fn a_tensor_or_key_that_is_not_known_is_no_case() {
    let bytes = std::fs::read(case("nchw_train")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strange.safetensors");
    let view = TensorView::new(safetensors::tensor::Dtype::F32, vec![3], &[0; 12]).unwrap();
    let mut more = tensors.clone();
    more.push(("gain".into(), view));
    std::fs::write(&path, serialize(more, header.metadata().clone()).unwrap()).unwrap();
    let (code, out, err) = replay(&[&path], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("strange.safetensors: ") && err.contains("got \"gain\""), "{err}");

    let mut keys = header.metadata().clone().unwrap();
    keys.insert("groups".into(), "2".into());
    std::fs::write(&path, serialize(tensors, Some(keys)).unwrap()).unwrap();
    let (code, out, err) = replay(&[&path], &[]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("got \"groups\""), "{err}");
}

/// Shared out to ranks, the first of which have no sample of a small batch, the cases keep their limits.
#[test]
fn cases_in_ranks_keep_the_limits_of_the_whole() {
    for n in [1, 3, 8] {
        let replay = Replay { ranks: Some(n), ..scalar("scalar") };
        let (code, out, err) = run(&replay, &[&cases()]);
        assert_eq!((code, err.as_str()), (0, ""), "{n} ranks: {out}");
        assert!(out.lines().count() > 100);
    }
}
