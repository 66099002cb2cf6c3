//! A shape filled with data, and the comparison of answers.

use crate::shapes::Named;
use crate::variant::Variant;
use bench_mem::pages;
use bn_conformance::data::{self, Dy, X};
use bn_core::{Element, Real};
use ndarray::{Array1, ArrayD, IxDyn};

/// What an answer may be apart from the layer's, in roundings of the type times the largest value: plain sums over a
/// long batch in the data's own precision lose the digits that the layer's keep.
const APART: f64 = 4096.0;

/// So many values are drawn, and repeated where a tensor is longer: drawing them would take longer than the
/// measurement. A prime, so that features do not hold the same values.
pub(crate) const DRAWN: usize = 1_000_003;

/// What a step starts from; x and dy lie on huge pages, see [`pages`].
#[derive(Debug)]
pub struct Inputs<T: Element> {
    /// The shape.
    pub named: Named,
    /// The input.
    pub x: ArrayD<T>,
    /// The gradient of the output.
    pub dy: ArrayD<T>,
    /// γ.
    pub weight: Array1<T::Compute>,
    /// β.
    pub bias: Array1<T::Compute>,
    /// What comes beside normalizing.
    pub variant: Variant,
    /// What is added before the activation.
    pub residual: Option<ArrayD<T>>,
    /// Which samples and positions exist.
    pub mask: Option<Vec<bool>>,
}

impl<T: Element> Inputs<T> {
    /// Seeded data: x as `kind` has it, dy normal, γ around 1 and β around 0.
    ///
    /// # Panics
    /// Never: as many values are drawn as the shape has.
    #[must_use]
    pub fn new(named: &Named, kind: X) -> Self {
        let (len, features) = (named.shape.len(), named.shape.features());
        let mut rng = data::rng(20_160_212);
        // First, so that other inputs of this shape go with the same layer.
        let mut parameter = |centre: f64| {
            Array1::from_shape_fn(features, |_| T::Compute::from_f64(centre + 0.1 * data::normal(&mut rng)))
        };
        let (weight, bias) = (parameter(1.0), parameter(0.0));
        let x: Vec<T> = data::input(kind, 0, len.min(DRAWN), &mut rng);
        let dy: Vec<T> = data::gradient(Dy::Normal, &x, &mut rng);
        let [x, dy] = [x, dy].map(|drawn| repeated(named, &drawn));
        let (variant, residual, mask) = (Variant::Plain, None, None);
        Self { named: named.clone(), x, dy, weight, bias, variant, residual, mask }
    }

    /// x as it lies in memory.
    ///
    /// # Panics
    /// Where the array was replaced by a strided one.
    #[must_use]
    pub fn x_slice(&self) -> &[T] {
        self.x.as_slice().expect("made contiguous")
    }

    /// dy as it lies in memory.
    ///
    /// # Panics
    /// As for [`x_slice`](Self::x_slice).
    #[must_use]
    pub fn dy_slice(&self) -> &[T] {
        self.dy.as_slice().expect("made contiguous")
    }

    /// The residual as it lies in memory.
    ///
    /// # Panics
    /// As for [`x_slice`](Self::x_slice).
    #[must_use]
    pub fn residual_slice(&self) -> Option<&[T]> {
        self.residual.as_ref().map(|residual| residual.as_slice().expect("made contiguous"))
    }
}

impl<T: Element> Clone for Inputs<T> {
    fn clone(&self) -> Self {
        // Not the arrays' own way: their memory is to be as it is here.
        let copy = |values: &[T]| array(&self.named, |to| to.extend_from_slice(values));
        let (x, dy) = (copy(self.x_slice()), copy(self.dy_slice()));
        let residual = self.residual_slice().map(copy);
        let (named, weight, bias) = (self.named.clone(), self.weight.clone(), self.bias.clone());
        Self { named, x, dy, weight, bias, variant: self.variant, residual, mask: self.mask.clone() }
    }
}

/// A tensor of the shape on huge pages.
fn array<T: Element>(named: &Named, fill: impl FnOnce(&mut Vec<T>)) -> ArrayD<T> {
    let values = pages::filled(named.shape.len(), fill);
    ArrayD::from_shape_vec(IxDyn(&named.dims), values).expect("as many values as the shape has")
}

/// A tensor of the shape: `drawn`, over and over.
pub(crate) fn repeated<T: Element>(named: &Named, drawn: &[T]) -> ArrayD<T> {
    let len = named.shape.len();
    array(named, |values| {
        while values.len() < len {
            values.extend_from_slice(&drawn[..drawn.len().min(len - values.len())]);
        }
    })
}

/// Where everyone who takes buffers writes: the same huge pages for all.
#[derive(Debug)]
pub struct Outputs<T: Element> {
    /// For the output.
    pub y: Vec<T>,
    /// For the gradient of the input.
    pub dx: Vec<T>,
    /// For the gradient of the residual; empty where there is none.
    pub dresidual: Vec<T>,
}

