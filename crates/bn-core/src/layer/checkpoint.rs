//! Checkpoints: files of [safetensors](https://github.com/huggingface/safetensors) under the names of PyTorch's `state_dict`.
//!
//! A layer that a model calls `block.bn` has the prefix `block.bn.`, and these tensors:
//!
//! | name | type, shape | of |
//! | --- | --- | --- |
//! | `block.bn.weight` | that of the parameters, (C,) | a layer with γ |
//! | `block.bn.bias` | likewise | a layer with β |
//! | `block.bn.running_mean` | likewise | a layer that tracks statistics |
//! | `block.bn.running_var` | likewise | likewise |
//! | `block.bn.num_batches_tracked` | i64, () | likewise |
//!
//! [`serialize`] makes a file of several layers, and [`load`] reads one. The methods [`state_dict`](BatchNorm::state_dict) and
//! [`load_state_dict`](BatchNorm::load_state_dict) give and take the tensors of one layer, beside those of others. Settings are
//! no part of the file: as in PyTorch, `eps` and `momentum` are those of the layer that loads.
//!
//! # What loads
//!
//! As `load_state_dict(strict=True)` has it, but where the last column says otherwise:
//!
//! | in the file | is | PyTorch 2 |
//! | --- | --- | --- |
//! | values in f16, bf16, f32 or f64 | rounded once to the type of the parameters | the same |
//! | a finite f64 that f32 does not hold | refused | becomes an infinity |
//! | a NaN, a variance below 0 | refused | loads |
//! | integers as parameters or statistics | refused | converted |
//! | no `num_batches_tracked` (before PyTorch 0.4.1) | a count of 0 | the layer's own stays |
//! | the count as i32, or as a float without fraction, of shape () or (1,) | taken | the same |
//! | another tensor missing, of another shape | refused | the same |
//! | one of the five names that the layer has no use for | refused | the same |
//! | counts of what features [left out](crate::NonFinite) | not stored: they begin at 0, and all batches count | has none |
//! | any other name | not looked at | refused, unless another module has it |

use super::BatchNorm;
use super::error::Error;
use crate::kernel::Backend;
use crate::num::Element;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeSet;

/// A tensor as a file holds it, its values little endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

impl Tensor {
    /// The tensor as the crate `safetensors` takes it.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, safetensors::Dtype};
    ///
    /// let tensors = BatchNorm::<f32>::new(3)?.state_dict("bn1.")?;
    /// let (name, weight) = &tensors[0];
    /// assert_eq!((name.as_str(), weight.view().dtype(), weight.view().shape()), ("bn1.weight", Dtype::F32, &[3][..]));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    #[must_use]
    pub fn view(&self) -> TensorView<'_> {
        let view = TensorView::new(self.dtype, self.shape.clone(), &self.bytes);
        view.unwrap_or_else(|_| unreachable!("as many bytes as its shape asks for"))
    }
}

/// A file of several layers, each with its prefix. The same layers give the same bytes.
///
/// Layers of different types, or other tensors beside them: [`BatchNorm::state_dict`].
///
/// # Errors
/// [`Error::State`] where two layers have the same prefix, [`Error::Length`] and [`Error::Strided`] where parameters or
/// statistics were replaced by arrays of another length or with a stride.
///
/// ```
/// use batchnorm::{BatchNorm, checkpoint};
///
/// let (bn1, mut bn2) = (BatchNorm::<f32>::new(64)?, BatchNorm::<f32>::new(32)?);
/// bn2.bias.fill(0.5);
/// let bytes = checkpoint::serialize([("bn1.", &bn1), ("bn2.", &bn2)])?;
/// // std::fs::write("norms.safetensors", &bytes)?
///
/// let (mut a, mut b) = (BatchNorm::<f32>::new(64)?, BatchNorm::<f32>::new(32)?);
/// checkpoint::load(&bytes, [("bn1.", &mut a), ("bn2.", &mut b)])?;
/// assert_eq!((a.bias, b.bias), (bn1.bias, bn2.bias));
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn serialize<'a, P: AsRef<str>, T: Element, B: Backend + 'a>(
    layers: impl IntoIterator<Item = (P, &'a BatchNorm<T, B>)>,
) -> Result<Vec<u8>, Error> {
    let (mut tensors, mut names) = (Vec::new(), BTreeSet::new());
    for (prefix, layer) in layers {
        for (name, tensor) in layer.state_dict(prefix.as_ref())? {
            if !names.insert(name.clone()) {
                let got = "that of two layers: each needs a prefix of its own".into();
                return Err(Error::State { what: named(&name), expected: "one layer's values".into(), got });
            }
            tensors.push((name, tensor));
        }
    }
    let views = tensors.iter().map(|(name, tensor)| (name, tensor.view()));
    safetensors::serialize(views, None).map_err(|error| Error::State {
        what: "the layers".into(),
        expected: "what a safetensors file holds".into(),
        got: error.to_string(),
    })
}

/// Loads several layers from the bytes of one file, each by its prefix. All of them are checked before the first is written:
/// where one is refused, all stay as they are. What loads stands [above](self).
///
/// # Errors
/// [`Error::State`] with the tensor's name, what it should be and what came; for bytes that are no file of safetensors, or are cut
/// short, it says so. [`Error::Length`] and [`Error::Strided`] where parameters or statistics of a layer were replaced by arrays
/// of another length or with a stride.
///
/// ```
/// use batchnorm::{BatchNorm, checkpoint};
///
/// let bytes = checkpoint::serialize([("bn1.", &BatchNorm::<f32>::new(64)?)])?;
/// let mut bn = BatchNorm::<f32>::new(32)?;
/// let error = checkpoint::load(&bytes, [("bn1.", &mut bn)]).unwrap_err();
/// assert_eq!(error.to_string(), "expected the shape [32] in the tensor \"bn1.weight\", got [64]");
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub fn load<'a, P: AsRef<str>, T: Element, B: Backend + 'a>(
    bytes: &[u8],
    layers: impl IntoIterator<Item = (P, &'a mut BatchNorm<T, B>)>,
) -> Result<(), Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| Error::State {
        what: "the bytes".into(),
        expected: "a whole safetensors file".into(),
        got: format!("{} of them: {error}", bytes.len()),
    })?;
    let read = |(prefix, layer): (P, &'a mut BatchNorm<T, B>)| {
        layer.read_state(&file, prefix.as_ref()).map(|state| (layer, state))
    };
    let checked: Vec<_> = layers.into_iter().map(read).collect::<Result<_, _>>()?;
    for (layer, state) in checked {
        layer.take_state(state);
    }
    Ok(())
}

/// A tensor in a message.
pub(super) fn named(name: &str) -> std::borrow::Cow<'static, str> {
    format!("the tensor {name:?}").into()
}
