//! A step in parts. Merged sums must give the bits of the whole, merged moments meet its limits.

use crate::case::{Case, Results, Tensor};
use crate::data::{normal, rng};
use crate::digest::same_bits;
use crate::run::{Answer, gradients, layer, run, same_by_y, statistics, widened};
use bn_core::functions::{self, Backward, Forward, Running};
use bn_core::parts::{self, Part, PartialSums, Pooled};
use bn_core::{
    Activation, Backend, Config, Element, Kept, Layout, Mode, Options, Real, Saved, Shape, Workspace,
};
use std::ops::Range;

/// Into how many parts.
const PARTS: [usize; 5] = [1, 2, 3, 5, 16];

/// Every spread, with as many leaves as take three nodes or more, such as 7; the last ones have samples that are several pieces.
const SHAPES: [[usize; 3]; 10] = [
    [200_000, 1, 1],
    [7000, 64, 1],
    [3500, 129, 1],
    [850, 1030, 1],
    [800, 3, 2],
    [220, 40, 49],
    [200, 3, 256],
    [50, 5, 784],
    [7, 2, 12_801],
    [7, 1, 40_000],
];

/// Whether the parts of a case must give its bits: see [`bn_core::parts`] for what they need not.
fn gives_the_whole<T: Element>(case: &Case<T>) -> bool {
    let in_range = |v: f64| v == 0.0 || T::NAME != "f64" || (1e-60..1e60).contains(&v.abs());
    let number = |v: &T| v.to_compute().to_f64();
    let params = case.affine.iter().flatten().chain(case.running.iter().flatten()).flatten();
    case.x.iter().map(number).all(in_range)
        && case.dy.iter().flatten().map(number).all(|v| v.is_finite() && in_range(v))
        && params.map(|v| v.to_f64()).all(in_range)
        && in_range(case.config.eps.sqrt())
}

/// `n` ranges of samples, cut at leaves. The later ones are longer; where there are fewer leaves, the first ones are empty.
fn cuts(samples: usize, leaf: usize, n: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let leaves = samples.div_ceil(leaf);
    let bound = move |i: usize| (leaves * i * (i + 1) / (n * (n + 1)) * leaf).min(samples);
    (0..n).map(move |i| bound(i)..if i + 1 == n { samples } else { bound(i + 1) })
}

/// As [`run`], in `n` parts cut at leaves. What of a case cannot be had in parts is run whole.
///
/// # Errors
/// What the layer says to the case's input.
pub fn run_in_parts<T: Element, B: Backend + Clone>(case: &Case<T>, backend: &B, n: usize) -> Answer {
    let shape = case.shape()?;
    let plain_evaluation = case.mode == Mode::Eval && case.running.is_none();
    // What is left of a masked batch lies otherwise in the whole.
    let other_bits = case.mask.is_some() || !gives_the_whole(case);
    if plain_evaluation || shape.is_empty() || case.cotangents.is_some() || other_bits {
        return run(case, backend);
    }
    let leaf = parts::split_every(&[1, shape.features(), shape.inner()], Layout::ChannelsFirst)?;
    let split = Split::new(case, backend, cuts(shape.outer(), leaf, n).collect())?;
    let Config { eps, one_value, .. } = case.config;
    let mut pooled = Pooled::<T>::new(shape.features(), eps)?.one_value(one_value);
    while case.from_batch() {
        let mut sums = PartialSums::default();
        for part in &split.parts {
            sums.merge(pooled.sum(backend, split.part(part)?, part.start, &mut Workspace::default())?)?;
        }
        if pooled.settle(&sums)? {
            break;
        }
    }
    split.run(&pooled)
}

/// The options of a step, and what is kept of it.
type Beside<'c, T> = (Options<&'c [T], &'c [bool]>, Kept<&'c [T], &'c [bool]>);

/// A case that is cut into ranges of samples.
pub(crate) struct Split<'c, T: Element, B> {
    pub(crate) case: &'c Case<T>,
    pub(crate) backend: &'c B,
    whole: Shape,
    pub(crate) parts: Vec<Range<usize>>,
}

