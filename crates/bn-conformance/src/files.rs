//! Cases from safetensors files, in the format of cases/README.md.

use crate::case::{Case, Results, Tensor};
use bn_core::config::{Config, RunningVar};
use bn_core::{Element, Layout, Mode};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What the layer does not do yet, as (file in `cases/`, what is missing). A file stands here or is replayed.
pub const NOT_YET: &[(&str, &str)] = &[
    ("nc_train_double_backward", "expect.dd.*: the double backward"),
    ("nchw_train_add_relu", "activation add_relu"),
    ("nchw_train_relu", "activation relu"),
];

/// Why a file is no case that can be run. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no safetensors file.
    #[error("{}: no safetensors file: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: SafeTensorError,
    },
    /// The file does not hold a case.
    #[error("{}: {what}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What was expected and what came.
        what: String,
    },
    /// A case that the layer does not do yet.
    #[error("{}: not supported yet: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
}

/// A case of one of the element types.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the types")]
pub enum AnyCase {
    F32(Case<f32>),
    F64(Case<f64>),
    F16(Case<f16>),
    Bf16(Case<bf16>),
}

/// Reads a case.
///
/// # Errors
/// [`FileError`], naming the file and the tensor or key at fault.
pub fn load(path: &Path) -> Result<AnyCase, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.into(), source })?;
    let format = |source| FileError::Format { path: path.into(), source };
    let tensors = SafeTensors::deserialize(&bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
    let empty = HashMap::new();
    let file = File { path, tensors, keys: header.metadata().as_ref().unwrap_or(&empty) };
    file.supported()?;
    match file.tensor("x")?.dtype() {
        Dtype::F32 => file.case().map(AnyCase::F32),
        Dtype::F64 => file.case().map(AnyCase::F64),
        Dtype::F16 => file.case().map(AnyCase::F16),
        Dtype::BF16 => file.case().map(AnyCase::Bf16),
        other => Err(file.wrong(format!("expected F16, BF16, F32 or F64 in tensor \"x\", got {other:?}"))),
    }
}

/// An opened file.
struct File<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    keys: &'a HashMap<String, String>,
}

/// An element type that files hold.
trait Stored: Element {
    const DTYPE: Dtype;
    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! stored {
    ($t:ident, $dtype:ident) => {
        impl Stored for $t {
            const DTYPE: Dtype = Dtype::$dtype;
            fn read(bytes: &[u8]) -> Vec<Self> {
                let (values, _) = bytes.as_chunks();
                values.iter().map(|v| Self::from_le_bytes(*v)).collect()
            }
        }
    };
}

stored!(f32, F32);
stored!(f64, F64);
stored!(f16, F16);
stored!(bf16, BF16);

impl File<'_> {
    fn wrong(&self, what: String) -> FileError {
        FileError::Case { path: self.path.into(), what }
    }

    fn unsupported(&self, what: String) -> FileError {
        FileError::Unsupported { path: self.path.into(), what }
    }

    fn key(&self, key: &str) -> Result<&str, FileError> {
        let value = self.keys.get(key).map(String::as_str);
        value.ok_or_else(|| self.wrong(format!("expected the metadata key {key:?}, found none")))
    }

    fn number(&self, key: &str) -> Result<f64, FileError> {
        let value = self.key(key)?;
        value.parse().map_err(|_| self.wrong(format!("expected a number for {key:?}, got {value:?}")))
    }

