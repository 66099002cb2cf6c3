//! Layers whose statistics, parameters or both training leaves as they are.

use batchnorm::functions::{self, Commit};
use batchnorm::{
    Affine, BatchNorm, Config, DefaultBackend, Element, Error, Frozen, Grads, Mode, Real, Saved, Shape,
    Workspace,
};
use ndarray::{Array2, array};

const ALL: [Frozen; 4] = [Frozen::Nothing, Frozen::Statistics, Frozen::Parameters, Frozen::All];

fn bits<T: Element>(values: impl IntoIterator<Item = T>) -> Vec<u64> {
    values.into_iter().map(|v| v.to_compute().to_f64().to_bits()).collect()
}

/// Ordinary values, a NaN, an infinity, values far from zero, a constant.
fn x<T: Element>() -> Array2<T> {
    Array2::from_shape_fn((9, 5), |(n, c)| {
        let ordinary = ((n * 5 + c * 3) % 11) as f64 / 3.0;
        T::from_compute(T::Compute::from_f64(match (n, c) {
            (3, 1) => f64::NAN,
            (4, 2) => f64::INFINITY,
            (_, 3) => 1000.0 + ordinary,
            (_, 4) => 7.0,
            _ => ordinary,
        }))
    })
}

/// Trained for a step on what is finite, with parameters of its own, one γ of them 0.
fn trained<T: Element>() -> BatchNorm<T> {
    let mut bn = BatchNorm::new(5).unwrap();
    let before = x::<T>().mapv(|v| if v.to_compute().to_f64().is_finite() { v } else { T::default() });
    bn.forward(&before).unwrap();
    let numbers = |values: [f64; 5]| values.into_iter().map(T::Compute::from_f64).collect();
    bn.weight = numbers([0.5, 2.0, -1.0, 0.0, 3.0]);
    bn.bias = numbers([1.0, 0.0, -2.0, 0.25, 5.0]);
    bn
}

/// Frozen statistics make a training step an evaluation's, to the bit, and leave the running ones.
fn training_is_evaluation<T: Element>() {
    let (x, dy) = (x::<T>(), x::<T>().mapv(|v| if v > T::default() { v } else { T::default() }));
    for frozen in [Frozen::Statistics, Frozen::All] {
        let mut bn = trained::<T>();
        let (want, eval) = bn.forward_eval_saved(&x).unwrap();
        let want_g = bn.backward_eval(&eval, &x, &dy).unwrap();
        bn.set_frozen(frozen).unwrap();
        let before = bn.running.clone();
        let (y, saved) = bn.forward(&x).unwrap();
        let (again, _) = bn.forward_uncommitted(&x).unwrap();
        bn.commit(&saved).unwrap();
        assert_eq!(bn.running, before);
        assert_eq!((bits(y), bits(again)), (bits(want.clone()), bits(want)), "{frozen:?} {}", T::NAME);
        assert_eq!((saved.mode(), saved.from_batch()), (Mode::Train, false));
        let g = bn.backward(&saved, &x, &dy).unwrap();
        assert_eq!(bits(g.dx), bits(want_g.dx), "{frozen:?} {}", T::NAME);
        if frozen == Frozen::Statistics {
            assert_eq!((bits(g.dweight), bits(g.dbias)), (bits(want_g.dweight), bits(want_g.dbias)));
        } else {
            assert_eq!((g.dweight.len(), g.dbias.len()), (0, 0));
        }
    }
}

#[test]
fn a_training_step_with_frozen_statistics_is_an_evaluations() {
    training_is_evaluation::<f32>();
    training_is_evaluation::<f64>();
    training_is_evaluation::<half::f16>();
    training_is_evaluation::<half::bf16>();
}

/// y = γ·(x − running mean)/√(running var + eps) + β and dx = γ·dy/√(running var + eps), worked out by hand.
#[test]
fn the_running_statistics_are_constants() {
    let config = Config::default().eps(1.0).frozen(Frozen::Statistics);
    let mut bn = BatchNorm::<f64>::with_config(1, config).unwrap();
    let running = bn.running.as_mut().unwrap();
    (running.mean, running.var) = (array![2.0], array![3.0]);
    (bn.weight, bn.bias) = (array![4.0], array![1.0]);
    let x = array![[1.0], [5.0]];
    let (y, saved) = bn.forward(&x).unwrap();
    assert_eq!(y, array![[-1.0], [7.0]]);
    let g = bn.backward(&saved, &x, &array![[1.0], [0.5]]).unwrap();
    assert_eq!(g.dx, array![[2.0], [1.0]]); // not through the batch
    assert_eq!((g.dweight, g.dbias), (array![-0.5 + 0.75], array![1.5]));
    assert_eq!(bn.forward(&array![[6.0]]).unwrap().0, array![[9.0]]); // one value is enough
}

