//! Options of a step over a batch in parts: at leaves the bits of the whole, and with a mask the same bits however it is cut.

use crate::common::{Inputs, bits_of, message, number};
use batchnorm::functions::{Backward, Commit, Forward, Running, commit};
use batchnorm::parts::{self, Moments, Part, PartialSums, Pooled};
use batchnorm::{
    Activation, Config, DefaultBackend, Element, Error, Kept, Layout, Options, Real, Renorm, Saved, Shape,
    Workspace,
};
use ndarray::Axis;
use std::ops::Range;

/// Several leaves each.
const SHAPES: [[usize; 3]; 4] = [[1700, 33, 1], [220, 40, 49], [800, 13, 2], [50, 13, 784]];

/// What is done beside normalizing.
#[derive(Clone, Copy, Debug)]
struct What {
    activation: Activation,
    residual: bool,
    mask: bool,
    renorm: Option<Renorm>,
    by_y: bool,
}

/// All that a step gives, as bits.
type Given = Vec<Vec<u64>>;

fn real<R: Real>(values: impl IntoIterator<Item = R>) -> Vec<R> {
    values.into_iter().collect()
}

struct Split<'a, T: Element> {
    inputs: &'a Inputs<T>,
    shape: Shape,
    what: What,
    running: [Vec<T::Compute>; 2],
}

impl<'a, T: Element> Split<'a, T> {
    fn new(inputs: &'a Inputs<T>, [n, c, l]: [usize; 3], what: What) -> Self {
        let running = inputs.bn.running.as_ref().unwrap();
        let running = [&running.mean, &running.var].map(|of| real(of.iter().copied()));
        Self { inputs, shape: Shape::new(n, c, l).unwrap(), what, running }
    }

    fn elements(&self, part: &Range<usize>) -> Range<usize> {
        let strip = self.shape.features() * self.shape.inner();
        part.start * strip..part.end * strip
    }

    fn shape(&self, part: &Range<usize>) -> Shape {
        Shape::new(part.len(), self.shape.features(), self.shape.inner()).unwrap()
    }