impl<T: Element> Outputs<T> {
    /// Buffers for tensors of `len` elements, without a residual's, their pages touched.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { y: buffer(len), dx: buffer(len), dresidual: Vec::new() }
    }

    /// Buffers for what a step of these inputs gives.
    #[must_use]
    pub fn of(inputs: &Inputs<T>) -> Self {
        let dresidual = inputs.residual_slice().map_or_else(Vec::new, |residual| buffer(residual.len()));
        Self { dresidual, ..Self::new(inputs.x.len()) }
    }
}

/// Not zero, for which the system hands out pages that do not exist before they are written.
fn buffer<T: Element>(len: usize) -> Vec<T> {
    let one = T::from_compute(T::Compute::from_f64(1.0));
    pages::filled(len, |values| values.resize(len, one))
}

/// The share of a step's tensors, x, dy, y and dx, that lies on huge pages; `None` where the system does not tell.
#[must_use]
pub fn huge_share<T: Element>(inputs: &Inputs<T>, outputs: &Outputs<T>) -> Option<f64> {
    pages::huge_share(&[inputs.x_slice(), inputs.dy_slice(), &outputs.y, &outputs.dx])
}

/// What a step gives.
#[derive(Clone, Debug)]
pub struct Answer<T: Element> {
    /// The output.
    pub y: Vec<T>,
    /// ∂L/∂x.
    pub dx: Vec<T>,
    /// ∂L/∂γ.
    pub dweight: Vec<T::Compute>,
    /// ∂L/∂β.
    pub dbias: Vec<T::Compute>,
    /// ∂L/∂residual; empty where there is none.
    pub dresidual: Vec<T>,
}

impl<T: Element> Answer<T> {
    /// The tensors by name, as f64.
    fn tensors(&self) -> [(&'static str, Vec<f64>); 5] {
        let wide = |values: &[T]| values.iter().map(|v| v.to_compute().to_f64()).collect();
        let parameter = |values: &[T::Compute]| values.iter().map(|v| v.to_f64()).collect();
        [
            ("y", wide(&self.y)),
            ("dx", wide(&self.dx)),
            ("dweight", parameter(&self.dweight)),
            ("dbias", parameter(&self.dbias)),
            ("dresidual", wide(&self.dresidual)),
        ]
    }

    /// Whether this is `want` but for roundings.
    ///
    /// # Errors
    /// The first value that is not, in words.
    pub fn check_close(&self, want: &Self) -> Result<(), String> {
        let roundoff = if T::NAME == "f64" { f64::EPSILON } else { f64::from(f32::EPSILON) };
        self.check(want, |want| {
            let scale = want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            move |got, want| (got - want).abs() <= APART * scale * roundoff
        })
    }

    /// Whether this is `want` to the last bit; all NaNs count as one.
    ///
    /// # Errors
    /// As for [`check_close`](Self::check_close).
    pub fn check_bits(&self, want: &Self) -> Result<(), String> {
        self.check(want, |_| |got, want| got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan())
    }

    fn check<Same: Fn(f64, f64) -> bool>(
        &self,
        want: &Self,
        of: impl Fn(&[f64]) -> Same,
    ) -> Result<(), String> {
        for ((tensor, got), (_, want)) in self.tensors().into_iter().zip(want.tensors()) {
            if got.len() != want.len() {
                return Err(format!("{tensor}: expected {} values, got {}", want.len(), got.len()));
            }
            let same = of(&want);
            let pairs = got.into_iter().zip(want);
            if let Some((i, (got, want))) = pairs.enumerate().find(|(_, (got, want))| !same(*got, *want)) {
                return Err(format!("{tensor}[{i}]: expected {want:e}, got {got:e}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::parse;

    fn answer(y: f64) -> Answer<f64> {
        Answer { y: vec![1.0, y], dx: vec![f64::NAN], dweight: vec![], dbias: vec![0.0], dresidual: vec![] }
    }

    #[test]
    fn answers_are_compared_by_bits_or_roundings() {
        let (want, near, far) = (answer(2.0), answer(2.0 + 1e-14), answer(2.001));
        assert_eq!(want.check_bits(&want), Ok(()));
        assert_eq!(near.check_bits(&want).unwrap_err(), "y[1]: expected 2e0, got 2.00000000000001e0");
        let finite = |a: &Answer<f64>| Answer { dx: vec![3.0], ..a.clone() };
        assert_eq!(finite(&near).check_close(&finite(&want)), Ok(()));
        assert_eq!(finite(&far).check_close(&finite(&want)).unwrap_err(), "y[1]: expected 2e0, got 2.001e0");
        assert!(want.check_close(&want).unwrap_err().starts_with("dx[0]"), "a NaN is close to nothing");
        let short = Answer { dbias: vec![], ..want.clone() };
        assert_eq!(short.check_bits(&want).unwrap_err(), "dbias: expected 1 values, got 0");
    }

    #[test]
    fn long_tensors_repeat_what_was_drawn() {
        let named = &parse("a NC 1000100x2").unwrap()[0];
        let inputs = Inputs::<f32>::new(named, X::Shifted);
        let x = inputs.x_slice();
        assert_eq!((x.len(), inputs.weight.len()), (2_000_200, 2));
        assert_eq!(x[..1000], x[DRAWN..DRAWN + 1000]);
        assert_ne!(x[0], inputs.dy_slice()[0]);
    }
}
