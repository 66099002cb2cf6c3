//! Steps over a tensor of which not every position exists: those of the tensor with the gaps closed, and zeros.

use crate::common::{Inputs, bits_of, exact, in_order, message, number, tensor};
use batchnorm::{Activation, BatchNorm, Config, Element, Kept, Layout, Mode, OneValue, Options, RunningVar};
use half::{bf16, f16};
use ndarray::{Array1, Array2, Array3, Array4, ArrayView3, array, s};

const LAYOUTS: [Layout; 2] = [Layout::ChannelsFirst, Layout::ChannelsLast];
const MODES: [Mode; 2] = [Mode::Train, Mode::Eval];

/// Short and long runs, values side by side.
const SHAPES: [[usize; 3]; 5] = [[9, 13, 5], [41, 26, 1], [300, 130, 1], [3, 12, 130], [2, 12, 2051]];

/// What may stand where nothing exists.
const ODD: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30];

/// x, dy and the residual hold what is odd where nothing exists.
fn poisoned<T: Element>(mut inputs: Inputs<T>, from: usize) -> Inputs<T> {
    let layout = inputs.bn.config().layout;
    for (i, of) in [&mut inputs.x, &mut inputs.dy, &mut inputs.residual].into_iter().enumerate() {
        let now = in_order(of, layout).to_owned();
        *of = tensor(now.dim().into(), layout, |n, c, l| {
            if inputs.mask[[n, l]] { now[[n, c, l]] } else { number(ODD[(from + i + n + l) % ODD.len()]) }
        });
    }
    inputs
}

/// The valid positions of a tensor, one after the other: (positions, C).
fn closed<T: Element>(of: &Array3<T>, layout: Layout, mask: &Array2<bool>) -> Array2<T> {
    let of = in_order(of, layout);
    let valid: Vec<_> = mask.indexed_iter().filter(|(_, valid)| **valid).map(|(at, _)| at).collect();
    Array2::from_shape_fn((valid.len(), of.dim().1), |(i, c)| of[[valid[i].0, c, valid[i].1]])
}

/// Largest difference, of numbers around 1 or larger that it is then measured by.
fn apart<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
    assert_eq!(a.len(), b.len());
    a.into_iter().zip(b).fold(0.0, |most: f64, (a, b)| {
        let apart = (a - b).abs() / a.abs().max(1.0);
        if apart.is_nan() { f64::INFINITY } else { most.max(apart) }
    })
}

/// In f64, whose unit is 10⁻¹⁶: the sums are of thousands of terms around 1, each result within a few units of their size.
const NEAR: f64 = 1e-12;

#[test]
fn a_masked_step_is_that_of_the_tensor_without_gaps() {
    let activations = [Activation::Identity, Activation::Relu6, Activation::LeakyRelu(0.1)];
    let all = SHAPES.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout)));
    for (dims, layout, mode) in all.flat_map(|(dims, layout)| MODES.map(|mode| (dims, layout, mode))) {
        let mut inputs = poisoned(Inputs::<f64>::plain(dims, Config::default().layout(layout)), 0);
        let mut bn = inputs.bn.clone();
        for (i, activation) in activations.into_iter().enumerate() {
            let plus = i != 1;
            let [x, dy, residual] =
                [&inputs.x, &inputs.dy, &inputs.residual].map(|of| closed(of, layout, &inputs.mask));
            let mut options = Options::default().activation(activation);
            options.residual = plus.then(|| residual.view());
            let (want_y, want_saved) = match mode {
                Mode::Train => bn.forward_with(&x, options),
                Mode::Eval => bn.forward_eval_with(&x, options),
            }
            .unwrap();
            let want = bn.backward_with(&want_saved, &x, &dy, Kept::default().y(want_y.view())).unwrap();

            let (y, saved) = inputs.forward(mode, inputs.options(activation, [plus, true]));
            if mode == Mode::Train {
                inputs.bn.commit(&saved).unwrap();
            }
            let kept = Kept::default().y(y.view()).mask(inputs.mask.view());
            let g = inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept).unwrap();
            let name = format!("{activation:?} {dims:?} {layout} {mode}");
            let mut pairs = vec![
                ("mean", saved.mean().to_vec(), want_saved.mean().to_vec()),
                ("var", saved.var().to_vec(), want_saved.var().to_vec()),
                ("invstd", saved.invstd().to_vec(), want_saved.invstd().to_vec()),
                ("dweight", g.dweight.to_vec(), want.dweight.to_vec()),
                ("dbias", g.dbias.to_vec(), want.dbias.to_vec()),
            ];
            let tensors = [("y", Some(y), Some(want_y)), ("dx", Some(g.dx), Some(want.dx))];
            for (what, own, want) in tensors.into_iter().chain([("dresidual", g.dresidual, want.dresidual)]) {
                assert_eq!(
                    (own.is_some(), want.is_some()),
                    (plus || what != "dresidual", plus || what != "dresidual")
                );
                if let (Some(own), Some(want)) = (own, want) {
                    assert!(zero_where_nothing_is(&own, layout, &inputs.mask), "{name} {what}");
                    pairs.push((
                        what,
                        closed(&own, layout, &inputs.mask).iter().copied().collect(),
                        want.iter().copied().collect(),
                    ));
                }
            }
            let (running, want) = (inputs.bn.running.clone().unwrap(), bn.running.clone().unwrap());
            pairs.push(("running_mean", running.mean.to_vec(), want.mean.to_vec()));
            pairs.push(("running_var", running.var.to_vec(), want.var.to_vec()));
            assert_eq!(running.num_batches_tracked, want.num_batches_tracked);
            for (what, own, want) in pairs {
                assert!(apart(&own, &want) < NEAR, "{name} {what}: {own:?} {want:?}");
            }
        }
    }
}