    fn mask(&self, part: &Range<usize>) -> Option<&'a [bool]> {
        let inner = self.shape.inner();
        let mask = &self.inputs.mask.as_slice().unwrap()[part.start * inner..part.end * inner];
        self.what.mask.then_some(mask)
    }

    fn forward<'y>(&'y self, part: &Range<usize>, y: &'y mut [T]) -> Forward<'y, T> {
        let own = self.elements(part);
        let mut options = Options::default().activation(self.what.activation);
        options.residual = self.what.residual.then(|| &self.inputs.residual.as_slice().unwrap()[own.clone()]);
        (options.mask, options.renorm) = (self.mask(part), self.what.renorm);
        let (weight, bias) = (self.inputs.bn.weight.as_slice(), self.inputs.bn.bias.as_slice());
        let renorm_by = Some(Running { mean: &self.running[0], var: &self.running[1] });
        let x = &self.inputs.x.as_slice().unwrap()[own];
        Forward { weight, bias, options, renorm_by, ..Forward::new(self.shape(part), x, y) }
    }

    fn backward<'b>(&'b self, part: &Range<usize>, y: &'b [T]) -> Backward<'b, T> {
        let own = self.elements(part);
        let of = |tensor: &'b ndarray::Array3<T>| &tensor.as_slice().unwrap()[own.clone()];
        let mut kept = Kept::default();
        kept.mask = self.mask(part);
        kept.residual = self.what.residual.then(|| of(&self.inputs.residual));
        kept.y = self.what.by_y.then_some(&y[own.clone()]);
        let (weight, bias) = (self.inputs.bn.weight.as_slice(), self.inputs.bn.bias.as_slice());
        Backward { weight, bias, kept, ..Backward::new(of(&self.inputs.x), of(&self.inputs.dy)) }
    }

    /// The step over these parts, or by the functions of a whole batch where there are none.
    fn step(&self, parts: &[Range<usize>]) -> Result<Given, Error> {
        let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
        let (features, all) = (self.shape.features(), 0..self.shape.outer());
        let [mut y, mut dx, mut dresidual] = [(); 3].map(|()| vec![T::default(); self.shape.len()]);
        let mut params = [(); 2].map(|()| vec![T::Compute::default(); features]);
        let mut saved = vec![Saved::default(); parts.len().max(1)];
        let mut pooled = Pooled::<T>::new(features, 1e-5)?;
        loop {
            let mut sums = PartialSums::default();
            for part in parts {
                let x = &self.inputs.x.as_slice().unwrap()[self.elements(part)];
                let own = Part::new(self.shape(part), x);
                let own = self.mask(part).map_or(own, |mask| own.mask(mask));
                sums.merge(pooled.sum(&backend, own, part.start, &mut workspace)?)?;
            }
            if pooled.settle(&sums)? {
                break;
            }
        }
        for (part, saved) in parts.iter().zip(&mut saved) {
            let step = self.forward(part, &mut y[self.elements(part)]);
            pooled.forward(&backend, step, saved, &mut workspace)?;
        }
        if parts.is_empty() {
            batchnorm::functions::train(&backend, self.forward(&all, &mut y), &mut saved[0], &mut workspace)?;
        }
        let mut sums = PartialSums::default();
        for (part, saved) in parts.iter().zip(&saved).rev() {
            let step = self.backward(part, &y);
            sums.merge(parts::sum_gradients(&backend, &step, part.start, saved, &mut workspace)?)?;
        }
        let whole = [all];
        for (part, saved) in if parts.is_empty() { &whole[..] } else { parts }.iter().zip(&saved) {
            let [dweight, dbias] = &mut params;
            let own = self.elements(part);
            let step = Backward {
                dx: Some((&mut dx[own.clone()]).into()),
                dresidual: Some(&mut dresidual[own]),
                dweight: Some(dweight),
                dbias: Some(dbias),
                ..self.backward(part, &y)
            };
            match parts.is_empty() {
                true => batchnorm::functions::backward(&backend, step, saved, &mut workspace)?,
                false => parts::backward(&backend, step, &sums, saved, &mut workspace)?,
            }
        }
        let [mut mean, mut var] = self.running.clone();
        commit(&backend, &saved[0], Commit::new(&mut mean, &mut var))?;
        let [a, b] = &params;
        let tensors = [&y, &dx, &dresidual].map(bits_of);
        let others = [a, b, &mean, &var].map(|of| bits_of(of.iter()));
        Ok(tensors.into_iter().chain(others).collect())
    }
}

/// `n` parts, cut at leaves, the later ones longer, the first ones perhaps empty.
fn cuts([samples, features, inner]: [usize; 3], n: usize) -> Vec<Range<usize>> {
    let leaf = parts::split_every(&[1, features, inner], Layout::ChannelsFirst).unwrap();
    let leaves = samples.div_ceil(leaf);
    assert!(leaves > 2);
    let bound = |i: usize| (leaves * i * (i + 1) / (n * (n + 1)) * leaf).min(samples);
    (0..n).map(|i| bound(i)..if i + 1 == n { samples } else { bound(i + 1) }).collect()
}

fn whats() -> Vec<What> {
    let all = [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)];
    let limits = Some(Renorm { r_max: 1.5, d_max: 0.5 });
    let each = |(i, activation): (usize, Activation)| {
        let of = |residual, mask, renorm| What { activation, residual, mask, renorm, by_y: i % 2 == 0 };
        [
            of(false, false, None),
            of(true, false, None),
            of(i % 2 == 1, true, None),
            of(i % 2 == 0, false, limits),
            What { by_y: i % 2 == 1, ..of(true, true, None) },
        ]
    };
    all.into_iter().enumerate().flat_map(each).collect()
}

