//! Hard data: what leaves a type's comfortable range, made of ordinary inputs.
//!
//! Each kind was seen in training, or costs a naive layer its digits or its speed. Unused weights of a
//! trained network decay towards 0. Loss scaling makes gradients infinite. A penalty on outputs makes
//! them constant.

use crate::inputs::Inputs;
use bn_core::{Element, Real};
use ndarray::Axis;

/// The NaNs of a kind lie so far apart: a prime, so that features share them out.
const APART: usize = 9973;

/// Of so many features one has a decayed weight, where not all have.
const ONE_OF: usize = 64;

/// What a tensor is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fill {
    /// γ has this value, in every feature or in one of [`ONE_OF`].
    Weight { value: f64, everywhere: bool },
    /// x lies around this value, σ being 0.4 of it.
    X(f64),
    /// dy is normal, with this σ.
    Dy(f64),
    /// dy is normal, an eighth of the least normal number being its σ.
    Subnormal,
    /// dy has this value throughout, x is normal around 0 with this σ.
    Constant { dy: f64, sigma: f64 },
    /// Every [`APART`]th dy is NaN.
    Nan,
    /// Every dy is infinite.
    Infinite,
    /// One dy of each feature is infinite: which infinity dγ is must be looked up.
    OneInfinite,
}

/// A kind of hard data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hard(Fill);

impl Hard {
    /// The kinds that an element type can hold.
    #[must_use]
    pub fn all<T: Element>() -> Vec<Self> {
        let weights = |values: &[f64]| -> Vec<Fill> {
            let both = |&value| [true, false].map(|everywhere| Fill::Weight { value, everywhere });
            values.iter().flat_map(both).collect()
        };
        let mut fills = match T::NAME {
            "f64" => weights(&[1e-290]),
            _ => weights(&[1e-33, 1e-41]),
        };
        match T::NAME {
            "f64" => fills.extend([Fill::X(1e305), Fill::X(1e-140), Fill::Dy(1e-290)]),
            // None of it is in the range of f16.
            "f16" => {}
            _ => fills.extend([Fill::X(1e35), Fill::X(1e-36), Fill::Dy(1e-31)]),
        }
        fills.extend([Fill::Subnormal, Fill::Constant { dy: 1e-6, sigma: 1e4 }]);
        fills.extend([Fill::Nan, Fill::Infinite, Fill::OneInfinite]);
        fills.into_iter().map(Self).collect()
    }

    /// The name that reports use: `weight_1e-33`, `weight_1e-33_one_of_64`, `dy_nan`.
    #[must_use]
    pub fn name(self) -> String {
        match self.0 {
            Fill::Weight { value, everywhere: true } => format!("weight_{value:e}"),
            Fill::Weight { value, everywhere: false } => format!("weight_{value:e}_one_of_{ONE_OF}"),
            Fill::X(value) => format!("x_{value:e}"),
            Fill::Dy(sigma) => format!("dy_{sigma:e}"),
            Fill::Subnormal => "dy_subnormal".into(),
            Fill::Constant { .. } => "dy_constant".into(),
            Fill::Nan => "dy_nan".into(),
            Fill::Infinite => "dy_infinite".into(),
            Fill::OneInfinite => "dy_one_infinite".into(),
        }
    }

    /// The most that a pass may take, as a multiple of an ordinary one's time.
    #[must_use]
    pub fn bar<T: Element>(self) -> f64 {
        match self.0 {
            Fill::Nan | Fill::Infinite | Fill::OneInfinite => 4.0,
            _ if T::NAME == "f64" => 30.0,
            Fill::Weight { everywhere: false, .. } => 1.1,
            _ => 4.0,
        }
    }

    /// Whether a short run takes it: decayed weights, and a NaN now and then.
    #[must_use]
    pub fn is_common(self) -> bool {
        matches!(self.0, Fill::Nan | Fill::Weight { everywhere: true, value: 1e-33 })
    }

    /// Data of this kind, as many as the ordinary ones, whose x is 12 ± 5 and whose dy is normal.
    #[must_use]
    pub fn of<T: Element>(self, ordinary: &Inputs<T>) -> Inputs<T> {
        let mut inputs = ordinary.clone();
        match self.0 {
            Fill::Weight { value, everywhere } => {
                let step = if everywhere { 1 } else { ONE_OF };
                // Not the first: of few features one has it as well.
                let first = (step / 3).min(inputs.weight.len().saturating_sub(1));
                let weights = inputs.weight.iter_mut().skip(first).step_by(step);
                weights.for_each(|weight| *weight = T::Compute::from_f64(value));
            }
            Fill::X(value) => map(&mut inputs.x, |x| x / 12.0 * value),
            Fill::Dy(sigma) => map(&mut inputs.dy, |dy| dy * sigma),
            Fill::Subnormal => map(&mut inputs.dy, |dy| dy * (least_normal::<T>() / 8.0)),
            Fill::Constant { dy, sigma } => {
                map(&mut inputs.dy, |_| dy);
                map(&mut inputs.x, |x| (x - 12.0) / 5.0 * sigma);
            }
            Fill::Nan => {
                let nan = T::from_compute(T::Compute::from_f64(f64::NAN));
                inputs.dy.iter_mut().step_by(APART).for_each(|dy| *dy = nan);
            }
            Fill::Infinite => map(&mut inputs.dy, |_| f64::INFINITY),
            Fill::OneInfinite => {
                let infinity = T::from_compute(T::Compute::from_f64(f64::INFINITY));
                let mut sample = inputs.dy.index_axis_mut(Axis(0), 0);
                for mut feature in sample.axis_iter_mut(Axis(0)) {
                    if let Some(dy) = feature.first_mut() {
                        *dy = infinity;
                    }
                }
            }
        }
        inputs
    }
}