/// Whether +0 stands wherever there is nothing.
fn zero_where_nothing_is<T: Element>(of: &Array3<T>, layout: Layout, mask: &Array2<bool>) -> bool {
    let of = in_order(of, layout);
    of.indexed_iter().all(|((n, _, l), v)| mask[[n, l]] || exact(*v).to_bits() == 0)
}

/// Every bit is the same whatever stands where nothing is, with hard features as well.
fn nothing_is_nothing<T: Element>() {
    for (dims, layout) in SHAPES.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout))) {
        let config = Config::default().layout(layout);
        let makes = [Inputs::<T>::plain as fn(_, _) -> _, Inputs::hard];
        for (make, mode) in makes.into_iter().flat_map(|make| MODES.map(|mode| (make, mode))) {
            for (activation, plus) in
                [(Activation::Identity, true), (Activation::Relu, true), (Activation::Relu6, false)]
            {
                let results =
                    [make(dims, config), poisoned(make(dims, config), 0), poisoned(make(dims, config), 3)];
                let results = results.map(|inputs| {
                    let (y, saved) = inputs.forward(mode, inputs.options(activation, [plus, true]));
                    let mut kept = Kept::default().mask(inputs.mask.view());
                    kept.residual = plus.then(|| inputs.residual.view());
                    let g = inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept).unwrap();
                    for of in [Some(&y), Some(&g.dx), g.dresidual.as_ref()].into_iter().flatten() {
                        assert!(zero_where_nothing_is(of, layout, &inputs.mask), "{activation:?} {dims:?}");
                    }
                    let tensors =
                        [bits_of(&y), bits_of(&g.dx), g.dresidual.map_or(vec![], |of| bits_of(&of))];
                    (tensors, [bits_of(&g.dweight), bits_of(&g.dbias), bits_of(saved.var())])
                });
                assert_eq!(results[0], results[1], "{} {activation:?} {dims:?} {layout} {mode}", T::NAME);
                assert_eq!(results[0], results[2], "{} {activation:?} {dims:?} {layout} {mode}", T::NAME);
            }
        }
    }
}

#[test]
fn what_stands_where_nothing_is_changes_no_bit() {
    nothing_is_nothing::<f32>();
    nothing_is_nothing::<f64>();
    nothing_is_nothing::<f16>();
    nothing_is_nothing::<bf16>();
}

