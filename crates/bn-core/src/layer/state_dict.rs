//! The tensors of one layer, to and from a file of safetensors. A file is checked as a whole before the layer is written.

use super::checkpoint::{Tensor, named};
use super::running::filled;
use super::values::{NUMBERS, VARIANCES, Values, check_count};
use super::{BatchNorm, Error, RunningStats};
use crate::kernel::Backend;
use crate::num::{Element, PerElement, Real};
use half::{bf16, f16};
use ndarray::Array1;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
const MEAN: &str = "running_mean";
const VAR: &str = "running_var";
const COUNT: &str = "num_batches_tracked";

/// What a file has for a layer, checked: as many values as the layer has features, and no other tensors than the layer has.
pub(super) struct State<R> {
    weight: Option<Array1<R>>,
    bias: Option<Array1<R>>,
    running: Option<RunningStats<R>>,
}

impl<T: Element, B: Backend> BatchNorm<T, B> {
    /// Parameters and running statistics under PyTorch's names, each behind `prefix`: `weight`, `bias`, `running_mean` and
    /// `running_var`, of shape (C,) in the type of the parameters, and `num_batches_tracked`, an i64 of shape (). A layer without
    /// affine part, or without running statistics, has none of theirs. See [`checkpoint`](super::checkpoint).
    ///
    /// A program writes them beside its other tensors:
    ///
    /// ```
    /// use batchnorm::BatchNorm;
    /// use batchnorm::safetensors::{self, Dtype, SafeTensors, tensor::TensorView};
    ///
    /// let mut bn = BatchNorm::<f32>::new(64)?;
    /// let of_bn = bn.state_dict("bn1.")?;
    /// let mut tensors: Vec<_> = of_bn.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    /// let kernel = [0; 4 * 9]; // the bytes of an f32 kernel, little endian
    /// tensors.push(("conv1.weight", TensorView::new(Dtype::F32, vec![1, 1, 3, 3], &kernel)?));
    /// let bytes = safetensors::serialize(tensors, None)?;
    ///
    /// bn.load_state_dict(&SafeTensors::deserialize(&bytes)?, "bn1.")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Strided`] where parameters or statistics were replaced by arrays of another length or with
    /// a stride.
    pub fn state_dict(&self, prefix: &str) -> Result<Vec<(String, Tensor)>, Error> {
        let (weight, bias) = self.params()?;
        let mut tensors = Vec::new();
        for (name, values) in [(WEIGHT, weight), (BIAS, bias)] {
            tensors.extend(values.map(|values| (format!("{prefix}{name}"), tensor(values))));
        }
        if let Some(RunningStats { mean, var, num_batches_tracked, left_out: _ }) = &self.running {
            tensors
                .extend([(MEAN, mean), (VAR, var)].map(|(name, v)| (format!("{prefix}{name}"), tensor(v))));
            let bytes = num_batches_tracked.to_le_bytes().to_vec();
            tensors
                .push((format!("{prefix}{COUNT}"), Tensor { dtype: Dtype::I64, shape: Vec::new(), bytes }));
        }
        Ok(tensors)
    }

    /// Loads the tensors behind `prefix` from a file that this crate or PyTorch wrote, as PyTorch's
    /// `load_state_dict(strict=True)`. Values in f16, bf16, f32 or f64 are rounded once to the type of the parameters;
    /// `num_batches_tracked` may be missing, and is 0 then. Names of others in the file are not looked at. All that is taken,
    /// and what is refused, stands at [`checkpoint`](super::checkpoint#what-loads).
    ///
    /// # Errors
    /// [`Error::State`] with the tensor's name, what it should be and what came: one that is missing, or that the layer has no use
    /// for; another shape or type; a NaN, a variance or count below 0, a finite value too large for the type. [`Error::Length`] and
    /// [`Error::Strided`] where parameters or statistics of the layer were replaced by arrays of another length or with a stride.
    /// The layer then is as it was.
    ///
    /// ```
    /// use batchnorm::{BatchNorm, checkpoint, safetensors::SafeTensors};
    ///
    /// let bytes = checkpoint::serialize([("features.1.", &BatchNorm::<f64>::new(64)?)])?; // or std::fs::read(path)?
    /// let file = SafeTensors::deserialize(&bytes)?;
    /// let mut bn = BatchNorm::<f32>::new(64)?;
    /// bn.load_state_dict(&file, "features.1.")?;
    ///
    /// let error = bn.load_state_dict(&file, "features.1").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "expected the shape [64] in the tensor \"features.1weight\", got no such tensor: the file has \"features.1.weight\""
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_state_dict(&mut self, file: &SafeTensors<'_>, prefix: &str) -> Result<(), Error> {
        let state = self.read_state(file, prefix)?;
        self.take_state(state);
        Ok(())
    }

