//! Outputs over inputs, and gradients that are added to others: the bits of the step that writes memory of its own.

use crate::common::{Inputs, bits_of, number, values};
use batchnorm::functions::{Backward, Forward, To};
use batchnorm::{
    Activation, BatchNorm, Config, DefaultBackend, Element, Error, Frozen, Kept, Layout, Mode, OneValue,
    Options, Renorm, Saved, Shape, Workspace, parts,
};
use half::{bf16, f16};
use ndarray::{Array3, ArrayView3, array, s};

const MODES: [Mode; 2] = [Mode::Train, Mode::Eval];
const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];
const ACTIVATIONS: [Activation; 4] =
    [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)];

/// Values side by side, short and long runs, more than a piece, one feature, none.
const DIMS: [[usize; 3]; 7] =
    [[37, 13, 1], [5, 12, 3], [2, 24, 300], [1, 3, 2500], [30, 1, 90], [1, 14, 1], [0, 3, 2]];

type OwnOptions<'a, T> = Options<&'a [T], &'a [bool]>;

/// All gradients of a backward.
#[derive(PartialEq)]
struct Bits {
    dx: Vec<u64>,
    others: [Vec<u64>; 3],
}

/// A forward's inputs as slices, and what it gave.
struct Own<'a, T: Element> {
    bn: &'a BatchNorm<T>,
    mode: Mode,
    shape: Shape,
    x: &'a [T],
    dy: &'a [T],
    options: OwnOptions<'a, T>,
    kept: Kept<&'a [T], &'a [bool]>,
}

fn forward<T: Element>(
    bn: &BatchNorm<T>,
    mode: Mode,
    step: Forward<'_, T>,
    workspace: &mut Workspace<T>,
) -> Result<Saved<T>, Error> {
    let mut saved = Saved::default();
    match mode {
        Mode::Train => bn.forward_uncommitted_step(step, &mut saved, workspace)?,
        Mode::Eval => bn.forward_eval_step(step, &mut saved, workspace)?,
    }
    Ok(saved)
}

impl<T: Element> Own<'_, T> {
    /// The gradients, those of parameters and dresidual in memory that holds something else before.
    fn backward(
        &self,
        saved: &Saved<T>,
        step: Backward<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<[Vec<u64>; 3], Error> {
        let seven = number::<T>(7.0);
        let mut dresidual = vec![seven; self.x.len()];
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![number(7.0); self.bn.weight.len()]);
        let step = Backward {
            kept: self.kept,
            dresidual: self.options.residual.is_some().then_some(&mut dresidual),
            dweight: Some(&mut dweight),
            dbias: Some(&mut dbias),
            ..step
        };
        self.bn.backward_step(step, saved, workspace)?;
        Ok([bits_of(&dresidual), bits_of(&dweight), bits_of(&dbias)])
    }

    /// Every way gives the bits of the plain one.
    fn check(&self, name: &str, workspace: &mut Workspace<T>) {
        let Self { bn, mode, shape, x, dy, options, .. } = *self;
        let mut y = vec![T::default(); x.len()];
        let step = Forward { options, ..Forward::new(shape, x, &mut y) };
        let saved = forward(bn, mode, step, workspace).unwrap();
        if !saved.from_batch() || mode == Mode::Eval {
            let mut over = x.to_vec();
            let step = Forward { options, ..Forward::over(shape, &mut over) };
            let own = forward(bn, mode, step, workspace).unwrap();
            let same = bits_of(&over) == bits_of(&y) && bits_of(own.mean()) == bits_of(saved.mean());
            assert!(same, "{name}: y over x");
        }
        let mut dx = vec![T::default(); x.len()];
        let step = Backward { dx: Some((&mut dx).into()), ..Backward::new(x, dy) };
        let want = Bits { others: self.backward(&saved, step, workspace).unwrap(), dx: bits_of(&dx) };

        let mut over = dy.to_vec();
        let others = self.backward(&saved, Backward::over(x, &mut over), workspace).unwrap();
        let got = Bits { dx: bits_of(&over), others };
        assert!(got == want, "{name}: dx over dy");

        let there: Vec<T> = values(x.len(), 41, 0.2).iter().map(|&v| number(v.into())).collect();
        let mut added = there.clone();
        let step = Backward { dx: Some(To::Added(&mut added)), ..Backward::new(x, dy) };
        let others = self.backward(&saved, step, workspace).unwrap();
        let sum = |(&there, &dx): (&T, &T)| T::from_compute(there.to_compute() + dx.to_compute());
        let sums: Vec<T> = there.iter().zip(&dx).map(sum).collect();
        assert!(bits_of(&added) == bits_of(&sums) && others == want.others, "{name}: dx added");
    }
}

