//! What a peer is given to compute: a shape, and raw files beside it.

use crate::Error;
use benches::shapes;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

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

/// What comes beside normalizing: nothing, so far. Another variant is an error that names it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Variant {
    #[default]
    Plain,
}

/// What `load` asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    dims: Vec<usize>,
    layout: String,
    /// The type of all tensors.
    pub dtype: Dtype,
    /// How many threads may run.
    pub threads: NonZeroUsize,
    /// What is added to the variance.
    pub eps: f64,
    folder: PathBuf,
    #[serde(default, rename = "variant")]
    _variant: Variant,
}

impl Case {
    /// The dimensions as (outer, features, inner), which every contiguous tensor with a feature axis has.
    ///
    /// # Errors
    /// Where there is no such layout, the number of dimensions is not the layout's, or memory has not their product.
    pub fn shape(&self) -> Result<[usize; 3], Error> {
        let dims: Vec<String> = self.dims.iter().map(ToString::to_string).collect();
        let list = shapes::parse(&format!("case {} {}", self.layout.to_uppercase(), dims.join("x")))?;
        let shape = list[0].shape;
        Ok([shape.outer(), shape.features(), shape.inner()])
    }

    /// Reads the inputs.
    ///
    /// # Errors
    /// Those of [`shape`](Self::shape); a file that is not there or has another length.
    pub fn inputs(&self) -> Result<Inputs, Error> {
        let [outer, features, inner] = self.shape()?;
        let read = |name: &str, values: usize| {
            let (path, expected) = (self.folder.join(name), values.saturating_mul(self.dtype.bytes()));
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
        let elements = outer * features * inner;
        for (name, bytes, values) in [
            ("y.bin", &outputs.y, elements),
            ("dx.bin", &outputs.dx, elements),
            ("dweight.bin", &outputs.dweight, features),
            ("dbias.bin", &outputs.dbias, features),
        ] {
            let (path, expected) = (self.folder.join(name), values * self.dtype.bytes());
            if bytes.len() != expected {
                return Err(
                    format!("{name}: expected {expected} bytes from the peer, got {}", bytes.len()).into()
                );
            }
            std::fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
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