    /// What `file` has for this layer.
    pub(super) fn read_state(
        &self,
        file: &SafeTensors<'_>,
        prefix: &str,
    ) -> Result<State<T::Compute>, Error> {
        let (weight, bias) = self.params()?;
        let named = Named { file, prefix, features: self.features };
        let running = self.running.is_some();
        let [mean, var] =
            [(MEAN, NUMBERS), (VAR, VARIANCES)].map(|(own, each)| named.values(own, running, each));
        let count = named.count(running);
        Ok(State {
            weight: named.values(WEIGHT, weight.is_some(), NUMBERS)?,
            bias: named.values(BIAS, bias.is_some(), NUMBERS)?,
            running: match (mean?, var?, count?) {
                (Some(mean), Some(var), num_batches_tracked) => {
                    // PyTorch has no name for it: the count of what is left out begins anew.
                    let left_out = filled(self.features, 0)?;
                    Some(RunningStats { mean, var, num_batches_tracked, left_out })
                }
                _ => None,
            },
        })
    }

    /// Puts what was read in the place of what the layer has.
    pub(super) fn take_state(&mut self, State { weight, bias, running }: State<T::Compute>) {
        for (own, new) in [(&mut self.weight, weight), (&mut self.bias, bias)] {
            if let Some(new) = new {
                *own = new;
            }
        }
        self.running = running;
    }
}

/// The tensors of a layer in a file: their names begin with a prefix.
struct Named<'a> {
    file: &'a SafeTensors<'a>,
    prefix: &'a str,
    features: usize,
}