impl<'c, T: Element, B: Backend + Clone> Split<'c, T, B> {
    pub(crate) fn new(
        case: &'c Case<T>,
        backend: &'c B,
        parts: Vec<Range<usize>>,
    ) -> Result<Self, bn_core::Error> {
        Ok(Self { case, backend, whole: case.shape()?, parts })
    }

    pub(crate) fn elements(&self, part: &Range<usize>) -> Range<usize> {
        let strip = self.whole.features() * self.whole.inner();
        part.start * strip..part.end * strip
    }

    pub(crate) fn shape(&self, part: &Range<usize>) -> Result<Shape, bn_core::Error> {
        Ok(Shape::new(part.len(), self.whole.features(), self.whole.inner())?)
    }

    /// The samples and positions that the mask has of a part.
    fn mask(&self, part: &Range<usize>) -> Option<&'c [bool]> {
        let inner = self.whole.inner();
        Some(&self.case.mask.as_ref()?[part.start * inner..part.end * inner])
    }

    /// A part to be summed.
    pub(crate) fn part(&self, part: &Range<usize>) -> Result<Part<'c, T>, bn_core::Error> {
        let own = Part::new(self.shape(part)?, &self.case.x[self.elements(part)]);
        Ok(self.mask(part).map_or(own, |mask| own.mask(mask)))
    }

    /// What the options of a step take of a part, and what is kept of it.
    pub(crate) fn options(&self, part: &Range<usize>) -> Beside<'c, T> {
        let (mut options, mut kept) = (self.case.options(), self.case.kept());
        let residual = options.residual.map(|all| &all[self.elements(part)]);
        (options.residual, options.mask) = (residual, self.mask(part));
        (kept.residual, kept.mask) = (residual, self.mask(part));
        (options, kept)
    }

    fn param(&self, i: usize) -> Option<&'c [T::Compute]> {
        self.case.affine[i].as_deref()
    }

    /// The step, from the statistics on.
    pub(crate) fn run(&self, pooled: &Pooled<T>) -> Answer {
        let Self { case, backend, parts, .. } = self;
        let (mut bn, mut workspace) = (layer(case, (*backend).clone())?, Workspace::default());
        let mut y = vec![T::default(); case.x.len()];
        let mut saved = vec![Saved::default(); parts.len()];
        for (part, saved) in parts.iter().zip(&mut saved) {
            let own = self.elements(part);
            let (x, y) = (&case.x[own.clone()], &mut y[own]);
            let (weight, bias, eps) = (self.param(0), self.param(1), case.config.eps);
            let (options, renorm_by) =
                (self.options(part).0, case.running.as_ref().map(|[mean, var]| Running { mean, var }));
            let step =
                Forward { weight, bias, eps, options, renorm_by, ..Forward::new(self.shape(part)?, x, y) };
            match renorm_by {
                running @ Some(_) if case.mode == Mode::Eval => {
                    functions::eval(*backend, step, running, saved, &mut workspace)?;
                }
                _ => pooled.forward(*backend, step, saved, &mut workspace)?,
            }
        }
        if case.mode == Mode::Train {
            bn.commit(&saved[0])?;
        }
        let mut results = Results::default();
        results.insert(Tensor::Y, widened(&y));
        results.extend(statistics(&bn, &saved[0]));
        if let Some(dy) = &case.dy {
            let again = self.backward(dy, None, &saved, &mut workspace)?;
            if case.activation != Activation::Identity {
                same_by_y(&again, &self.backward(dy, Some(&y), &saved, &mut workspace)?)?;
            }
            results.extend(again);
        }
        Ok(results)
    }

    /// The gradients, an activation's gate told by y or computed again.
    fn backward(
        &self,
        dy: &[T],
        y: Option<&[T]>,
        saved: &[Saved<T>],
        workspace: &mut Workspace<T>,
    ) -> Answer {
        let Self { case, backend, parts, .. } = self;
        let step = |part: &Range<usize>| {
            let own = self.elements(part);
            let mut kept = self.options(part).1;
            kept.y = y.map(|y| &y[own.clone()]);
            let (weight, bias) = (self.param(0), self.param(1));
            Backward { weight, bias, kept, ..Backward::new(&case.x[own.clone()], &dy[own]) }
        };
        let mut sums = PartialSums::default();
        // The last ones first: their order does not matter.
        for (part, saved) in parts.iter().zip(saved).rev() {
            sums.merge(parts::sum_gradients(*backend, &step(part), part.start, saved, workspace)?)?;
        }
        let [mut dx, mut dresidual] = [(); 2].map(|()| vec![T::default(); dy.len()]);
        let [mut dweight, mut dbias] = case
            .affine
            .each_ref()
            .map(|param| vec![T::Compute::default(); param.as_ref().map_or(0, Vec::len)]);
        for (part, saved) in parts.iter().zip(saved) {
            let own = self.elements(part);
            let step = Backward {
                dx: Some((&mut dx[own.clone()]).into()),
                dresidual: case.residual.is_some().then_some(&mut dresidual[own]),
                dweight: case.affine[0].is_some().then_some(&mut dweight),
                dbias: case.affine[1].is_some().then_some(&mut dbias),
                ..step(part)
            };
            parts::backward(*backend, step, &sums, saved, workspace)?;
        }
        Ok(gradients(case, [dx, dresidual], [dweight, dbias]))
    }
}

