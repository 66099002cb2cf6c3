//! No input panics: whatever the dimensions, views, values and settings, there is a result or an error.

use batchnorm::functions::{Backward, Forward};
use batchnorm::parts::{self, Moments, Part, PartialSums, Pooled};
use batchnorm::{
    Activation, Affine, BatchNorm, Config, DefaultBackend, Frozen, Grads, Kept, Layout, NonFinite, OneValue,
    Options, Recalibrate, RunningStats, RunningVar, Saved, Shape, ShapeError, Workspace,
};
use ndarray::{ArrayD, IxDyn, Slice};
use proptest::prelude::*;

fn config() -> impl Strategy<Value = Config> {
    let affine = [Affine::Both, Affine::Scale, Affine::Shift, Affine::None];
    let frozen = [Frozen::Nothing, Frozen::Statistics, Frozen::Parameters, Frozen::All];
    let flags = (
        0..affine.len(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0..frozen.len(),
        any::<bool>(),
    );
    (any::<f64>(), proptest::option::of(any::<f64>()), flags).prop_map(move |(eps, momentum, flags)| {
        // Half of the time usable numbers, so that the layer is made and run.
        let usable = |v: f64, usual: f64| if v.to_bits().is_multiple_of(2) { usual } else { v };
        Config::default()
            .eps(usable(eps, 1e-5))
            .momentum(momentum.map(|m| usable(m, 0.1)))
            .affine(affine[flags.0])
            .track_running_stats(flags.1)
            .running_var(if flags.2 { RunningVar::Biased } else { RunningVar::Unbiased })
            .one_value(if flags.4 { OneValue::Bias } else { OneValue::Refused })
            .non_finite(if flags.6 { NonFinite::LeftOut } else { NonFinite::TakenIn })
            .frozen(frozen[flags.5])
            .layout(if flags.3 { Layout::ChannelsLast } else { Layout::ChannelsFirst })
    })
}

/// Any values: zeros, subnormals, huge ones, NaN and infinities among them.
fn values() -> impl Strategy<Value = Vec<f32>> {
    proptest::collection::vec(prop_oneof![any::<f32>(), -2.0f32..2.0, Just(f32::MAX), Just(0.0)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arrays(
        dims in proptest::collection::vec(0usize..6, 0..5),
        values in values(),
        features in 0usize..7,
        matching in any::<bool>(),
        (axis, step, reversed) in (0usize..4, -3isize..4, any::<bool>()),
        config in config(),
    ) {
        let axis_of_features = match config.layout {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => dims.len().saturating_sub(1),
        };
        let count: usize = dims.iter().product();
        let data: Vec<f32> = (0..count).map(|i| values[i % values.len()]).collect();
        let array = ArrayD::from_shape_vec(IxDyn(&dims), data).unwrap();
        let mut x = array.view();
        if let (true, true) = (axis < dims.len(), step != 0) {
            x.slice_axis_inplace(ndarray::Axis(axis), Slice::new(0, None, step));
        }
        if reversed {
            x = x.reversed_axes();
        }
        let features = if matching { x.shape().get(axis_of_features).copied().unwrap_or(features) } else { features };
        let Ok(mut bn) = BatchNorm::<f32>::with_config(features, config) else { return Ok(()) };
        if let Ok((y, saved)) = bn.forward(&x) {
            prop_assert_eq!(y.shape(), x.shape());
            let g = bn.backward(&saved, &x, &y).unwrap();
            prop_assert_eq!(g.dx.shape(), x.shape());
        }
        if let Ok((y, saved)) = bn.forward_eval_saved(&x) {
            bn.backward_eval(&saved, &x, &y).unwrap();
        }
    }

    #[test]
    fn slices(
        dims in (0usize..9, 0usize..9, 0usize..9),
        lengths in proptest::collection::vec(-2isize..3, 6),
        values in values(),
        exact in any::<bool>(),
        config in config(),
    ) {
        let shape = Shape::new(dims.0, dims.1, dims.2).unwrap();
        let Ok(mut bn) = BatchNorm::<f64>::with_config(dims.1, config) else { return Ok(()) };
        let len = |i: usize, len: usize| if exact { len } else { len.saturating_add_signed(lengths[i]) };
        let buf = |n: usize| (0..n).map(|i| f64::from(values[i % values.len()])).collect::<Vec<_>>();
        let (x, dy) = (buf(len(0, shape.len())), buf(len(1, shape.len())));
        let (mut y, mut dx) = (buf(len(2, shape.len())), buf(len(3, shape.len())));
        let learns = !config.frozen.parameters();
        let params = |has: bool| if has { dims.1 } else { 0 };
        let mut dweight = buf(len(4, params(learns && config.affine.scales())));
        let mut dbias = buf(len(5, params(learns && config.affine.shifts())));
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let forward = bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace);
        let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
        let backward = bn.backward_into(&saved, &x, &dy, grads, &mut workspace);
        if exact {
            let single = shape.count() == 1 && shape.features() > 0
                && config.one_value == OneValue::Refused && !config.frozen.statistics();
            prop_assert_eq!(forward.is_ok(), !single);
            prop_assert!(backward.is_ok() || single);
        }
    }

    /// Steps with any options and whatever is kept of them; lengths fit, mostly.
    #[test]
    fn options(
        dims in (0usize..9, 0usize..9, 0usize..9),
        (lengths, exact) in (proptest::collection::vec(-2isize..3, 6), any::<bool>()),
        values in values(),
        masks in proptest::collection::vec(any::<bool>(), 1..9),
        (slope, kind, flags) in (any::<f64>(), 0usize..5, proptest::collection::vec(any::<bool>(), 8)),
        config in config(),
    ) {
        let shape = Shape::new(dims.0, dims.1, dims.2).unwrap();
        let Ok(bn) = BatchNorm::<f32>::with_config(dims.1, config) else { return Ok(()) };
        let len = |i: usize, len: usize| if exact { len } else { len.saturating_add_signed(lengths[i]) };
        let buf = |n: usize| values.iter().copied().cycle().take(n).collect::<Vec<_>>();
        let (x, plus, y_kept) = (buf(shape.len()), buf(len(0, shape.len())), buf(len(1, shape.len())));
        let mask: Vec<_> = masks.iter().copied().cycle().take(len(2, shape.count())).collect();
        let all = [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)];
        let activation = all.get(kind).copied().unwrap_or(Activation::LeakyRelu(slope));
        let mut options = Options::default().activation(activation);
        (options.residual, options.mask) = (flags[0].then_some(&plus[..]), flags[1].then_some(&mask[..]));
        let (mut saved, mut workspace, mut y) = (Saved::default(), Workspace::default(), buf(shape.len()));
        let step = Forward { options, ..Forward::new(shape, &x, &mut y[..]) };
        let forward = match flags[2] {
            true => bn.forward_eval_step(step, &mut saved, &mut workspace),
            false => bn.forward_uncommitted_step(step, &mut saved, &mut workspace),
        };
        let mut kept = Kept::default();
        kept.y = flags[3].then_some(&y_kept[..]);
        kept.residual = flags[4].then_some(&plus[..]);
        kept.mask = (flags[1] ^ flags[5]).then_some(&mask[..]);
        let (mut dx, mut dresidual) = (buf(len(3, shape.len())), buf(len(4, shape.len())));
        let mut dbias = buf(len(5, dims.1));
        let step = Backward {
            kept,
            dx: flags[6].then_some((&mut dx[..]).into()),
            dresidual: flags[7].then_some(&mut dresidual[..]),
            dbias: (kind > 0).then_some(&mut dbias[..]),
            ..Backward::new(&x, &x)
        };
        let backward = bn.backward_step(step, &saved, &mut workspace);
        prop_assert!(forward.is_ok() || backward.is_err());
        let zeros = |of: &[f32]| of.iter().zip(0..).all(|(v, i)| {
            let position = i / (dims.1 * dims.2).max(1) * dims.2 + i % dims.2.max(1);
            mask[position] || v.to_bits() == 0
        });
        if let (Ok(()), true) = (&forward, flags[1]) {
            prop_assert!(zeros(&y));
            prop_assert!(backward.is_err() || !flags[6] || zeros(&dx));
            prop_assert!(backward.is_err() || !flags[7] || zeros(&dresidual));
        }
    }

    /// Whatever a file says is refused or is a state that steps take.
    #[test]
    fn damaged_files(
        (at, bit) in (any::<prop::sample::Index>(), 0u8..8),
        (n, features) in (0usize..4, 0usize..4),
        config in config(),
    ) {
        let Ok(mut bn) = BatchNorm::<f64>::with_config(features, config) else { return Ok(()) };
        let x = ArrayD::from_shape_fn(IxDyn(&[n, features]), |at| (at[0] * 3 + at[1]) as f64);
        let Ok((_, saved)) = bn.forward(&x) else { return Ok(()) };
        let damaged = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        };
        if let Ok(saved) = postcard::from_bytes::<Saved<f64>>(&damaged(postcard::to_stdvec(&saved).unwrap())) {
            let _ = (bn.backward(&saved, &x, &x), bn.backward_eval(&saved, &x, &x), bn.commit(&saved));
            let shape = saved.shape();
            if shape.len() < 1000 {
                let x = vec![1.0; shape.len()];
                let (mut dx, mut dweight) = (x.clone(), vec![0.0; bn.weight.len()]);
                let mut dbias = vec![0.0; bn.bias.len()];
                let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
                let _ = bn.backward_into(&saved, &x, &x, grads, &mut Workspace::default());
            }
        }
        if let Ok(mut bn) = postcard::from_bytes::<BatchNorm<f64>>(&damaged(postcard::to_stdvec(&bn).unwrap())) {
            let _ = (bn.forward(&x), bn.forward_eval(&x));
        }
    }

    /// Any statistics and sums from elsewhere, damaged on the way or not.
    #[test]
    fn moments(
        (numbers, count) in (proptest::collection::vec(any::<f64>(), 4), any::<usize>()),
        values in values(),
        (at, bit) in (any::<prop::sample::Index>(), 0u8..8),
        (eps, weights) in (any::<f64>(), [any::<f64>(), any::<f64>()]),
    ) {
        let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
        let damaged = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        };
        let x: Vec<f64> = values.iter().flat_map(|v| [f64::from(*v), f64::from(*v) * 1e200]).collect();
        let shape = Shape::nc(values.len(), 2).unwrap();
        let own = Moments::of(&backend, Part::new(shape, &x), &mut workspace).unwrap();
        let given = Moments::<f64>::new(count, &numbers[..2], &numbers[2..].iter().map(|v| v.abs()).collect::<Vec<_>>());
        let sent = postcard::from_bytes::<Moments<f64>>(&damaged(postcard::to_stdvec(&own).unwrap()));
        let all = [Ok(own), given.map_err(|_| ()), sent.map_err(|_| ())];
        let mut merged = Moments::default();
        for moments in all.into_iter().flatten() {
            let _ = (merged.merge(&moments), merged.mean(), merged.var());
            let eps = if eps > 0.0 && eps.is_finite() { eps } else { 1e-5 };
            let Ok(pooled) = Pooled::<f64>::of(&moments, eps) else { continue };
            let (mut y, mut saved) = (x.clone(), Saved::default());
            let step = Forward { eps, ..Forward::new(shape, &x, &mut y[..]) };
            if pooled.forward(&backend, step, &mut saved, &mut workspace).is_err() {
                continue;
            }
            let _ = (Recalibrate::default().add(&saved), Moments::of_saved(&saved));
            let sums = parts::sum_gradients(&backend, &Backward::new(&x, &x), 0, &saved, &mut workspace).unwrap();
            let sent = postcard::from_bytes::<PartialSums<f64>>(&damaged(postcard::to_stdvec(&sums).unwrap()));
            for mut sums in [Some(sums), sent.ok()].into_iter().flatten() {
                let _ = sums.merge(sums.clone());
                let mut dx = x.clone();
                let dx = Some((&mut dx[..]).into());
                let step = Backward { dx, ..Backward::new(&x, &x) };
                let _ = parts::backward(&backend, step, &sums, &saved, &mut workspace);
            }
        }
        let stats = |numbers: &[f64]| RunningStats {
            mean: numbers[..2].to_vec().into(),
            var: numbers[2..].to_vec().into(),
            num_batches_tracked: count as i64,
            ..RunningStats::new(2)
        };
        let (a, b) = (stats(&numbers), stats(&[0.0, 1.0, 1.0, 1.0]));
        let _ = (RunningStats::merge(&[(&a, weights[0]), (&b, weights[1])]), RunningStats::merge_by_batches(&[&a, &b]));
    }

    #[test]
    fn shapes(dims in proptest::collection::vec(any::<usize>(), 0..6)) {
        for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
            if let Err(error) = Shape::from_dims(&dims, layout) {
                prop_assert!(matches!(error, ShapeError::Rank { .. } | ShapeError::TooLarge { .. }), "{error}");
            }
        }
    }
}