impl Named<'_> {
    /// One value per feature from the tensor of this name, in a layer that has it.
    fn values<R: Real>(&self, own: &str, has: bool, each: Values) -> Result<Option<Array1<R>>, Error> {
        let shape = format!("the shape [{}]", self.features);
        let (name, view) = self.find(own, has)?;
        let Some(view) = view else {
            return if has { Err(self.missing(own, &name, shape)) } else { Ok(None) };
        };
        if view.shape() != [self.features] {
            return Err(wrong(&name, shape, format!("{:?}", view.shape())));
        }
        let values = floats(&view).ok_or_else(|| {
            wrong(&name, "values in F16, BF16, F32 or F64".into(), format!("{:?}", view.dtype()))
        })?;
        each.check(named(&name), values.iter().copied())?;
        let rounded: Array1<R> = values.iter().map(|&v| R::from_f64(v)).collect();
        let overflows = |(&v, r): (&f64, &R)| v.is_finite() && !r.to_f64().is_finite();
        match values.iter().zip(&rounded).position(overflows) {
            None => Ok(Some(rounded)),
            Some(feature) => {
                let got = format!("{:e} for feature {feature}", values[feature]);
                Err(wrong(&name, format!("numbers that {} holds", R::NAME), got))
            }
        }
    }

    /// How many batches were tracked: 0 where the file does not say so.
    fn count(&self, has: bool) -> Result<i64, Error> {
        let (name, view) = self.find(COUNT, has)?;
        let Some(view) = view else { return Ok(0) };
        // PyTorch before 0.4 had no tensors of rank 0.
        if !matches!(view.shape(), [] | [1]) {
            return Err(wrong(&name, "the shape []".into(), format!("{:?}", view.shape())));
        }
        let expected = || "a count in I64".to_string();
        let count = match view.dtype() {
            Dtype::I64 => numbers(view.data(), i64::from_le_bytes).next(),
            Dtype::I32 => numbers(view.data(), i32::from_le_bytes).next().map(i64::from),
            // Of a program that stored all tensors in one type.
            _ => match floats(&view).as_deref() {
                Some(&[v]) if v.fract() == 0.0 && v.abs() < MOST => Some(v as i64),
                Some(&[v]) => return Err(wrong(&name, expected(), v.to_string())),
                _ => None,
            },
        };
        let count = count.ok_or_else(|| wrong(&name, expected(), format!("{:?}", view.dtype())))?;
        check_count(named(&name), count)?;
        Ok(count)
    }

    /// The full name, and the tensor where the file has it. One that the layer has no use for is an error.
    fn find(&self, own: &str, has: bool) -> Result<(String, Option<TensorView<'_>>), Error> {
        let name = format!("{}{own}", self.prefix);
        let view = self.file.tensor(&name).ok();
        match &view {
            Some(view) if !has => {
                let part = if [WEIGHT, BIAS].contains(&own) { own } else { "running statistics" };
                let got = format!("one of the shape {:?}", view.shape());
                Err(wrong(&name, format!("nothing, as the layer has no {part},"), got))
            }
            _ => Ok((name, view)),
        }
    }

    /// What may have been meant.
    fn missing(&self, own: &str, name: &str, expected: String) -> Error {
        let mut names = self.file.names();
        names.sort_unstable();
        let like = names.iter().find(|n| n.ends_with(name)).or(names.iter().find(|n| n.ends_with(own)));
        let hint = like.map_or(String::new(), |like| format!(": the file has {like:?}"));
        wrong(name, expected, format!("no such tensor{hint}"))
    }
}

/// Below this every whole f64 is an i64.
const MOST: f64 = (1u64 << 63) as f64;

fn wrong(name: &str, expected: String, got: String) -> Error {
    Error::State { what: named(name), expected, got }
}

/// Little-endian numbers.
fn numbers<const N: usize, V>(bytes: &[u8], read: impl Fn([u8; N]) -> V) -> impl Iterator<Item = V> {
    bytes.as_chunks().0.iter().map(move |&number| read(number))
}

/// The values of a tensor, exactly; `None` where they are no floats that f64 holds.
fn floats(view: &TensorView<'_>) -> Option<Vec<f64>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F16 => numbers(bytes, f16::from_le_bytes).map(f64::from).collect(),
        Dtype::BF16 => numbers(bytes, bf16::from_le_bytes).map(f64::from).collect(),
        Dtype::F32 => numbers(bytes, f32::from_le_bytes).map(f64::from).collect(),
        Dtype::F64 => numbers(bytes, f64::from_le_bytes).collect(),
        _ => return None,
    })
}

/// A tensor of shape (C,).
fn tensor<'a, R: Real>(values: impl IntoIterator<Item = &'a R>) -> Tensor {
    let (dtype, write) = R::pick(Written);
    let mut bytes = Vec::new();
    let features = values.into_iter().map(|&v| write(v, &mut bytes)).count();
    Tensor { dtype, shape: vec![features], bytes }
}

/// How a file has a type: its name there, and its bytes.
struct Written;

type Write<T> = (Dtype, fn(T, &mut Vec<u8>));

impl PerElement for Written {
    type Of<T: Element> = Write<T>;

    fn f32(self) -> Write<f32> {
        (Dtype::F32, |v, to| to.extend(v.to_le_bytes()))
    }
    fn f64(self) -> Write<f64> {
        (Dtype::F64, |v, to| to.extend(v.to_le_bytes()))
    }
    #[cfg(feature = "half")]
    fn f16(self) -> Write<f16> {
        (Dtype::F16, |v, to| to.extend(v.to_le_bytes()))
    }
    #[cfg(feature = "half")]
    fn bf16(self) -> Write<bf16> {
        (Dtype::BF16, |v, to| to.extend(v.to_le_bytes()))
    }
}