/// Frozen parameters change no output, no statistic and no dx; their gradients are not there, nor are they in a pair.
#[test]
fn frozen_parameters_have_no_gradients() {
    let x = x::<f32>();
    let (mut free, mut frozen) = (trained::<f32>(), trained::<f32>());
    frozen.set_frozen(Frozen::Parameters).unwrap();
    let ((y, saved), (frozen_y, frozen_saved)) = (free.forward(&x).unwrap(), frozen.forward(&x).unwrap());
    assert_eq!(bits(y.clone()), bits(frozen_y));
    let (g, frozen_g) =
        (free.backward(&saved, &x, &y).unwrap(), frozen.backward(&frozen_saved, &x, &y).unwrap());
    assert_eq!(bits(g.dx.clone()), bits(frozen_g.dx.clone()));
    assert_eq!((frozen_g.dweight.len(), frozen_g.dbias.len()), (0, 0));
    let statistics = |bn: &BatchNorm<f32>| bn.running.clone().map(|r| (bits(r.mean), bits(r.var)));
    assert_eq!(statistics(&free), statistics(&frozen));
    // Nor those that were computed before.
    assert_eq!(frozen.parameters_with(&frozen_g).unwrap().count(), 0);
    assert_eq!(frozen.parameters_with(&g).unwrap().count(), 0);
    assert_eq!(free.parameters_with(&g).unwrap().count(), 2);
    frozen.set_frozen(Frozen::Nothing).unwrap();
    let error = frozen.parameters_with(&frozen_g).unwrap_err().to_string();
    assert_eq!(error, "expected 5 elements in dweight, got 0");
}

#[test]
fn slices_take_gradients_of_what_learns() {
    let shape = Shape::nc(2, 2).unwrap();
    let x = [1.0, 2.0, 3.0, 4.0];
    for frozen in ALL {
        for affine in [Affine::Both, Affine::Scale, Affine::Shift, Affine::None] {
            let config = Config::default().affine(affine).frozen(frozen);
            let mut bn = BatchNorm::<f32>::with_config(2, config).unwrap();
            let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
            bn.forward_into(shape, &x, &mut [0.0; 4], &mut saved, &mut workspace).unwrap();
            let len = |has: bool| if has && !frozen.parameters() { 2 } else { 0 };
            let (mut dweight, mut dbias) = (vec![7.0; len(affine.scales())], vec![7.0; len(affine.shifts())]);
            let mut dx = [7.0; 4];
            let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
            bn.backward_into(&saved, &x, &[1.0; 4], grads, &mut workspace).unwrap();
            assert!(dx.iter().chain(&dweight).chain(&dbias).all(|v| *v != 7.0), "{frozen:?} {affine:?}");
            let tracked = bn.running.unwrap().num_batches_tracked;
            assert_eq!(tracked, i64::from(!frozen.statistics()), "{frozen:?}");
        }
    }
    let config = Config::default().frozen(Frozen::All);
    let mut bn = BatchNorm::<f32>::with_config(2, config).unwrap();
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    bn.forward_into(shape, &x, &mut [0.0; 4], &mut saved, &mut workspace).unwrap();
    let (mut dx, mut dweight) = ([7.0; 4], [7.0; 2]);
    let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut [] };
    let error = bn.backward_into(&saved, &x, &x, grads, &mut workspace).unwrap_err().to_string();
    let text =
        "expected 0 elements in dweight, got 2: the layer does not have the parameter, or it is frozen";
    assert_eq!((error.as_str(), dx, dweight), (text, [7.0; 4], [7.0; 2]));
}