/// Each value computed anew in f64 and rounded.
fn map<T: Element>(values: &mut ndarray::ArrayD<T>, f: impl Fn(f64) -> f64) {
    values.mapv_inplace(|v| T::from_compute(T::Compute::from_f64(f(v.to_compute().to_f64()))));
}

/// The least normal number of the type.
fn least_normal<T: Element>() -> f64 {
    match T::NAME {
        "f64" => f64::MIN_POSITIVE,
        "f16" => 2f64.powi(-14),
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::parse;
    use bn_conformance::data::X;
    use half::{bf16, f16};

    /// The least and largest size of finite x, dy and γ.
    type Sizes = [(f64, f64); 3];

    /// The kinds of a type by name, and how many dy are not finite.
    fn kinds<T: Element>() -> Vec<(String, Sizes, usize)> {
        let ordinary = Inputs::<T>::new(&parse("a NC 2000x65").unwrap()[0], X::Shifted);
        let sizes = |values: &mut dyn Iterator<Item = f64>| {
            values
                .map(f64::abs)
                .filter(|v| v.is_finite())
                .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)))
        };
        let of = |hard: Hard| {
            let inputs = hard.of(&ordinary);
            let of_t = |v: &T| v.to_compute().to_f64();
            let found = [
                sizes(&mut inputs.x.iter().map(of_t)),
                sizes(&mut inputs.dy.iter().map(of_t)),
                sizes(&mut inputs.weight.iter().map(|v| v.to_f64())),
            ];
            let wild = inputs.dy.iter().filter(|v| !of_t(v).is_finite()).count();
            assert_eq!(inputs.x.iter().filter(|v| !of_t(v).is_finite()).count(), 0, "{}", hard.name());
            (hard.name(), found, wild)
        };
        Hard::all::<T>().into_iter().map(of).collect()
    }

    #[test]
    fn names_are_different_and_data_are_what_they_say() {
        for (type_name, kinds) in [
            ("f32", kinds::<f32>()),
            ("f64", kinds::<f64>()),
            ("bf16", kinds::<bf16>()),
            ("f16", kinds::<f16>()),
        ] {
            let mut names: Vec<&str> = kinds.iter().map(|kind| kind.0.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), kinds.len());
            let least = match type_name {
                "f64" => f64::MIN_POSITIVE,
                "f16" => 2f64.powi(-14),
                _ => f64::from(f32::MIN_POSITIVE),
            };
            for (name, [x, dy, weight], wild) in &kinds {
                let told = format!("{type_name} {name}: x {x:?}, dy {dy:?}, γ {weight:?}, {wild}");
                let near = |size: &(f64, f64), value: f64| size.1 > value && size.1 < 10.0 * value;
                let fits = match name.as_str() {
                    "dy_nan" => *wild == (2000 * 65usize).div_ceil(APART),
                    "dy_infinite" => *wild == 2000 * 65,
                    "dy_one_infinite" => *wild == 65,
                    "dy_constant" => dy.0 == dy.1 && dy.0 > 9e-7 && x.1 > 3e4,
                    "dy_subnormal" => dy.1 < least && dy.1 > least / 8.0,
                    name if name.ends_with("one_of_64") => weight.0 < 1e-30 && weight.1 > 1.0,
                    name if name.starts_with("weight") => weight.1 < 1e-30 && weight.1 > 0.0,
                    "x_1e35" => near(x, 1e35),
                    "x_1e-36" => near(x, 1e-36),
                    "x_1e305" => near(x, 1e305),
                    "x_1e-140" => near(x, 1e-140),
                    "dy_1e-31" => near(dy, 1e-31),
                    "dy_1e-290" => near(dy, 1e-290),
                    _ => false,
                };
                assert!(fits, "{told}");
                assert!(name == "dy_nan" || name.ends_with("infinite") || *wild == 0, "{told}");
            }
        }
        assert_eq!([kinds::<f32>().len(), kinds::<f16>().len(), kinds::<f64>().len()], [12, 9, 10]);
    }

    #[test]
    fn one_weight_of_64_decays() {
        let ordinary = |line: &str| Inputs::<f32>::new(&parse(line).unwrap()[0], X::Shifted);
        let decayed = |line: &str| {
            let inputs = Hard(Fill::Weight { value: 1e-33, everywhere: false }).of(&ordinary(line));
            inputs.weight.iter().filter(|w| **w == 1e-33).count()
        };
        assert_eq!(["a NC 2x64", "a NC 2x512", "a NC 2x3"].map(decayed), [1, 8, 1]);
    }

    #[test]
    fn bars_are_the_designs() {
        let weight = |everywhere| Hard(Fill::Weight { value: 1e-33, everywhere });
        assert_eq!([weight(true), weight(false), Hard(Fill::Nan)].map(Hard::bar::<f32>), [4.0, 1.1, 4.0]);
        assert_eq!([weight(true), weight(false), Hard(Fill::Nan)].map(Hard::bar::<f64>), [30.0, 30.0, 4.0]);
        assert_eq!(Hard(Fill::Dy(1e-31)).bar::<f16>(), 4.0);
        assert_eq!(Hard::all::<f16>().into_iter().filter(|hard| hard.is_common()).count(), 2);
    }
}