/// A tensor as it lies in memory.
fn slice<T>(tensor: &Array3<T>) -> &[T] {
    tensor.as_slice().unwrap()
}

fn shape_of<T>(x: ArrayView3<'_, T>, layout: Layout) -> Shape {
    Shape::from_dims(x.shape(), layout).unwrap()
}

/// Every combination of options over these inputs.
fn combinations<T: Element>(inputs: &Inputs<T>, of: &str, workspace: &mut Workspace<T>) {
    let layout = inputs.bn.config().layout;
    let (bn, shape, x) = (&inputs.bn, shape_of(inputs.x.view(), layout), slice(&inputs.x));
    for mode in MODES {
        for (i, activation) in ACTIVATIONS.into_iter().cycle().take(16).enumerate() {
            let [plus, masked] = [i / 4 % 2 == 1, i / 8 == 1];
            let mut options = OwnOptions::default().activation(activation);
            options.residual = plus.then(|| slice(&inputs.residual));
            options.mask = masked.then(|| inputs.mask.as_slice().unwrap());
            let mut y = vec![T::default(); x.len()];
            let step = Forward { options, ..Forward::new(shape, x, &mut y) };
            forward(bn, mode, step, workspace).unwrap();
            for by_y in [false, true] {
                let mut kept = Kept::default();
                (kept.y, kept.mask) = (by_y.then_some(&y[..]), options.mask);
                kept.residual = options.residual.filter(|_| !by_y);
                let own = Own { bn, mode, shape, x, dy: slice(&inputs.dy), options, kept };
                let name = format!("{of} {} {shape} {mode} {activation:?} {plus} {masked} {by_y}", T::NAME);
                own.check(&name, workspace);
            }
        }
    }
}

fn everywhere<T: Element>() {
    let mut workspace = Workspace::default();
    for (dims, layout) in DIMS.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout))) {
        let config = Config::default().layout(layout).one_value(OneValue::Bias);
        combinations(&Inputs::<T>::plain(dims, config), "plain", &mut workspace);
        if dims[1] > 1 {
            combinations(&Inputs::<T>::hard(dims, config), "hard", &mut workspace);
        }
        let mut frozen = Inputs::<T>::plain(dims, config);
        frozen.bn.set_frozen(Frozen::Statistics).unwrap();
        combinations(&frozen, "frozen", &mut workspace);
    }
}

#[test]
fn outputs_over_inputs_and_sums_have_the_bits_of_f32() {
    everywhere::<f32>();
}

#[test]
fn outputs_over_inputs_and_sums_have_the_bits_of_f64() {
    everywhere::<f64>();
}

#[test]
fn outputs_over_inputs_and_sums_have_the_bits_of_half_types() {
    everywhere::<f16>();
    everywhere::<bf16>();
}

/// Every feature out of its type's range: small, large, or not finite.
fn all_hard<T: Element>(scales: &[(f64, f64, f64)]) {
    let mut workspace = Workspace::default();
    for &(of_x, of_dy, of_weight) in scales {
        for (dims, layout) in DIMS.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout))) {
            let config = Config::default().layout(layout).one_value(OneValue::Bias);
            let mut inputs = Inputs::<T>::plain(dims, config);
            let scaled = |v: &T, by: f64| number::<T>(crate::common::exact(*v) * by);
            inputs.x.mapv_inplace(|v| scaled(&v, of_x));
            inputs.dy.mapv_inplace(|v| scaled(&v, of_dy));
            inputs.bn.weight.mapv_inplace(|w| number(crate::common::exact(w) * of_weight));
            combinations(&inputs, &format!("{of_x:e} {of_dy:e} {of_weight:e}"), &mut workspace);
        }
    }
}