fn all_valid_is_no_mask<T: Element>() {
    for (dims, layout) in SHAPES.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout))) {
        for mode in MODES {
            let mut inputs = Inputs::<T>::hard(dims, Config::default().layout(layout));
            inputs.mask.fill(true);
            let [plain, masked] = [false, true].map(|masked| {
                let (y, saved) = inputs.forward(mode, inputs.options(Activation::Relu, [true, masked]));
                let mut kept = Kept::default().residual(inputs.residual.view());
                kept.mask = masked.then(|| inputs.mask.view());
                (bits_of(&y), bits_of(saved.invstd()), inputs.backward(&saved, &inputs.dy, kept))
            });
            assert_eq!(plain, masked, "{} {dims:?} {layout} {mode}", T::NAME);
        }
    }
}

#[test]
fn a_mask_that_leaves_nothing_out_changes_no_bit() {
    all_valid_is_no_mask::<f32>();
    all_valid_is_no_mask::<f64>();
    all_valid_is_no_mask::<f16>();
    all_valid_is_no_mask::<bf16>();
}

fn none_valid_is_an_empty_batch<T: Element>(momentum: Option<f64>) {
    let all = SHAPES.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout)));
    for (dims, layout) in all {
        let config = Config::default().layout(layout).momentum(momentum);
        let mut inputs = Inputs::<T>::hard(dims, config);
        inputs.mask.fill(false);
        for (activation, mode) in [
            (Activation::Identity, Mode::Train),
            (Activation::Relu, Mode::Train),
            (Activation::Relu6, Mode::Eval),
        ] {
            let (y, saved) = inputs.forward(mode, inputs.options(activation, [true, true]));
            let before = inputs.bn.running.clone();
            if mode == Mode::Train {
                inputs.bn.commit(&saved).unwrap();
                assert!(saved.mean().iter().chain(saved.var()).all(|v| exact(*v) == 0.0));
            }
            assert_eq!(inputs.bn.running, before, "{activation:?} {dims:?}");
            let kept = Kept::default().mask(inputs.mask.view()).residual(inputs.residual.view());
            let ([dx, dweight, dbias], dresidual) = inputs.backward(&saved, &inputs.dy, kept);
            for of in [bits_of(&y), dx, dweight, dbias, dresidual.unwrap()] {
                assert!(of.iter().all(|bits| *bits == 0), "{} {activation:?} {dims:?} {layout}", T::NAME);
            }
        }
    }
}

#[test]
fn a_mask_that_leaves_all_out_is_an_empty_batch() {
    none_valid_is_an_empty_batch::<f32>(Some(0.1));
    none_valid_is_an_empty_batch::<f64>(None);
    none_valid_is_an_empty_batch::<f16>(None);
    none_valid_is_an_empty_batch::<bf16>(Some(0.1));
}

/// A single position that exists is a single value, however many there are.
#[test]
fn one_valid_position_is_one_value_per_feature() {
    for (dims, layout) in SHAPES.into_iter().flat_map(|dims| LAYOUTS.map(|layout| (dims, layout))) {
        let inputs = |one_value| {
            let config = Config::default().layout(layout).one_value(one_value);
            let mut inputs = Inputs::<f32>::plain(dims, config);
            inputs.mask.fill(false);
            inputs.mask[[1, dims[2] / 2]] = true;
            poisoned(inputs, 1)
        };
        let refused = inputs(OneValue::Refused);
        let options = refused.options(Activation::Identity, [false, true]);
        let text = message(refused.bn.forward_uncommitted_with(&refused.x, options));
        assert!(
            text.starts_with("expected more than 1 value per feature to take batch statistics, got 1"),
            "{text}"
        );
        refused.bn.forward_eval_with(&refused.x, options).unwrap();

        let mut taken = inputs(OneValue::Bias);
        let (y, saved) = taken.forward(Mode::Train, taken.options(Activation::Identity, [false, true]));
        let (y, x) = (closed(&y, layout, &taken.mask), closed(&taken.x, layout, &taken.mask));
        assert_eq!((y.row(0), saved.mean()), (taken.bn.bias.view(), &x.row(0).to_vec()[..]));
        assert!(saved.var().iter().all(|var| *var == 0.0));
        let ([dx, dweight, dbias], _) =
            taken.backward(&saved, &taken.dy, Kept::default().mask(taken.mask.view()));
        assert!(dx.iter().chain(&dweight).all(|bits| bits << 1 == 0));
        assert_eq!(dbias, bits_of(&closed(&taken.dy, layout, &taken.mask)));
        let running = taken.bn.running.clone().unwrap();
        taken.bn.commit(&saved).unwrap();
        // Bessel's factor counts as 1.
        let committed = taken.bn.running.unwrap();
        assert!(committed.var.iter().zip(&running.var).all(|(own, old)| (own - 0.9 * old).abs() <= 1e-6));
    }
}

