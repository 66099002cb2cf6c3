//! Layers with γ and β, with one of them, or with none.

use batchnorm::{Affine, BatchNorm, Config, Element, Grads, Real, Saved, Shape, Workspace};
use ndarray::{Array2, array};

const KINDS: [Affine; 4] = [Affine::Both, Affine::Scale, Affine::Shift, Affine::None];

fn layer<T: Element>(affine: Affine, gamma: &[f64], beta: &[f64]) -> BatchNorm<T> {
    let mut bn = BatchNorm::with_config(gamma.len(), Config::default().affine(affine)).unwrap();
    let numbers = |values: &[f64]| values.iter().map(|&v| T::Compute::from_f64(v)).collect();
    if affine.scales() {
        bn.weight = numbers(gamma);
    }
    if affine.shifts() {
        bn.bias = numbers(beta);
    }
    bn
}

fn bits<T: Element>(values: impl IntoIterator<Item = T>) -> Vec<u64> {
    values.into_iter().map(|v| v.to_compute().to_f64().to_bits()).collect()
}

/// What is absent is 1 or 0, to the bit, with values far from zero, a NaN, an infinity and what is huge among them; and the
/// gradient of what is there is the one that it has beside the other.
fn absent_is_one_or_zero<T: Element>() {
    let value = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let x = Array2::from_shape_fn((9, 6), |(n, c)| {
        let ordinary = ((n * 5 + c * 3) % 11) as f64 / 3.0;
        value(match (n, c) {
            (3, 1) => f64::NAN,
            (3, 2) => f64::INFINITY,
            (_, 3) => 1000.0 + ordinary,
            (_, 4) => 1e38 * ordinary,
            (_, 5) => 7.0,
            _ => ordinary,
        })
    });
    let dy = Array2::from_shape_fn((9, 6), |(n, c)| value(((n * 7 + c) % 5) as f64 - 1.7));
    let (gamma, beta) = ([0.5, 2.0, -1.0, 0.0, 3.0, 1.0], [1.0, 0.0, -2.0, 0.25, 5.0, -1.0]);
    for affine in KINDS {
        let mut bn = layer::<T>(affine, &gamma, &beta);
        let of = |has: bool, own: [f64; 6], absent: f64| if has { own } else { [absent; 6] };
        let (scale, shift) = (of(affine.scales(), gamma, 1.0), of(affine.shifts(), beta, 0.0));
        let mut both = layer::<T>(Affine::Both, &scale, &shift);
        for eval in [false, true] {
            let run = |bn: &mut BatchNorm<T>| match eval {
                false => {
                    let (y, saved) = bn.forward(&x).unwrap();
                    (y, bn.backward(&saved, &x, &dy).unwrap())
                }
                true => {
                    let (y, saved) = bn.forward_eval_saved(&x).unwrap();
                    (y, bn.backward_eval(&saved, &x, &dy).unwrap())
                }
            };
            let ((y, g), (want_y, want)) = (run(&mut bn), run(&mut both));
            assert_eq!(bits(y), bits(want_y), "y, {affine:?} {}", T::NAME);
            assert_eq!(bits(g.dx), bits(want.dx), "dx, {affine:?} {}", T::NAME);
            let or_none = |has: bool, values: Vec<T::Compute>| if has { values } else { Vec::new() };
            let (dweight, dbias) = (want.dweight.to_vec(), want.dbias.to_vec());
            assert_eq!(bits(g.dweight), bits(or_none(affine.scales(), dweight)), "dγ, {affine:?}");
            assert_eq!(bits(g.dbias), bits(or_none(affine.shifts(), dbias)), "dβ, {affine:?}");
        }
        let running = |bn: &BatchNorm<T>| bn.running.clone().map(|r| (bits(r.mean), bits(r.var)));
        assert_eq!(running(&bn), running(&both));
    }
}

#[test]
fn what_is_absent_counts_as_one_or_zero() {
    absent_is_one_or_zero::<f32>();
    absent_is_one_or_zero::<f64>();
    absent_is_one_or_zero::<half::f16>();
    absent_is_one_or_zero::<half::bf16>();
}

/// x̂ = ±1 by eps = 3 and σ² = 1, halved; worked out by hand.
#[test]
fn each_kind_computes_its_own_formula() {
    let x = array![[1.0], [3.0]];
    for (affine, y) in [
        (Affine::Both, [-0.5, 2.5]),
        (Affine::Scale, [-1.5, 1.5]),
        (Affine::Shift, [0.5, 1.5]),
        (Affine::None, [-0.5, 0.5]),
    ] {
        let mut bn = layer::<f64>(affine, &[3.0], &[1.0]);
        bn.set_eps(3.0).unwrap();
        assert_eq!(bn.forward(&x).unwrap().0.into_raw_vec_and_offset().0, y, "{affine:?}");
    }
}

#[test]
fn slices_have_the_lengths_of_what_is_there() {
    let shape = Shape::nc(2, 3).unwrap();
    let x = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0];
    for affine in KINDS {
        let mut bn = layer::<f32>(affine, &[1.0; 3], &[0.0; 3]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        bn.forward_into(shape, &x, &mut [0.0; 6], &mut saved, &mut workspace).unwrap();
        let (scales, shifts) = (3 * usize::from(affine.scales()), 3 * usize::from(affine.shifts()));
        for (dweight, dbias) in [(0, 0), (0, 3), (3, 0), (3, 3)] {
            let (mut dx, mut own_dweight, mut own_dbias) = ([7.0; 6], vec![7.0; dweight], vec![7.0; dbias]);
            let grads = Grads { dx: &mut dx, dweight: &mut own_dweight, dbias: &mut own_dbias };
            let result = bn.backward_into(&saved, &x, &x, grads, &mut workspace);
            assert_eq!(result.is_ok(), (dweight, dbias) == (scales, shifts), "{affine:?}");
            if result.is_err() {
                let mut kept = dx.iter().chain(&own_dweight).chain(&own_dbias);
                assert!(kept.all(|v| *v == 7.0), "an error writes nothing");
            }
        }
    }
}

/// No features, and no samples: nothing to scale or shift, and nothing fails.
#[test]
fn empty_batches_and_layers_are_fine() {
    for affine in KINDS {
        for (n, c) in [(0, 2), (3, 0), (0, 0)] {
            let mut bn = BatchNorm::<f32>::with_config(c, Config::default().affine(affine)).unwrap();
            let x = Array2::zeros((n, c));
            let (y, saved) = bn.forward(&x).unwrap();
            let g = bn.backward(&saved, &x, &y).unwrap();
            assert!(g.dweight.iter().chain(&g.dbias).all(|v| *v == 0.0), "{affine:?} {n} {c}");
            assert_eq!((g.dweight.len(), g.dbias.len()), (bn.weight.len(), bn.bias.len()));
        }
    }
}

/// A parameter that a caller put where the layer has none is refused, not used.
#[test]
fn what_the_layer_should_not_have_is_refused() {
    let mut bn = layer::<f32>(Affine::Shift, &[1.0; 2], &[0.0; 2]);
    bn.weight = array![1.0, 1.0];
    let error = bn.forward(&Array2::zeros((4, 2))).unwrap_err().to_string();
    assert_eq!(error, "expected 0 elements in weight, got 2");
}
