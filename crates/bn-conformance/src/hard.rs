//! Data, parameters and settings at the ends of the type's range and beyond what a plain map keeps, in all features of
//! a tensor, in one or in every other one.

use crate::case::Case;
use crate::data::{self, Dy, X, normal};
use crate::table::{Entry, first, inputs, last};
use bn_core::{Element, Mode, Real};
use rand_pcg::Pcg64Mcg;

/// What is hard about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it; `Part` has the numbers")]
pub enum Hard {
    DecayedWeight,
    TinyWeight,
    SubnormalWeight,
    HugeWeight,
    /// Near the largest numbers.
    HugeX,
    /// Values whose variance is far below eps.
    TinyX,
    /// Values that are subnormal, or nearly so in f64.
    SubnormalX,
    TinyDy,
    SubnormalDy,
    /// 10⁴ + N(0,1): what counts is far smaller than what is summed.
    FarDy,
    /// One value, beside a large σ.
    ConstantDy,
    NanInDy,
    OneInfinityInDy,
    InfiniteDy,
    /// Evaluation, with a weight and a variance whose quotient overflows.
    SpecialXHugeWeight,
    SpecialXTinyWeight,
    HugeConstant,
    /// Two neighbouring floats: the mean between them is none.
    Neighbours,
    /// One value above all others, dy in step with the sides of the mean.
    Outlier,
    /// Results among the subnormals.
    SubnormalY,
    TinyEps,
    HugeEps,
    TinyRunningVar,
    HugeRunningVar,
}

/// Every kind.
pub const KINDS: &[Hard] = &[
    Hard::DecayedWeight,
    Hard::TinyWeight,
    Hard::SubnormalWeight,
    Hard::HugeWeight,
    Hard::HugeX,
    Hard::TinyX,
    Hard::SubnormalX,
    Hard::TinyDy,
    Hard::SubnormalDy,
    Hard::FarDy,
    Hard::ConstantDy,
    Hard::NanInDy,
    Hard::OneInfinityInDy,
    Hard::InfiniteDy,
    Hard::SpecialXHugeWeight,
    Hard::SpecialXTinyWeight,
    Hard::HugeConstant,
    Hard::Neighbours,
    Hard::Outlier,
    Hard::SubnormalY,
    Hard::TinyEps,
    Hard::HugeEps,
    Hard::TinyRunningVar,
    Hard::HugeRunningVar,
];

/// Which features are hard; the others are plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Where {
    All,
    One,
    Alternating,
}

/// Every choice.
pub const PLACES: &[Where] = &[Where::All, Where::One, Where::Alternating];

impl Where {
    fn holds(self, f: usize, features: usize) -> bool {
        match self {
            Self::All => true,
            Self::One => f == features / 2,
            Self::Alternating => f.is_multiple_of(2),
        }
    }
}

/// The shapes: rows of few and of many features, short and long runs, features last. They are small, since the
/// oracle takes big floats for much of this.
pub const HARD_SHAPES: &[Entry] =
    &[first(&[9, 5]), first(&[33, 37]), first(&[2, 5, 31]), first(&[2, 3, 519]), last(&[4, 5, 7])];

/// Long sums of gradients far from zero.
pub const HARD_LONG: &[(Entry, Hard)] =
    &[(first(&[400_000, 1]), Hard::FarDy), (first(&[3, 2, 50_021]), Hard::FarDy)];

/// Variants of [`inputs`] with an affine part and running statistics: training and evaluation, eps = 10⁻⁵ and 10⁻³⁰.
pub const VARIANTS: [usize; 4] = [0, 4, 2, 14];

/// Numbers near the ends of a type's range.
struct Ends {
    huge: f64,
    /// Its square is far below the least number.
    tiny: f64,
    subnormal: f64,
    far: f64,
}

fn ends(name: &str) -> Ends {
    match name {
        "f64" => Ends { huge: 1e305, tiny: 1e-140, subnormal: 1e-309, far: 1e4 },
        "f16" => Ends { huge: 6e3, tiny: 1e-4, subnormal: 1e-6, far: 1e3 },
        "bf16" => Ends { huge: 1e35, tiny: 1e-36, subnormal: 1e-40, far: 1e2 },
        _ => Ends { huge: 1e35, tiny: 1e-36, subnormal: 1e-40, far: 1e4 },
    }
}

/// A feature's data and parameters, in f64.
struct Part {
    x: Vec<f64>,
    dy: Vec<f64>,
    weight: f64,
    bias: f64,
    running: [f64; 2],
}