fn parts_give_the_whole<T: Element>(mut inputs: Inputs<T>, dims: [usize; 3], kind: &str) {
    // Of a constant gradient dγ is nothing but what the sums have lost, so that another order of them shows.
    for f in (0..dims[1]).step_by(5) {
        inputs.dy.index_axis_mut(Axis(1), f).fill(number(0.7));
    }
    for what in whats() {
        let split = Split::new(&inputs, dims, what);
        // What a mask leaves lies otherwise in the whole, which is near it.
        let want = split.step(&if what.mask { cuts(dims, 1) } else { Vec::new() }).unwrap();
        for n in [1, 2, 5] {
            let got = split.step(&cuts(dims, n)).unwrap();
            let names = ["y", "dx", "dresidual", "dγ", "dβ", "running_mean", "running_var"];
            for ((got, want), name) in got.iter().zip(&want).zip(names) {
                assert!(got == want, "{kind} {} {dims:?} {what:?} in {n} parts: {name}", T::NAME);
            }
        }
    }
}

#[test]
fn options_of_parts_cut_at_leaves_give_the_bits_of_the_whole() {
    for dims in SHAPES {
        parts_give_the_whole(Inputs::<f32>::plain(dims, Config::default()), dims, "plain");
        parts_give_the_whole(Inputs::<f64>::plain(dims, Config::default()), dims, "plain");
    }
    for dims in &SHAPES[1..3] {
        parts_give_the_whole(Inputs::<f32>::hard(*dims, Config::default()), *dims, "hard");
        parts_give_the_whole(Inputs::<half::bf16>::hard(*dims, Config::default()), *dims, "hard");
    }
}

/// What a mask leaves is the batch with the gaps closed, to rounding.
#[test]
fn masked_parts_are_near_the_masked_whole() {
    let dims = [220, 40, 49];
    let inputs = Inputs::<f64>::plain(dims, Config::default());
    for what in whats().into_iter().filter(|what| what.mask) {
        let split = Split::new(&inputs, dims, what);
        let (whole, parts) = (split.step(&[]).unwrap(), split.step(&[0..7, 7..7, 7..100, 100..220]).unwrap());
        for (a, b) in whole.iter().flatten().zip(parts.iter().flatten()) {
            let [a, b] = [a, b].map(|bits| f64::from_bits(*bits));
            assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{what:?}: {a} {b}");
        }
    }
}

/// What stands at a masked position changes nothing, and a part of nothing else is one of no value.
#[test]
fn masked_positions_of_parts_do_not_exist() {
    let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
    let shape = Shape::new(2, 1, 3).unwrap();
    let (x, valid) =
        ([1.0_f32, f32::NAN, 3.0, f32::INFINITY, 8.0, -1.0], [true, false, true, false, true, false]);
    let moments = Moments::of(&backend, Part::new(shape, &x).mask(&valid), &mut workspace).unwrap();
    assert_eq!((moments.count(), moments.mean()), (3, vec![4.0]));
    let nothing = Moments::of(&backend, Part::new(shape, &x).mask(&[false; 6]), &mut workspace).unwrap();
    assert_eq!((nothing.count(), nothing.mean(), nothing.var()), (0, vec![0.0], vec![0.0]));

    let mut pooled = Pooled::<f32>::new(1, 1e-5).unwrap();
    let mut sums = pooled.sum(&backend, Part::new(shape, &x).mask(&valid), 0, &mut workspace).unwrap();
    let none = [f32::NAN; 6];
    sums.merge(pooled.sum(&backend, Part::new(shape, &none).mask(&[false; 6]), 2, &mut workspace).unwrap())
        .unwrap();
    assert_eq!((sums.samples(), pooled.settle(&sums)), (4, Ok(true)));
    let (mut y, mut saved) = ([7.0; 6], Saved::default());
    let options = |mask: &'static [bool]| Options::default().mask(mask);
    let step = Forward { options: options(&[false; 6]), ..Forward::new(shape, &none, &mut y) };
    pooled.forward(&backend, step, &mut saved, &mut workspace).unwrap();
    assert_eq!((y, saved.mean()), ([0.0; 6], &[4.0][..]));
    let mut y = [7.0; 6];
    let step = Forward { options: options(&[true; 6]), ..Forward::new(shape, &none, &mut y) };
    let error = pooled.forward(&backend, step, &mut saved, &mut workspace);
    assert_eq!(message(error), "expected at most the 3 values per feature of the statistics in x, got 6");
    assert_eq!(y, [7.0; 6]);
}