/// Two values of four, worked out by hand.
#[test]
fn the_number_of_valid_values_is_n() {
    let (x, valid) = (array![[1.0], [f64::NAN], [5.0], [1e300]], array![true, false, true, false]);
    for (kind, var) in [(RunningVar::Unbiased, 8.0), (RunningVar::Biased, 4.0)] {
        let config = Config::default().momentum(Some(1.0)).running_var(kind);
        let mut bn = BatchNorm::<f64>::with_config(1, config).unwrap();
        let (_, saved) = bn.forward_with(&x, Options::default().mask(valid.view())).unwrap();
        assert_eq!((saved.mean(), saved.var()), (&[3.0][..], &[4.0][..]));
        let running = bn.running.unwrap();
        assert_eq!((running.mean[0], running.var[0], running.num_batches_tracked), (3.0, var, 1), "{kind:?}");
    }
    // The cumulative average counts batches, not values, and none where nothing is valid.
    let mut bn = BatchNorm::<f64>::with_config(1, Config::default().momentum(None)).unwrap();
    for (valid, mean, batches) in
        [([true, false, true, false], 3.0, 1), ([false; 4], 3.0, 1), ([true, false, false, false], 3.0, 1)]
    {
        let mask = Array1::from(valid.to_vec());
        let result = bn.forward_with(&x, Options::default().mask(mask.view()));
        assert_eq!(result.is_err(), valid == [true, false, false, false]);
        let running = bn.running.as_ref().unwrap();
        assert_eq!((running.mean[0], running.num_batches_tracked), (mean, batches), "{valid:?}");
    }
    let mask = array![true, false, true, false];
    bn.forward_with(&(&x + 2.0), Options::default().mask(mask.view())).unwrap();
    let running = bn.running.unwrap();
    assert_eq!((running.mean[0], running.var[0], running.num_batches_tracked), (4.0, 8.0, 2));
}