#[test]
fn what_leaves_the_range_reads_its_inputs_before_they_are_gone() {
    let nan = f64::NAN;
    all_hard::<f32>(&[(1e-36, 1e-31, 1.0), (1.0, 1.0, 1e-33), (1.0, nan, 1.0), (nan, 1.0, 1.0)]);
    all_hard::<f64>(&[(1e300, 1.0, 1.0), (1.0, 1e-300, 1e-290), (1.0, f64::INFINITY, 1.0)]);
}

/// Virtual batches, renormalized or not.
#[test]
fn virtual_batches_and_renormalized_ones_have_the_bits() {
    fn of<T: Element>() {
        let mut workspace = Workspace::default();
        for dims in [[37, 13, 1], [7, 12, 30], [9, 24, 300], [30, 1, 90]] {
            for inputs in [Inputs::<T>::plain(dims, Config::default()), Inputs::hard(dims, Config::default())]
            {
                let shape = shape_of(inputs.x.view(), Layout::ChannelsFirst);
                for (i, activation) in ACTIVATIONS.into_iter().cycle().take(12).enumerate() {
                    let mut options = OwnOptions::default().activation(activation);
                    options.ghost = [Some(3), None, Some(2)][i % 3];
                    options.renorm = (i % 3 > 0).then_some(Renorm { r_max: 2.0, d_max: 1.0 });
                    options.residual = (i > 6).then(|| slice(&inputs.residual));
                    let mut kept = Kept::default();
                    kept.residual = options.residual;
                    let (bn, x, dy) = (&inputs.bn, slice(&inputs.x), slice(&inputs.dy));
                    let own = Own { bn, mode: Mode::Train, shape, x, dy, options, kept };
                    own.check(&format!("{} {dims:?} {i}", T::NAME), &mut workspace);
                }
            }
        }
    }
    of::<f32>();
    of::<f64>();
    of::<f16>();
}

/// The backward of a part, from the sums of all of them: dy is read before they are merged.
#[test]
fn parts_have_the_bits() {
    for dims in [[64, 13, 1], [6, 12, 30], [9, 24, 300]] {
        for inputs in [Inputs::<f64>::plain(dims, Config::default()), Inputs::hard(dims, Config::default())] {
            let (shape, mut workspace) =
                (shape_of(inputs.x.view(), Layout::ChannelsFirst), Workspace::default());
            let (bn, x, dy) = (&inputs.bn, slice(&inputs.x), slice(&inputs.dy));
            let (backend, mut y) = (DefaultBackend::default(), vec![0.0; x.len()]);
            let saved = forward(bn, Mode::Train, Forward::new(shape, x, &mut y), &mut workspace).unwrap();
            let sums = parts::sum_gradients(&backend, &Backward::new(x, dy), 0, &saved, &mut workspace);
            let sums = sums.unwrap();
            let mut backward = |step: Backward<'_, f64>| {
                let mut dweight = vec![7.0; shape.features()];
                let step = Backward { weight: bn.weight.as_slice(), dweight: Some(&mut dweight), ..step };
                parts::backward(&backend, step, &sums, &saved, &mut workspace).unwrap();
                bits_of(&dweight)
            };
            let (mut dx, mut over, mut added) = (y, dy.to_vec(), vec![0.75; x.len()]);
            let want = backward(Backward { dx: Some((&mut dx).into()), ..Backward::new(x, dy) });
            assert_eq!(backward(Backward::over(x, &mut over)), want);
            assert_eq!(backward(Backward { dx: Some(To::Added(&mut added)), ..Backward::new(x, dy) }), want);
            assert!(bits_of(&over) == bits_of(&dx), "{dims:?}");
            assert!(
                bits_of(&added) == bits_of(&dx.iter().map(|dx| 0.75 + dx).collect::<Vec<_>>()),
                "{dims:?}"
            );
        }
    }
}