/// Batches of several leaves, around 0 and far from it, in as many parts as [`PARTS`] has.
pub(crate) fn parts_give_the_whole<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    let mut failures = Vec::new();
    for [outer, features, inner] in SHAPES {
        for (mode, centre) in [(Mode::Train, 0.3), (Mode::Train, 100.0), (Mode::Eval, 0.3)] {
            let case = case::<T>([outer, features, inner], mode, centre);
            let Ok(want) = run(&case, backend) else {
                failures.push(format!("{}: the whole is refused", case.name));
                continue;
            };
            for n in PARTS {
                match run_in_parts(&case, backend, n) {
                    Ok(got) => {
                        let other = want.iter().filter(|(tensor, want)| {
                            !got.get(*tensor).is_some_and(|got| same_bits(got, want))
                        });
                        failures.extend(other.map(|(tensor, _)| {
                            format!("{} in {n} parts: other bits of {tensor}", case.name)
                        }));
                    }
                    Err(error) => failures.push(format!("{} in {n} parts: {error}", case.name)),
                }
            }
        }
    }
    failures
}

fn case<T: Element>(dims: [usize; 3], mode: Mode, centre: f64) -> Case<T> {
    let (features, len) = (dims[1], dims.iter().product());
    let mut rng = rng(17);
    let mut values = |centre: f64, len: usize| -> Vec<T::Compute> {
        (0..len).map(|_| T::Compute::from_f64(normal(&mut rng) + centre)).collect()
    };
    let narrow = |values: Vec<T::Compute>| values.into_iter().map(T::from_compute).collect();
    let var = |values: Vec<T::Compute>| -> Vec<T::Compute> {
        values.into_iter().map(|v| T::Compute::from_f64(v.to_f64().powi(2) + 0.1)).collect()
    };
    // Of a constant dy dγ is nothing but what the sums have lost, so that another order of them shows.
    let dy = if centre < 1.0 { vec![T::Compute::from_f64(0.7); len] } else { values(0.2, len) };
    Case {
        name: format!("{dims:?} {} {mode} around {centre}", T::NAME),
        dims: dims.to_vec(),
        mode,
        config: Config::default(),
        num_batches_tracked: 0,
        x: narrow(values(centre, len)),
        dy: Some(narrow(dy)),
        affine: [1.0, 0.0].map(|centre| Some(values(centre, features))),
        running: Some([values(0.0, features), var(values(0.0, features))]),
        ..Case::default()
    }
}
