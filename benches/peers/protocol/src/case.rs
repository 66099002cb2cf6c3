//! What a peer is given to compute: a shape, and raw files beside it.

use crate::Error;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A layout by its axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "a name says all")]
pub enum Layout {
    Nc,
    Ncl,
    Nchw,
    Ncdhw,
    Nlc,
    Nhwc,
    Ndhwc,
}

impl Layout {
    /// Number of axes, and which of them is the features'.
    fn axes(self) -> (usize, usize) {
        match self {
            Self::Nc => (2, 1),
            Self::Ncl => (3, 1),
            Self::Nchw => (4, 1),
            Self::Ncdhw => (5, 1),
            Self::Nlc => (3, 2),
            Self::Nhwc => (4, 3),
            Self::Ndhwc => (5, 4),
        }
    }
}

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "a name says all")]
pub enum Dtype {
    F32,
    F64,
}

impl Dtype {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// What `load` asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    dims: Vec<usize>,
    layout: Layout,
    /// The type of all tensors.
    pub dtype: Dtype,
    /// How many threads may run.
    pub threads: NonZeroUsize,
    /// What is added to the variance.
    pub eps: f64,
    folder: PathBuf,
}

impl Case {
    /// The dimensions as (outer, features, inner), which every contiguous tensor with a feature axis has.
    ///
    /// # Errors
    /// Where the number of dimensions is not the layout's, or their product is no number of bytes.
    pub fn shape(&self) -> Result<[usize; 3], Error> {
        let Self { dims, layout, .. } = self;
        let (rank, axis) = layout.axes();
        if dims.len() != rank {
            let layout = format!("{layout:?}").to_lowercase();
            return Err(format!("expected {rank} dimensions for {layout}, got {dims:?}").into());
        }
        let most = isize::MAX as usize / self.dtype.bytes();
        if dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > most) {
            return Err(format!("expected at most {most} elements, got {dims:?}").into());
        }
        Ok([dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()])
    }

    /// Reads the inputs.
    ///
    /// # Errors
    /// Those of [`shape`](Self::shape); a file that is not there or has another length.
    pub fn inputs(&self) -> Result<Inputs, Error> {
        let [outer, features, inner] = self.shape()?;
        let read = |name: &str, values: usize| {
            let (path, expected) = (self.folder.join(name), values * self.dtype.bytes());
            let wrong = |got: String| format!("{}: expected {expected} bytes, got {got}", path.display());
            let bytes = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
            if bytes.len() == expected { Ok(bytes) } else { Err(wrong(bytes.len().to_string())) }
        };
        let elements = outer * features * inner;
        Ok(Inputs {
            x: read("x.bin", elements)?,
            dy: read("dy.bin", elements)?,
            weight: read("weight.bin", features)?,
            bias: read("bias.bin", features)?,
        })
    }

    /// Writes the results beside the inputs.
    ///
    /// # Errors
    /// A result of another length than it should have; what the system says.
    pub fn write(&self, outputs: &Outputs) -> Result<(), Error> {
        let [outer, features, inner] = self.shape()?;
        let write = |name: &str, bytes: &[u8], values: usize| {
            let (path, expected) = (self.folder.join(name), values * self.dtype.bytes());
            let wrong = |what: String| format!("{}: {what}", path.display());
            if bytes.len() != expected {
                return Err(wrong(format!("expected {expected} bytes from the peer, got {}", bytes.len())));
            }
            std::fs::write(&path, bytes).map_err(|error| wrong(error.to_string()))
        };
        let elements = outer * features * inner;
        write("y.bin", &outputs.y, elements)?;
        write("dx.bin", &outputs.dx, elements)?;
        write("dweight.bin", &outputs.dweight, features)?;
        Ok(write("dbias.bin", &outputs.dbias, features)?)
    }
}

/// Raw little-endian values, x and dy row-major in the case's order.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the tensors' names")]
pub struct Inputs {
    pub x: Vec<u8>,
    pub dy: Vec<u8>,
    pub weight: Vec<u8>,
    pub bias: Vec<u8>,
}

/// Raw little-endian values, y and dx row-major in the case's order.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the tensors' names")]
pub struct Outputs {
    pub y: Vec<u8>,
    pub dx: Vec<u8>,
    pub dweight: Vec<u8>,
    pub dbias: Vec<u8>,
}