/// Tensors that are shared out: by features, by nodes of the sums and by rows; blocks that are summed while others are mapped.
#[test]
fn large_tensors_have_the_bits_on_many_threads() {
    for (dims, layout) in [
        ([8, 96, 784], Layout::ChannelsFirst),
        ([16, 180, 196], Layout::ChannelsLast),
        ([600, 1, 1000], Layout::ChannelsFirst),
        ([4, 3, 100_000], Layout::ChannelsFirst),
    ] {
        let mut workspace = Workspace::default();
        for hard in [false, true] {
            let of = if hard { Inputs::<f32>::hard } else { Inputs::<f32>::plain };
            let inputs = of(dims, Config::default().layout(layout));
            let shape = shape_of(inputs.x.view(), layout);
            for activation in [Activation::Identity, Activation::Relu] {
                let options = OwnOptions::default().activation(activation);
                let (bn, x, dy) = (&inputs.bn, slice(&inputs.x), slice(&inputs.dy));
                for mode in MODES {
                    let own = Own { bn, mode, shape, x, dy, options, kept: Kept::default() };
                    own.check(&format!("{dims:?} {layout} {hard} {activation:?} {mode}"), &mut workspace);
                }
            }
        }
    }
}

/// Arrays in either layout and in any order of memory.
#[test]
fn arrays_are_evaluated_in_place() {
    for (layout, activation) in LAYOUTS.into_iter().flat_map(|layout| ACTIVATIONS.map(|of| (layout, of))) {
        for with in [[false, false], [true, false], [false, true], [true, true]] {
            let mut inputs = Inputs::<f32>::hard([5, 12, 30], Config::default().layout(layout));
            let (want, _) = inputs.forward(Mode::Eval, inputs.options(activation, with));
            let mut x = inputs.x.clone();
            inputs.bn.forward_eval_over(&mut x, inputs.options(activation, with)).unwrap();
            assert!(bits_of(&x) == bits_of(&want), "{layout} {activation:?} {with:?}");

            // With gaps, and in another order than the residual's.
            let mut all = Array3::<f32>::zeros([10, inputs.x.dim().1, inputs.x.dim().2]);
            let mut part = all.slice_mut(s![..;2, .., ..]);
            part.assign(&inputs.x);
            inputs.bn.forward_eval_over(&mut part, inputs.options(activation, with)).unwrap();
            assert!(bits_of(&part) == bits_of(&want), "{layout} {activation:?} {with:?}, with gaps");
            assert!(all.slice(s![1..;2, .., ..]).iter().all(|&v| v == 0.0));
            let turned = inputs.residual.view().permuted_axes([0, 2, 1]).as_standard_layout().into_owned();
            inputs.residual = turned.permuted_axes([0, 2, 1]);
            let mut x = inputs.x.clone();
            inputs.bn.forward_eval_over(&mut x, inputs.options(activation, with)).unwrap();
            assert!(bits_of(&x) == bits_of(&want), "{layout} {activation:?} {with:?}, in another order");
        }
    }
    let bn = BatchNorm::<f32>::new(2).unwrap();
    let mut x = array![[1.0, 2.0, 3.0]];
    assert!(bn.forward_eval_over(&mut x, Options::default()).is_err());
    let mut x = array![[1.0, 2.0]];
    let other = array![[1.0], [2.0]];
    let error = bn.forward_eval_over(&mut x, Options::default().residual(other.view())).unwrap_err();
    assert!(matches!(error, Error::Dims { what: "the residual", .. }), "{error}");
    assert_eq!(x, array![[1.0, 2.0]]);
}