/// A backward is that of its forward, and a commit needs statistics of a batch in a layer that takes them.
#[test]
fn what_is_frozen_in_between_changes_no_gradient_and_is_not_committed() {
    let x = array![[1.0_f32, -2.0], [3.0, 0.5], [5.0, 6.0]];
    let dy = array![[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]];
    let mut bn = BatchNorm::<f32>::new(2).unwrap();
    let (_, through) = bn.forward_uncommitted(&x).unwrap();
    let want = bn.backward(&through, &x, &dy).unwrap();
    bn.set_frozen(Frozen::Statistics).unwrap();
    assert_eq!(bn.backward(&through, &x, &dy).unwrap(), want);
    bn.commit(&through).unwrap();
    assert_eq!(bn.running, BatchNorm::<f32>::new(2).unwrap().running);

    let (_, constants) = bn.forward(&x).unwrap();
    let want = bn.backward(&constants, &x, &dy).unwrap();
    bn.set_frozen(Frozen::Nothing).unwrap();
    assert_eq!(bn.backward(&constants, &x, &dy).unwrap(), want);
    bn.commit(&constants).unwrap();
    let (mut mean, mut var) = ([0.0; 2], [1.0; 2]);
    let commit = Commit { momentum: Some(1.0), ..Commit::new(&mut mean, &mut var) };
    functions::commit(&DefaultBackend::default(), &constants, commit).unwrap();
    assert_eq!((mean, var), ([0.0; 2], [1.0; 2]), "running statistics are no batch's");
    assert_eq!(bn.running, BatchNorm::<f32>::new(2).unwrap().running);
    bn.commit(&through).unwrap();
    assert_eq!(bn.running.as_ref().unwrap().num_batches_tracked, 1);
    // Evaluation is told from it.
    assert!(matches!(bn.backward_eval(&constants, &x, &dy), Err(Error::SavedMode { .. })));
}

#[test]
fn there_must_be_statistics_to_freeze() {
    let text =
        "expected running statistics to freeze, got a layer that tracks none: its forwards take the batch's";
    let untracked = Config::default().track_running_stats(false);
    for frozen in [Frozen::Statistics, Frozen::All] {
        let error = BatchNorm::<f32>::with_config(2, untracked.frozen(frozen)).unwrap_err();
        assert_eq!(error.to_string(), text);
        let mut bn = BatchNorm::<f32>::with_config(2, untracked).unwrap();
        assert_eq!(bn.set_frozen(frozen), Err(Error::NothingToFreeze));
        assert_eq!(bn.config().frozen, Frozen::Nothing);
        // A caller took them away.
        let mut bn = BatchNorm::<f32>::with_config(2, Config::default().frozen(frozen)).unwrap();
        bn.running = None;
        assert_eq!(bn.forward(&Array2::zeros((3, 2))).unwrap_err(), Error::NothingToFreeze);
    }
    let config = untracked.frozen(Frozen::Parameters);
    let mut bn = BatchNorm::<f32>::with_config(2, config).unwrap();
    assert!(bn.forward(&Array2::zeros((3, 2))).is_ok());
}

#[test]
fn empty_batches_and_layers_are_fine() {
    for frozen in ALL {
        for (n, c) in [(0, 2), (3, 0), (0, 0)] {
            let mut bn = BatchNorm::<f32>::with_config(c, Config::default().frozen(frozen)).unwrap();
            let before = bn.running.clone().unwrap();
            let x = Array2::zeros((n, c));
            let (y, saved) = bn.forward(&x).unwrap();
            let g = bn.backward(&saved, &x, &y).unwrap();
            assert_eq!(g.dx, x, "{frozen:?}");
            let after = bn.running.unwrap();
            assert_eq!((after.mean, after.var), (before.mean, before.var), "{frozen:?}");
        }
    }
}

/// The layer stays frozen in a checkpoint, and so does a forward's state.
#[test]
fn what_is_frozen_comes_back_frozen() {
    for frozen in ALL {
        let mut bn = trained::<f64>();
        bn.set_frozen(frozen).unwrap();
        let back: BatchNorm<f64> = serde_json::from_str(&serde_json::to_string(&bn).unwrap()).unwrap();
        assert_eq!(back.config(), bn.config());
        let back: BatchNorm<f64> = postcard::from_bytes(&postcard::to_stdvec(&bn).unwrap()).unwrap();
        assert_eq!((back.config(), &back.running), (bn.config(), &bn.running));
        let (_, saved) = bn.forward(&array![[1.0, 2.0, 3.0, 4.0, 5.0], [0.0; 5]]).unwrap();
        let back: Saved<f64> = postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
        assert_eq!((back.from_batch(), &back), (saved.from_batch(), &saved));
    }
    // A state with the running statistics has the count of its own shape.
    let mut bn = trained::<f64>();
    bn.set_frozen(Frozen::All).unwrap();
    let (_, saved) = bn.forward(&Array2::zeros((2, 5))).unwrap();
    let mut stored = serde_json::to_value(&saved).unwrap();
    stored["count"] = serde_json::json!(3);
    let error = serde_json::from_value::<Saved<f64>>(stored).unwrap_err().to_string();
    assert!(error.contains("expected the 2 values per feature of the shape in count, got 3"), "{error}");
}