#[test]
fn what_parts_cannot_do_is_named() {
    let (backend, mut workspace, mut saved) =
        (DefaultBackend::default(), Workspace::default(), Saved::<f32>::default());
    let (shape, x, valid) = (Shape::nc(2, 1).unwrap(), [1.0, 3.0], [true; 2]);
    let pooled = Pooled::<f32>::of(&Moments::new(2, &[2.0], &[1.0]).unwrap(), 1e-5).unwrap();
    let mut run = |options: Options<&[f32], &[bool]>, kept: Kept<&[f32], &[bool]>| {
        let mut y = [7.0; 2];
        let step = Forward { options, ..Forward::new(shape, &x, &mut y[..]) };
        pooled.forward(&backend, step, &mut saved, &mut workspace).map_err(|error| error.to_string())?;
        let mut dresidual = [7.0; 2];
        let step = Backward { kept, dresidual: Some(&mut dresidual), ..Backward::new(&x, &x) };
        let sums = parts::sum_gradients(&backend, &step, 0, &saved, &mut workspace)
            .map_err(|error| error.to_string())?;
        parts::backward(&backend, step, &sums, &saved, &mut workspace).map_err(|error| error.to_string())?;
        Ok::<_, String>((y, dresidual))
    };
    let (none, kept) = (Options::default(), Kept::default());
    assert_eq!(run(none.residual(&[1.0, -1.0]), kept).unwrap().1, x);
    assert_eq!(run(none.activation(Activation::Relu), kept).unwrap().1, [0.0, 3.0]);
    let ghosts = "expected no ghost batches in a part of a batch, got ones of 2 samples";
    assert_eq!(run(none.ghost(2), kept).unwrap_err(), ghosts);
    let renorm = Renorm { r_max: 3.0, d_max: 5.0 };
    let alone = "expected running statistics beside renorm, got none";
    assert_eq!(run(none.renorm(renorm), kept).unwrap_err(), alone);
    let slope = run(none.activation(Activation::LeakyRelu(-1.0)), kept).unwrap_err();
    assert!(slope.starts_with("expected a slope"), "{slope}");
    assert_eq!(
        run(none, kept.mask(&valid)).unwrap_err(),
        "expected no mask, as the forward had none, got one"
    );
    assert_eq!(run(none.mask(&valid), kept).unwrap_err(), "expected the mask of the forward, got none");
    let short = run(none.mask(&valid), kept.mask(&valid[..1])).unwrap_err();
    assert_eq!(short, "expected 2 elements in the mask, got 1");
    let added = none.residual(&[1.0, -1.0]).activation(Activation::Relu);
    assert_eq!(
        run(added, kept).unwrap_err(),
        "expected y or the residual, as the forward had an activation and a residual, got neither"
    );
}

/// A part without a value has the gradients of the parameters that the whole batch has, r and d in them.
#[test]
fn a_part_of_no_value_has_the_parameters_gradients() {
    let dims = [220, 40, 49];
    let inputs = Inputs::<f32>::plain(dims, Config::default());
    let renorm = Some(Renorm { r_max: 1.5, d_max: 0.5 });
    let what = What { activation: Activation::Relu, residual: true, mask: false, renorm, by_y: true };
    let split = Split::new(&inputs, dims, what);
    // The last part is what is looked at.
    assert_eq!(split.step(&[0..220, 220..220]).unwrap(), split.step(&[]).unwrap());
}