impl Part {
    /// Turns plain data into hard ones. `own` are the ends of the element type, `params` of that of the parameters.
    fn harden(&mut self, kind: Hard, f: usize, own: &Ends, params: &Ends, rng: &mut Pcg64Mcg) {
        let wide = params.huge > 1e100;
        let times = |values: &mut Vec<f64>, factor: f64| values.iter_mut().for_each(|v| *v *= factor);
        let inside = self.x.len() / 2;
        match kind {
            Hard::DecayedWeight => self.weight *= if wide { 1e-305 } else { 1e-35 },
            Hard::TinyWeight => self.weight *= if wide { 1e-290 } else { 1e-33 },
            Hard::SubnormalWeight => self.weight *= if wide { 1e-311 } else { 1e-41 },
            Hard::HugeWeight => self.weight *= params.huge,
            Hard::HugeX => {
                self.x.iter_mut().for_each(|v| *v = v.clamp(-5.0, 5.0));
                times(&mut self.x, own.huge);
            }
            Hard::TinyX => times(&mut self.x, own.tiny),
            Hard::SubnormalX => times(&mut self.x, own.subnormal),
            Hard::TinyDy => times(&mut self.dy, if wide { 1e-295 } else { own.tiny * 1e5 }),
            Hard::SubnormalDy => times(&mut self.dy, own.subnormal),
            Hard::FarDy => self.dy.iter_mut().for_each(|v| *v += own.far),
            Hard::ConstantDy => {
                self.dy.fill(1e-6);
                times(&mut self.x, own.huge.min(1e4));
            }
            Hard::NanInDy => self.dy.iter_mut().step_by(97).for_each(|v| *v = f64::NAN),
            Hard::OneInfinityInDy => self.dy[inside] = f64::INFINITY,
            Hard::InfiniteDy => self.dy.fill(f64::INFINITY),
            Hard::SpecialXHugeWeight | Hard::SpecialXTinyWeight => {
                (self.weight, self.running[1]) = match kind {
                    Hard::SpecialXHugeWeight => (params.huge * 1e3, 1e-10),
                    _ => (params.subnormal, 1e10),
                };
                // In most features the others are near the running mean, so that they stay finite.
                if f % 3 != 2 {
                    self.running[0] = 0.0;
                }
                times(&mut self.x, own.tiny.max(1e-7));
                self.x[inside] = if f.is_multiple_of(4) { f64::NAN } else { f64::NEG_INFINITY };
            }
            Hard::HugeConstant => self.x.fill(own.huge * 1e3 * 0.9),
            Hard::Neighbours => {
                let step = if wide { f64::EPSILON } else { f64::from(f32::EPSILON) };
                let step = if own.far < 1e4 { 2f64.powi(-7) } else { step };
                self.x.iter_mut().for_each(|v| *v = 1.5 + if *v > 0.3 { step } else { 0.0 });
            }
            Hard::Outlier => {
                self.dy.iter_mut().zip(&self.x).for_each(|(dy, x)| *dy = x.signum());
                self.x[inside] = own.huge;
            }
            Hard::SubnormalY => {
                (self.weight, self.bias) = (params.subnormal * 10.0, params.subnormal * normal(rng));
            }
            Hard::TinyEps if f.is_multiple_of(2) => self.x.fill(0.3),
            Hard::TinyEps | Hard::HugeEps => {}
            Hard::TinyRunningVar => self.running[1] *= params.tiny,
            Hard::HugeRunningVar => self.running[1] *= params.huge,
        }
    }
}

/// A case without its answer: hard in the features that `place` says, plain in the others.
#[must_use]
pub fn hard<T: Element>(entry: Entry, kind: Hard, place: Where, variant: usize) -> Case<T> {
    let mut case = inputs::<T>(entry, (X::Normal, Dy::Normal), variant);
    case.name = case.name.replace("Normal_Normal", &format!("{kind:?}_{place:?}"));
    let mut rng = data::rng(variant as u64 + 29);
    let (own, params) = (ends(T::NAME), ends(T::Compute::NAME));
    if matches!(
        kind,
        Hard::SpecialXHugeWeight | Hard::SpecialXTinyWeight | Hard::TinyRunningVar | Hard::HugeRunningVar
    ) {
        case.mode = Mode::Eval;
    }
    match kind {
        Hard::TinyEps => case.config.eps = 1e-300,
        Hard::HugeEps => case.config.eps = if T::NAME == "f64" { 1e300 } else { 1e30 },
        _ => {}
    }
    let dy = case.dy.take().unwrap_or_default();
    let (mut x, mut dy) = (case.by_feature(&case.x), case.by_feature(&dy));
    let features = case.features();
    for f in (0..features).filter(|f| place.holds(*f, features)) {
        let (weight, bias) = case.params(f);
        let running = case.running.as_ref().map_or([0.0, 1.0], |[m, v]| [m, v].map(|t| t[f].to_f64()));
        let (x, dy) = (&mut x[f], &mut dy[f]);
        let mut part = Part { x: std::mem::take(x), dy: std::mem::take(dy), weight, bias, running };
        part.harden(kind, f, &own, &params, &mut rng);
        (*x, *dy) = (part.x, part.dy);
        for (param, v) in case.affine.iter_mut().zip([part.weight, part.bias]) {
            param.iter_mut().for_each(|param| param[f] = T::Compute::from_f64(v));
        }
        if let Some(running) = &mut case.running {
            [running[0][f], running[1][f]] = part.running.map(T::Compute::from_f64);
        }
    }
    let narrow = |split: &[Vec<f64>]| -> Vec<T> {
        case.by_position(split).into_iter().map(|v| T::from_compute(T::Compute::from_f64(v))).collect()
    };
    (case.x, case.dy) = (narrow(&x), Some(narrow(&dy)));
    case
}

/// Every hard case of the table: entry, kind, place and variant. Of a shape, a kind and a place each one variant is
/// run, another one for the next.
pub fn all() -> impl Iterator<Item = (Entry, Hard, Where, usize)> {
    let mut turn = 0;
    let short = HARD_SHAPES.iter().flat_map(|entry| {
        KINDS.iter().flat_map(move |kind| PLACES.iter().map(move |place| (*entry, *kind, *place)))
    });
    let short = short.filter(|(_, kind, place)| {
        // A setting is all features'.
        *place == Where::All || !matches!(kind, Hard::TinyEps | Hard::HugeEps)
    });
    let short = short.map(move |(entry, kind, place)| {
        turn += 1;
        (entry, kind, place, VARIANTS[turn % VARIANTS.len()])
    });
    short.chain(HARD_LONG.iter().map(|(entry, kind)| (*entry, *kind, Where::All, 0)))
}
