//! What an optimizer takes: parameters with their gradients, and numbers that generic code can compute with.

use batchnorm::{Affine, BatchNorm, Config, Element, Error, Gradients, Grads, Real, Saved, Shape, Workspace};
use ndarray::{Array, Array1, Array2, ArrayViewMut1, Dimension, array, s};

fn x() -> Array2<f64> {
    array![[1.0, -2.0], [3.0, 0.5], [5.0, 6.0]]
}

fn descend<'a>(pairs: impl Iterator<Item = (&'a mut [f64], &'a [f64])>) {
    for (parameter, gradient) in pairs {
        parameter.iter_mut().zip(gradient).for_each(|(p, g)| *p -= 0.5 * g);
    }
}

#[test]
fn pairs_are_of_gamma_and_beta_from_arrays_and_from_slices() {
    let mut by_hand = BatchNorm::<f64>::new(2).unwrap();
    let (y, saved) = by_hand.forward(&x()).unwrap();
    let g = by_hand.backward(&saved, &x(), &y).unwrap();
    let (mut of_arrays, mut of_grads, mut of_slices) = (by_hand.clone(), by_hand.clone(), by_hand.clone());
    by_hand.weight.scaled_add(-0.5, &g.dweight);
    by_hand.bias.scaled_add(-0.5, &g.dbias);

    descend(of_arrays.parameters_with(&g).unwrap());
    let (mut dweight, mut dbias) = (g.dweight.to_vec(), g.dbias.to_vec());
    descend(of_slices.parameters_with([&dweight[..], &dbias[..]]).unwrap());
    let grads = Grads::<f64> { dx: &mut [], dweight: &mut dweight, dbias: &mut dbias };
    descend(of_grads.parameters_with(&grads).unwrap());
    for bn in [of_arrays, of_grads, of_slices] {
        assert_eq!((bn.weight, bn.bias), (by_hand.weight.clone(), by_hand.bias.clone()));
    }
}

#[test]
fn what_a_layer_does_not_have_is_in_no_pair() {
    for (affine, first, len) in [
        (Affine::Both, Some(1.0), 2),
        (Affine::Scale, Some(1.0), 1),
        (Affine::Shift, Some(0.0), 1),
        (Affine::None, None, 0),
    ] {
        let mut bn = BatchNorm::<f64>::with_config(2, Config::default().affine(affine)).unwrap();
        let (y, saved) = bn.forward(&x()).unwrap();
        let g = bn.backward(&saved, &x(), &y).unwrap();
        let pairs: Vec<_> = bn.parameters_with(&g).unwrap().collect();
        assert_eq!((pairs.len(), pairs.first().map(|(p, _)| p[0])), (len, first), "{affine:?}");
        assert!(pairs.iter().all(|(p, g)| p.len() == 2 && g.len() == 2), "{affine:?}");
        // The gradients of another kind of layer.
        let mut bn =
            BatchNorm::<f64>::with_config(2, Config::default().affine(affine == Affine::Shift)).unwrap();
        assert_eq!(bn.parameters_with(&g).is_ok(), affine == Affine::None, "{affine:?}");
    }
}

#[test]
fn what_does_not_pair_is_named() {
    let mut bn = BatchNorm::<f64>::new(2).unwrap();
    let mut says = |dweight: Array1<f64>, dbias: Array1<f64>| {
        let g = Gradients { dx: x(), dweight, dbias, dresidual: None };
        bn.parameters_with(&g).unwrap_err().to_string()
    };
    let (two, three) = (Array1::zeros(2), Array1::zeros(3));
    assert_eq!(says(three.clone(), two.clone()), "expected 2 elements in dweight, got 3");
    assert_eq!(says(two.clone(), three), "expected 2 elements in dbias, got 3");
    let strided = Array1::zeros(4).slice_move(s![..;2]);
    let text = "expected dbias in contiguous memory, got an array with a stride";
    assert_eq!(says(two, strided.clone()), text);
    bn.weight = strided;
    let text = "expected weight in contiguous memory, got an array with a stride";
    assert_eq!(bn.parameters_with([&[0.0; 2][..], &[0.0; 2]]).unwrap_err().to_string(), text);
}

/// A step of training in generic code, with no bound but `Element`.
fn train<T: Element, D: Dimension>(
    bn: &mut BatchNorm<T>,
    x: &Array<T, D>,
    target: &Array<T, D>,
) -> Result<f64, Error> {
    let rate = T::Compute::from_f64(0.1);
    let (y, saved) = bn.forward(x)?;
    let mut dy = &y - target;
    let two = T::from_compute(T::Compute::from_f64(2.0));
    dy.mapv_inplace(|d| d / two);
    let loss: T = dy.iter().map(|&d| d * d).sum();
    let g = bn.backward(&saved, x, &dy)?;
    bn.weight -= &(&g.dweight * rate);
    for (parameter, gradient) in bn.parameters_with(&g)? {
        ArrayViewMut1::from(parameter).scaled_add(-rate, &Array1::from(gradient.to_vec()));
    }
    let zero = Array::<T, D>::zeros(x.raw_dim());
    assert!(zero.iter().all(|z| *z <= T::default() && format!("{z}{z:e}").len() > 1));
    Ok(loss.to_compute().to_f64())
}

fn learns<T: Element>() {
    let number = |v: usize| T::from_compute(T::Compute::from_f64(v as f64));
    let x = Array2::from_shape_fn((8, 2), |(n, c)| number((n * 3 + c * 5) % 7));
    let mut bn = BatchNorm::<T>::new(2).unwrap();
    let losses: Vec<f64> = (0..20).map(|_| train(&mut bn, &x, &x).unwrap()).collect();
    assert!(losses[19] < 0.5 * losses[0], "{}: {losses:?}", T::NAME);
}

#[test]
fn generic_code_computes_with_elements_and_parameters() {
    learns::<f32>();
    learns::<f64>();
    learns::<half::f16>();
    learns::<half::bf16>();
}

/// Gradients are written over what was there, not added to it.
#[test]
fn gradients_are_overwritten() {
    let shape = Shape::nc(3, 2).unwrap();
    let mut bn = BatchNorm::<f64>::new(2).unwrap();
    let x = x().into_raw_vec_and_offset().0;
    let (mut y, mut saved, mut workspace) = (vec![0.0; 6], Saved::default(), Workspace::default());
    bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace).unwrap();
    let mut step = |before: f64| {
        let (mut dx, mut dweight, mut dbias) = ([before; 6], [before; 2], [before; 2]);
        let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
        bn.backward_into(&saved, &x, &y, grads, &mut workspace).unwrap();
        (dx, dweight, dbias)
    };
    assert_eq!(step(0.0), step(1e30));
}