    fn one_of<'v, V>(&self, key: &str, value: &str, known: &'v [(&str, V)]) -> Result<&'v V, FileError> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let found = known.iter().find(|(name, _)| *name == value).map(|(_, v)| v);
        found.ok_or_else(|| self.wrong(format!("expected one of {names:?} for {key:?}, got {value:?}")))
    }

    fn supported(&self) -> Result<(), FileError> {
        self.one_of("format", self.key("format")?, &[("batchnorm-case-1", ())])?;
        let activation = self.key("activation")?;
        if !*self.one_of("activation", activation, &[("none", true), ("relu", false), ("add_relu", false)])? {
            return Err(self.unsupported(format!("activation {activation}")));
        }
        if self.tensors.names().iter().any(|name| name.starts_with("expect.dd.")) {
            return Err(self.unsupported("expect.dd.*: the double backward".into()));
        }
        Ok(())
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, FileError> {
        self.tensors.tensor(name).map_err(|_| self.wrong(format!("expected a tensor {name:?}, found none")))
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.names().contains(&name)
    }

    /// The tensor `name`, of the type and dimensions that it must have.
    fn values<T: Stored>(&self, name: &str, dims: &[usize]) -> Result<Vec<T>, FileError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != T::DTYPE {
            let (want, got) = (T::DTYPE, tensor.dtype());
            return Err(self.wrong(format!("expected {want:?} in tensor {name:?}, got {got:?}")));
        }
        if tensor.shape() != dims {
            let got = tensor.shape();
            return Err(
                self.wrong(format!("expected the dimensions {dims:?} of tensor {name:?}, got {got:?}"))
            );
        }
        Ok(T::read(tensor.data()))
    }

    /// Both tensors of a pair, or `None` where neither is there.
    fn pair<T: Stored>(&self, names: [&str; 2], dims: &[usize]) -> Result<Option<[Vec<T>; 2]>, FileError> {
        if !names.iter().any(|name| self.has(name)) {
            return Ok(None);
        }
        Ok(Some([self.values(names[0], dims)?, self.values(names[1], dims)?]))
    }

    fn config(&self) -> Result<Config, FileError> {
        let momentum = match self.key("momentum")? {
            "none" => None,
            _ => Some(self.number("momentum")?),
        };
        let layouts = [("channels_first", Layout::ChannelsFirst), ("channels_last", Layout::ChannelsLast)];
        let kinds = [("unbiased", RunningVar::Unbiased), ("biased", RunningVar::Biased)];
        let kind = self.keys.get("running_var").map_or("unbiased", String::as_str);
        Ok(Config {
            eps: self.number("eps")?,
            momentum,
            running_var: *self.one_of("running_var", kind, &kinds)?,
            layout: *self.one_of("layout", self.key("layout")?, &layouts)?,
            ..Config::default()
        })
    }

    fn case<T: Stored>(&self) -> Result<Case<T>, FileError>
    where
        T::Compute: Stored,
    {
        let config = self.config()?;
        let dims = self.tensor("x")?.shape().to_vec();
        if dims.len() < 2 {
            return Err(self.wrong(format!("expected 2 dimensions or more of tensor \"x\", got {dims:?}")));
        }
        let modes = [("train", Mode::Train), ("eval", Mode::Eval)];
        let tracked = self.keys.get("num_batches_tracked").map_or("0", String::as_str);
        let mut case = Case {
            name: self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            mode: *self.one_of("mode", self.key("mode")?, &modes)?,
            config,
            num_batches_tracked: tracked.parse().map_err(|_| {
                self.wrong(format!("expected a count for \"num_batches_tracked\", got {tracked:?}"))
            })?,
            x: self.values("x", &dims)?,
            dy: self.has("dy").then(|| self.values("dy", &dims)).transpose()?,
            dims,
            affine: None,
            running: None,
            expect: Results::default(),
            rounded: None,
        };
        let c = [case.features()];
        case.affine = self.pair::<T::Compute>(["weight", "bias"], &c)?;
        case.running = self.pair::<T::Compute>(["running_mean", "running_var"], &c)?;
        if self.keys.contains_key("rtol") || self.keys.contains_key("atol") {
            case.rounded = Some((self.number("rtol")?, self.number("atol")?));
        }
        for tensor in Tensor::ALL {
            let name = format!("expect.{tensor}");
            if self.has(&name) {
                let dims = if matches!(tensor, Tensor::Y | Tensor::Dx) { &case.dims[..] } else { &c[..] };
                let values = self.values::<f64>(&name, dims)?;
                case.expect.insert(tensor, values);
            }
        }
        self.consistent(&case)?;
        Ok(case)
    }

    /// What is expected must follow from what is there.
    fn consistent<T: Element>(&self, case: &Case<T>) -> Result<(), FileError> {
        let missing = |expected: &[Tensor], there: bool, input: &str| {
            let asked = expected.iter().find(|t| !there && case.expect.get(**t).is_some());
            asked.map_or(Ok(()), |t| {
                Err(self.wrong(format!("expected a tensor {input:?} beside \"expect.{t}\", found none")))
            })
        };
        missing(&[Tensor::Dx, Tensor::Dweight, Tensor::Dbias], case.dy.is_some(), "dy")?;
        missing(&[Tensor::RunningMean, Tensor::RunningVar], case.running.is_some(), "running_mean")?;
        missing(&[Tensor::Dweight, Tensor::Dbias], case.affine.is_some(), "weight")?;
        let mut known = self.tensors.names().into_iter().filter(|n| n.starts_with("expect."));
        let stranger =
            known.find(|n| !Tensor::ALL.iter().any(|t| n.strip_prefix("expect.") == Some(t.name())));
        stranger.map_or(Ok(()), |name| Err(self.unsupported(format!("tensor {name:?}"))))
    }
}

/// The files in this crate's `cases/`, sorted by name.
///
/// # Errors
/// [`FileError::Read`] where the folder cannot be read.
pub fn own() -> Result<Vec<PathBuf>, FileError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let read = |source| FileError::Read { path: folder.clone(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What [`NOT_YET`] says about a file.
#[must_use]
pub fn not_yet(path: &Path) -> Option<&'static str> {
    let stem = path.file_stem()?.to_str()?;
    NOT_YET.iter().find(|(name, _)| *name == stem).map(|(_, why)| *why)
}
