//! Cases from safetensors files, in the format of cases/README.md.

mod dump;
mod parse;
mod write;

use crate::any::AnyCase;
use bn_core::Element;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use dump::dump;
pub use write::to_bytes;

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
    #[error("{}: no whole safetensors file: {source}", path.display())]
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
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The case, with the expectations that can be checked; there may be none left.
    pub case: AnyCase,
    /// The other expectations.
    pub unsupported: Vec<Unsupported>,
}

/// An expected tensor that the layer does not compute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name, as in `expect.NAME`.
    pub tensor: String,
    /// What is missing.
    pub why: String,
}

/// Reads a case.
///
/// # Errors
/// [`FileError`], naming the file and the tensor or key at fault.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.into(), source })?;
    from_bytes(path, &bytes)
}

/// As [`load`], from the file's bytes.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Loaded, FileError> {
    let format = |source| FileError::Format { path: path.into(), source };
    let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
    let empty = HashMap::new();
    let file = File { path, tensors, keys: header.metadata().as_ref().unwrap_or(&empty) };
    file.one_of("format", file.key("format")?, &[("batchnorm-case-1", ())])?;
    match file.tensor("x")?.dtype() {
        Dtype::F32 => file.loaded(AnyCase::F32),
        Dtype::F64 => file.loaded(AnyCase::F64),
        Dtype::F16 => file.loaded(AnyCase::F16),
        Dtype::BF16 => file.loaded(AnyCase::Bf16),
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
    /// Appends the value's bytes.
    fn write(self, bytes: &mut Vec<u8>);
}

macro_rules! stored {
    ($t:ident, $dtype:ident) => {
        impl Stored for $t {
            const DTYPE: Dtype = Dtype::$dtype;
            fn read(bytes: &[u8]) -> Vec<Self> {
                let (values, _) = bytes.as_chunks();
                values.iter().map(|v| Self::from_le_bytes(*v)).collect()
            }
            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
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

    fn key(&self, key: &str) -> Result<&str, FileError> {
        let value = self.keys.get(key).map(String::as_str);
        value.ok_or_else(|| self.wrong(format!("expected the metadata key {key:?}, found none")))
    }

    /// The finite number of a key, which must be as `good` has it and `want` says.
    fn number(&self, key: &str, want: &str, good: fn(f64) -> bool) -> Result<f64, FileError> {
        let value = self.key(key)?;
        let number = value.parse().ok().filter(|v: &f64| v.is_finite() && good(*v));
        number.ok_or_else(|| self.wrong(format!("expected a finite number{want} for {key:?}, got {value:?}")))
    }

    fn one_of<'v, V>(&self, key: &str, value: &str, known: &'v [(&str, V)]) -> Result<&'v V, FileError> {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let found = known.iter().find(|(name, _)| *name == value).map(|(_, v)| v);
        found.ok_or_else(|| self.wrong(format!("expected one of {names:?} for {key:?}, got {value:?}")))
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, FileError> {
        self.tensors.tensor(name).map_err(|_| self.wrong(format!("expected a tensor {name:?}, found none")))
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.names().contains(&name)
    }

    /// The tensor `name`, of the type and dimensions that it must have.
    fn values<T: Stored>(&self, name: &str, dims: &[usize]) -> Result<Vec<T>, FileError> {
        Ok(T::read(self.bytes(name, T::DTYPE, dims)?))
    }

    /// As [`Self::values`], of any type.
    fn bytes(&self, name: &str, dtype: Dtype, dims: &[usize]) -> Result<&[u8], FileError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != dtype {
            let got = tensor.dtype();
            return Err(self.wrong(format!("expected {dtype:?} in tensor {name:?}, got {got:?}")));
        }
        if tensor.shape() != dims {
            let got = tensor.shape();
            return Err(
                self.wrong(format!("expected the dimensions {dims:?} of tensor {name:?}, got {got:?}"))
            );
        }
        Ok(tensor.data())
    }

    /// The tensor `name`, where it is there.
    fn optional<T: Stored>(&self, name: &str, dims: &[usize]) -> Result<Option<Vec<T>>, FileError> {
        self.has(name).then(|| self.values(name, dims)).transpose()
    }

    /// Both tensors of a pair, or `None` where neither is there.
    fn pair<T: Stored>(&self, names: [&str; 2], dims: &[usize]) -> Result<Option<[Vec<T>; 2]>, FileError> {
        if !names.iter().any(|name| self.has(name)) {
            return Ok(None);
        }
        Ok(Some([self.values(names[0], dims)?, self.values(names[1], dims)?]))
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
