//! Case files that are damaged or do not fit together: an error that says what, never a panic.

use bn_conformance::files::{FileError, Loaded, from_bytes, load, own};
use bn_conformance::measure::Row;
use bn_scalar::Scalar;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name).with_extension("safetensors")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// What is done with a file's bytes everywhere: read them, run what came out and check it.
fn use_up(bytes: &[u8]) -> Result<(), FileError> {
    let Loaded { case, .. } = from_bytes(Path::new("damaged"), bytes)?;
    let results = case.run(&Scalar).unwrap_or_default();
    for row in case.check(&results) {
        let _ = case.digest(row.tensor, results.get(row.tensor).unwrap_or_default());
    }
    Ok(())
}

#[test]
fn a_file_cut_short_is_an_error() {
    for name in ["nc_train_cs231n_gradcheck", "nc_train_constant"] {
        let whole = bytes(name);
        use_up(&whole).unwrap();
        for length in 0..whole.len() {
            assert!(use_up(&whole[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn a_damaged_header_never_panics() {
    let (mut errors, mut runs) = (0, 0);
    for name in ["nc_train_cs231n_gradcheck", "nc_train_constant", "nchw_train_f16"] {
        let mut damaged = bytes(name);
        let length = u64::from_le_bytes(damaged[..8].try_into().unwrap()) as usize;
        for i in 0..8 + length {
            let whole = damaged[i];
            for other in (0..8).map(|bit| whole ^ (1 << bit)).chain(*b"09,\"{") {
                damaged[i] = other;
                *(if use_up(&damaged).is_err() { &mut errors } else { &mut runs }) += 1;
            }
            damaged[i] = whole;
        }
    }
    assert!(errors > 1000 && runs > 1000, "{errors} errors, {runs} runs");
}

/// A case file taken apart, to be put together otherwise.
#[derive(Clone)]
struct Parts {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    keys: HashMap<String, String>,
}

impl Parts {
    fn of(name: &str) -> Self {
        let bytes = bytes(name);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let part = |(name, view): (String, TensorView<'_>)| {
            (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())
        };
        Self {
            tensors: tensors.tensors().into_iter().map(part).collect(),
            keys: header.metadata().clone().unwrap_or_default(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, dtype, dims, data)| {
            (name.clone(), TensorView::new(*dtype, dims.clone(), data).unwrap())
        });
        serialize(views, Some(self.keys.clone())).unwrap()
    }

    fn error(&self) -> String {
        match from_bytes(Path::new("the/file"), &self.bytes()) {
            Ok(_) => "no error".into(),
            Err(error) => error.to_string(),
        }
    }

    fn without(&self, tensor: &str) -> Self {
        let mut parts = self.clone();
        parts.tensors.retain(|(name, ..)| name != tensor);
        assert_ne!(parts.tensors.len(), self.tensors.len(), "{tensor} was not there");
        parts
    }

    fn with(&self, tensor: &str, dtype: Dtype, dims: &[usize]) -> Self {
        let mut parts = self.clone();
        parts.tensors.retain(|(name, ..)| name != tensor);
        let length = dims.iter().product::<usize>() * dtype.bitsize() / 8;
        parts.tensors.push((tensor.into(), dtype, dims.to_vec(), vec![0; length]));
        parts
    }

    fn key(&self, key: &str, value: Option<&str>) -> Self {
        let mut parts = self.clone();
        match value {
            Some(value) => parts.keys.insert(key.into(), value.into()),
            None => parts.keys.remove(key),
        };
        parts
    }
}

#[test]
fn what_does_not_fit_together_is_named() {
    let whole = Parts::of("nchw_train");
    assert_eq!(whole.error(), "no error");
    let dd = Parts::of("nc_train_double_backward");
    let add_relu = Parts::of("nchw_train_add_relu");
    let mut nothing = whole.clone();
    nothing.tensors.retain(|(name, ..)| !name.starts_with("expect."));
    let empty = nothing.with("x", Dtype::F32, &[0, 1 << 40]);
    let mut empty = empty.without("dy").without("weight").without("bias");
    empty.tensors.retain(|(name, ..)| !name.starts_with("running"));
    let mut twos = whole.with("mask", Dtype::U8, &[4, 5, 7]);
    twos.tensors.last_mut().unwrap().3[9] = 2;
    let mut untracked = whole.clone();
    untracked.tensors.retain(|(name, ..)| !name.contains("running"));
    let cases = [
        (whole.without("x"), "expected a tensor \"x\", found none"),
        (whole.without("bias"), "expected a tensor \"bias\" beside \"expect.dbias\", found none"),
        (whole.without("weight"), "expected a tensor \"weight\" beside \"expect.dweight\", found none"),
        (whole.without("running_var"), "expected a tensor \"running_var\", found none"),
        (whole.without("dy"), "expected a tensor \"dy\" beside \"expect.dx\", found none"),
        (nothing, "expected a tensor \"expect.*\" or more, found none"),
        (whole.with("x", Dtype::I64, &[4, 3]), "expected F16, BF16, F32 or F64 in tensor \"x\", got I64"),
        (whole.with("x", Dtype::F32, &[4]), "expected 2 dimensions or more of tensor \"x\", got [4]"),
        (
            whole.with("dy", Dtype::F32, &[4, 3, 5]),
            "expected the dimensions [4, 3, 5, 7] of tensor \"dy\", got [4, 3, 5]",
        ),
        (whole.with("dy", Dtype::F64, &[4, 3, 5, 7]), "expected F32 in tensor \"dy\", got F64"),
        (whole.with("weight", Dtype::F32, &[4]), "expected the dimensions [3] of tensor \"weight\", got [4]"),
        (whole.with("running_mean", Dtype::F16, &[3]), "expected F32 in tensor \"running_mean\", got F16"),
        (
            whole.with("expect.var", Dtype::F64, &[5]),
            "expected the dimensions [3] of tensor \"expect.var\", got [5]",
        ),
        (whole.with("expect.y", Dtype::F32, &[4, 3, 5, 7]), "expected F64 in tensor \"expect.y\", got F32"),
        (
            whole.with("expect.dresidual", Dtype::F64, &[4, 3, 5, 7]),
            "expected the activation \"add_relu\" beside \"expect.dresidual\"",
        ),
        (dd.without("v.dx"), "expected a tensor \"v.dx\" beside \"expect.dd.dy\", found none"),
        (
            dd.with("expect.dd.x", Dtype::F64, &[12]),
            "expected the dimensions [12, 7] of tensor \"expect.dd.x\", got [12]",
        ),
        (dd.with("v.dbias", Dtype::F32, &[8]), "expected the dimensions [7] of tensor \"v.dbias\", got [8]"),
        (
            add_relu.without("residual"),
            "expected a tensor \"residual\" beside the activation \"add_relu\", found none",
        ),
        (
            add_relu.with("expect.dx", Dtype::F64, &[4]),
            "expected the dimensions [4, 8, 6, 6] of tensor \"expect.dx\", got [4]",
        ),
        (whole.with("gain", Dtype::F32, &[3]), "\"v.dbias\"] and \"expect.*\", got \"gain\""),
        (whole.with("mask", Dtype::F32, &[4, 5, 7]), "expected U8 in tensor \"mask\", got F32"),
        (
            whole.with("mask", Dtype::U8, &[4, 3, 5, 7]),
            "expected the dimensions [4, 5, 7] of tensor \"mask\", got [4, 3, 5, 7]",
        ),
        (twos, "expected 0 and 1 in tensor \"mask\", got 2"),
        (whole.key("groups", Some("2")), "\"source\"], got \"groups\""),
        (whole.key("renorm", Some("3")), "expected RMAX,DMAX with RMAX of 1 or more and DMAX of 0 or more"),
        (whole.key("renorm", Some("0.5,1")), "for \"renorm\", got \"0.5,1\""),
        (whole.key("renorm", Some("2,1,1")), "for \"renorm\", got \"2,1,1\""),
        (
            untracked.key("renorm", Some("2,1")),
            "expected a tensor \"running_mean\" beside \"renorm\", found none",
        ),
        (empty, "expected at most 1048576 features in an empty tensor \"x\", got the dimensions"),
        (whole.key("format", None), "expected the metadata key \"format\", found none"),
        (
            whole.key("format", Some("batchnorm-case-2")),
            "expected one of [\"batchnorm-case-1\"] for \"format\", got \"batchnorm-case-2\"",
        ),
        (whole.key("mode", Some("test")), "for \"mode\", got \"test\""),
        (whole.key("layout", None), "expected the metadata key \"layout\", found none"),
        (whole.key("activation", Some("gelu")), "for \"activation\", got \"gelu\""),
        (whole.key("eps", Some("0")), "expected a finite number above 0 for \"eps\", got \"0\""),
        (whole.key("eps", Some("nan")), "expected a finite number above 0 for \"eps\", got \"nan\""),
        (whole.key("momentum", Some("inf")), "expected a finite number for \"momentum\", got \"inf\""),
        (whole.key("rtol", Some("1e-5")), "expected the metadata key \"atol\", found none"),
        (whole.key("num_batches_tracked", Some("-1")), "expected a count for \"num_batches_tracked\""),
        (whole.key("running_var", Some("n")), "for \"running_var\", got \"n\""),
    ];
    for (parts, want) in cases {
        let got = parts.error();
        assert!(got.starts_with("the/file: ") && got.contains(want), "expected {want:?} in {got:?}");
    }
    let unreadable = load(Path::new("no/such/file")).unwrap_err().to_string();
    assert!(unreadable.starts_with("no/such/file: "), "{unreadable}");
}

#[test]
fn what_can_be_checked_is_loaded_beside_what_cannot() {
    let Loaded { case, unsupported } = load(&path("nc_train_double_backward")).unwrap();
    assert_eq!((case.expect().iter().count(), unsupported.len()), (11, 0));

    for (absent, left) in [("weight", "bias"), ("bias", "weight")] {
        let parts = Parts::of("nchw_train").without(absent).without(&format!("expect.d{absent}"));
        let Loaded { case, unsupported } = from_bytes(Path::new("x"), &parts.bytes()).unwrap();
        assert_eq!((case.expect().iter().count(), unsupported.len()), (7, 0), "{left} alone");
    }

    for path in own().unwrap() {
        assert_eq!(load(&path).unwrap().unsupported, [], "{}", path.display());
    }

    let stranger = Parts::of("nchw_train").with("expect.skewness", Dtype::F64, &[3]);
    let Loaded { case, unsupported } = from_bytes(Path::new("x"), &stranger.bytes()).unwrap();
    assert_eq!((case.expect().iter().count(), unsupported.len()), (8, 1));
    assert_eq!(
        (unsupported[0].tensor.as_str(), unsupported[0].why.as_str()),
        ("skewness", "an unknown tensor")
    );
}

/// Where tolerances come with the case, they are the check, and none at all asks for equality.
#[test]
fn rounded_expectations_are_checked_by_their_tolerances() {
    let parts = Parts::of("nchw_train");
    for (rtol, atol, pass) in [("1e-3", "1e-3", true), ("0", "1e-30", false), ("0", "0", false)] {
        let parts = parts.key("rtol", Some(rtol)).key("atol", Some(atol));
        let case = from_bytes(Path::new("x"), &parts.bytes()).unwrap().case;
        let rows = case.check(&case.run(&Scalar).unwrap());
        assert_eq!(rows.iter().all(Row::ok), pass, "{rtol} {atol}: {rows:?}");
        assert!(case.check(case.expect()).iter().all(Row::ok), "what is expected is no error");
    }
}