/// Tensors of four axes: in standard order, cut out of larger ones, turned, and as views of the other layout's memory.
#[test]
fn views_are_masked_as_their_copies() {
    let dims = (3, 5, 4, 6);
    let of = |seed: usize| {
        let all = crate::common::values(3 * 5 * 4 * 6, seed, 0.2);
        Array4::from_shape_vec(dims, all.into_iter().map(f64::from).collect()).unwrap()
    };
    let (x, dy, residual) = (of(0), of(31), of(77));
    let mask = Array3::from_shape_fn((3, 4, 6), |(n, h, w)| (n + 2 * h + 3 * w) % 4 != 0);
    let bn = BatchNorm::<f64>::new(5).unwrap();
    type View<'a> = ndarray::ArrayView4<'a, f64>;
    let step = |[x, dy, residual]: [View<'_>; 3], mask: ArrayView3<'_, bool>| {
        let options = Options::default().activation(Activation::Relu).residual(residual).mask(mask);
        let (y, saved) = bn.forward_uncommitted_with(&x, options).unwrap();
        let kept = Kept::default().residual(residual).mask(mask);
        let g = bn.backward_with(&saved, &x, &dy, kept).unwrap();
        let by_y = bn.backward_with(&saved, &x, &dy, Kept::default().y(y.view()).mask(mask)).unwrap();
        assert_eq!(g, by_y);
        [y, g.dx, g.dresidual.unwrap()]
    };
    let all = [x.view(), dy.view(), residual.view()];
    let want = step(all, mask.view());
    let compare = |got: [Array4<f64>; 3], exactly: bool, name: &str| {
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(got.dim(), want.dim());
            assert!(if exactly { got == want } else { apart(got, want) < NEAR }, "{name}");
        }
    };
    // In memory of one sample behind another, with gaps.
    let mut wide = [0, 1, 2].map(|_| Array4::from_elem((6, 5, 4, 6), f64::NAN));
    wide.iter_mut().zip(all).for_each(|(wide, own)| wide.slice_mut(s![..;2, .., .., ..]).assign(&own));
    let cut = [0, 1, 2].map(|i| wide[i].slice(s![..;2, .., .., ..]));
    compare(step(cut, mask.view()), true, "gaps between samples");
    // The mask by itself: backwards, and its axes in another order of memory.
    let backwards = mask.slice(s![..;-1, .., ..;-1]).to_owned();
    compare(step(all, backwards.slice(s![..;-1, .., ..;-1])), true, "a mask backwards");
    let turned = mask.view().permuted_axes([2, 0, 1]).as_standard_layout().into_owned();
    compare(step(all, turned.view().permuted_axes([1, 2, 0])), true, "a turned mask");
    // Turned, backwards, every other column: copied to the standard order.
    let columns = [0, 1, 2].map(|i| {
        let mut wide = Array4::from_elem((3, 5, 4, 12), f64::NAN);
        wide.slice_mut(s![.., .., .., ..;2]).assign(&all[i]);
        wide
    });
    compare(step([0, 1, 2].map(|i| columns[i].slice(s![.., .., .., ..;2])), mask.view()), true, "columns");
    let turned = all.map(|of| of.permuted_axes([3, 1, 2, 0]).as_standard_layout().into_owned());
    compare(
        step([0, 1, 2].map(|i| turned[i].view().permuted_axes([3, 1, 2, 0])), mask.view()),
        true,
        "turned",
    );
    // (N, C, H, W) views of (N, H, W, C) memory, x alone as well: in the order of memory, hence other sums.
    let last = all.map(|of| of.permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned());
    let last = [0, 1, 2].map(|i| last[i].view().permuted_axes([0, 3, 1, 2]));
    compare(step(last, mask.view()), false, "channels last in memory");
    compare(step([last[0], all[1], all[2]], mask.view()), false, "x channels last in memory");
    // A backward over another memory than the forward's.
    let options = Options::default().mask(mask.view());
    let (_, saved) = bn.forward_uncommitted_with(&last[0], options).unwrap();
    let kept = || Kept::default().mask(mask.view());
    let own = bn.backward_with(&saved, &last[0], &dy, kept()).unwrap();
    assert_eq!(bn.backward_with(&saved, &x, &last[1], kept()).unwrap(), own);
}

/// A mask of (N,) over (N, C), and layouts, which add in another order.
#[test]
fn layouts_and_ranks_give_the_same_numbers() {
    for dims in SHAPES {
        let results = LAYOUTS.map(|layout| {
            let inputs = Inputs::<f64>::plain(dims, Config::default().layout(layout));
            let (y, saved) = inputs.forward(Mode::Train, inputs.options(Activation::Relu, [true, true]));
            let kept = Kept::default().y(y.view()).mask(inputs.mask.view());
            let g = inputs.bn.backward_with(&saved, &inputs.x, &inputs.dy, kept).unwrap();
            let ordered = |of: &Array3<f64>| in_order(of, layout).iter().copied().collect::<Vec<_>>();
            [ordered(&y), ordered(&g.dx), g.dweight.to_vec(), g.dbias.to_vec(), saved.var().to_vec()]
        });
        assert!(results[0].iter().zip(&results[1]).all(|(a, b)| apart(a, b) < NEAR), "{dims:?}");
        if dims[2] == 1 {
            let inputs = Inputs::<f64>::plain(dims, Config::default());
            let [x, dy, residual] =
                [&inputs.x, &inputs.dy, &inputs.residual].map(|of| of.index_axis(ndarray::Axis(2), 0));
            let mask = inputs.mask.column(0);
            let options = Options::default().activation(Activation::Relu).residual(residual).mask(mask);
            let (y, saved) = inputs.bn.forward_uncommitted_with(&x, options).unwrap();
            let g = inputs.bn.backward_with(&saved, &x, &dy, Kept::default().y(y.view()).mask(mask)).unwrap();
            let own = [
                y.iter().copied().collect(),
                g.dx.iter().copied().collect(),
                g.dweight.to_vec(),
                g.dbias.to_vec(),
                saved.var().to_vec(),
            ];
            assert_eq!(own, results[0], "{dims:?}");
        }
    }
}