/// A sum is the type's own: −0 and +0 make +0, and what does not exist adds 0.
#[test]
fn what_is_masked_stays_or_becomes_zero() {
    let mut bn = BatchNorm::<f32>::new(1).unwrap();
    let (shape, x, mask) = (Shape::nc(3, 1).unwrap(), [1.0, 9.0, 3.0], [true, false, true]);
    let (mut y, mut saved, mut workspace) = ([0.0; 3], Saved::default(), Workspace::default());
    let options = Options::default().mask(&mask[..]);
    let step = Forward { options, ..Forward::new(shape, &x, &mut y) };
    bn.forward_step(step, &mut saved, &mut workspace).unwrap();
    let kept = Kept::default().mask(&mask[..]);
    let (mut over, mut added) = ([1.0, f32::NAN, 0.0], [0.5, 5.0, 0.25]);
    let step = Backward { kept, dx: Some(To::Added(&mut added)), ..Backward::new(&x, &[1.0, f32::NAN, 0.0]) };
    bn.backward_step(step, &saved, &mut workspace).unwrap();
    bn.backward_step(Backward { kept, ..Backward::over(&x, &mut over) }, &saved, &mut workspace).unwrap();
    assert_eq!((over[1], added[1]), (0.0, 5.0));
    assert_eq!([added[0], added[2]], [0.5 + over[0], 0.25 + over[2]]);

    let mut x = [1.0, 9.0, 3.0];
    let step = Forward { options, ..Forward::over(shape, &mut x) };
    bn.forward_eval_step(step, &mut saved, &mut workspace).unwrap();
    assert!(x[1] == 0.0 && x[0] != 1.0);
}

#[test]
fn errors_leave_buffers_as_they_are() {
    let bn = BatchNorm::<f32>::new(2).unwrap();
    let (shape, mut workspace) = (Shape::nc(2, 2).unwrap(), Workspace::default());
    let (mut x, mut y) = ([1.0, 2.0, 3.0, 5.0], [7.0; 4]);
    let error = forward(&bn, Mode::Train, Forward::over(shape, &mut x), &mut workspace).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a y beside x in training, whose backward reads x, got a y over x"
    );
    let step = Forward { y: To::Added(&mut y), ..Forward::new(shape, &x, &mut []) };
    let error = forward(&bn, Mode::Eval, step, &mut workspace).unwrap_err();
    assert!(matches!(error, Error::Options { .. }), "{error}");
    let length = |what, got| Error::Length { what, expected: 4, got };
    let error = forward(&bn, Mode::Eval, Forward::over(shape, &mut x[1..]), &mut workspace).unwrap_err();
    assert_eq!(error, length("x", 3));
    let other = [1.0; 4];
    let step = Forward { x: &other, ..Forward::over(shape, &mut x) };
    let error = forward(&bn, Mode::Eval, step, &mut workspace).unwrap_err();
    assert_eq!(error.to_string(), "expected no other x beside the one that y goes over, got one of 4 values");
    assert_eq!((x, y), ([1.0, 2.0, 3.0, 5.0], [7.0; 4]));

    let saved = forward(&bn, Mode::Train, Forward::new(shape, &x, &mut [0.0; 4]), &mut workspace).unwrap();
    let mut refused = |step: Backward<'_, f32>| bn.backward_step(step, &saved, &mut workspace).unwrap_err();
    assert_eq!(refused(Backward::over(&x, &mut y[1..])), length("dy", 3));
    let step = Backward { dx: Some(To::Added(&mut y[1..])), ..Backward::new(&x, &other) };
    assert_eq!(refused(step), length("dx", 3));
    let step = Backward { dx: None, ..Backward::over(&x, &mut y) };
    assert_eq!(refused(step), length("dy", 0));
    let error = refused(Backward { dy: &other, ..Backward::over(&x, &mut y) });
    assert!(matches!(error, Error::Options { .. }), "{error}");
    let mut dbias = [7.0; 3];
    assert_eq!(
        refused(Backward { dbias: Some(&mut dbias), ..Backward::over(&x, &mut y) }),
        Error::Length { what: "dbias", expected: 2, got: 3 }
    );
    assert_eq!((y, dbias), ([7.0; 4], [7.0; 3]));
}
