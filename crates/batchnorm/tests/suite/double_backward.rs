//! The double backward: it is the derivative of the backward, and keeps the habits of the other steps.

use crate::common::{bits, values};
use batchnorm::functions::{self, Backward, DoubleBackward, Forward, Running};
use batchnorm::parts::{Moments, Part, Pooled};
use batchnorm::{
    BatchNorm, Config, Cotangents, DefaultBackend, Element, Error, Frozen, Mode, Real, Saved, Shape,
    Workspace,
};
use ndarray::{Array1, Array2, Array4, Axis, array};

/// Inputs of a double backward, and what the forward is.
#[derive(Clone)]
struct Inputs<T: Element> {
    shape: Shape,
    mode: Mode,
    x: Vec<T>,
    dy: Vec<T>,
    weight: Vec<T::Compute>,
    v: Vec<T>,
    w: Vec<T::Compute>,
    z: Vec<T::Compute>,
}

/// The gradients with respect to dy, x and γ, as far as they were asked for.
#[derive(Clone, Debug, PartialEq)]
struct Seconds<T: Element> {
    dy: Vec<T>,
    x: Vec<T>,
    weight: Vec<T::Compute>,
}

fn cast<T: Element>(values: Vec<f32>) -> Vec<T> {
    values.into_iter().map(|v| T::from_compute(T::Compute::from_f64(v.into()))).collect()
}

impl<T: Element> Inputs<T> {
    fn new(shape: Shape, mode: Mode, centre: f32) -> Self {
        let c = shape.features();
        let [x, dy, v] = [(0, centre), (31, 0.1), (77, 0.3)].map(|(seed, c)| values(shape.len(), seed, c));
        let [weight, w, z] = [(5, 1.5), (9, 0.2), (13, 0.0)].map(|(seed, centre)| values(c, seed, centre));
        let (x, dy, v) = (cast(x), cast(dy), cast(v));
        Self { shape, mode, x, dy, weight: cast(weight), v, w: cast(w), z: cast(z) }
    }

    fn saved(&self) -> Saved<T> {
        let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
        let (mut y, mut saved) = (self.x.clone(), Saved::default());
        let step = Forward { weight: Some(&self.weight), ..Forward::new(self.shape, &self.x, &mut y[..]) };
        let c = self.shape.features();
        let (mean, var): (Vec<_>, Vec<_>) = (cast(values(c, 3, 0.4)), cast(vec![1.7; c]));
        match self.mode {
            Mode::Train => functions::train(&backend, step, &mut saved, &mut workspace).unwrap(),
            Mode::Eval => {
                let running = Some(Running { mean: &mean, var: &var });
                functions::eval(&backend, step, running, &mut saved, &mut workspace).unwrap();
            }
        }
        saved
    }

    /// As much as is asked for; the rest keeps the NaN that was there.
    fn seconds(&self, saved: &Saved<T>, [v, w, z]: [bool; 3], [dy, x, weight]: [bool; 3]) -> Seconds<T> {
        let nan = T::Compute::from_f64(f64::NAN);
        let whole = vec![T::from_compute(nan); self.x.len()];
        let mut all = Seconds::<T> { dy: whole.clone(), x: whole, weight: vec![nan; self.weight.len()] };
        let step = DoubleBackward {
            weight: Some(&self.weight),
            v_dx: v.then_some(&self.v),
            v_dweight: w.then_some(&self.w),
            v_dbias: z.then_some(&self.z),
            d_dy: dy.then_some((&mut all.dy[..]).into()),
            d_x: x.then_some((&mut all.x[..]).into()),
            d_weight: weight.then_some(&mut all.weight),
            ..DoubleBackward::new(&self.x, &self.dy)
        };
        functions::double_backward(&DefaultBackend::default(), step, saved, &mut Workspace::default())
            .unwrap();
        all
    }
}

fn shapes() -> [Shape; 5] {
    [(7, 5, 300), (6, 40, 9), (33, 70, 1), (500, 3, 1), (40, 1, 30)]
        .map(|(outer, features, inner)| Shape::new(outer, features, inner).unwrap())
}

/// The values as bits, of whichever type; all NaN are one.
fn all_bits<T: Element>(values: &[T]) -> Vec<u64> {
    let f64s = values.iter().map(|v| v.to_compute().to_f64());
    f64s.map(|v| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }).collect()
}

/// ⟨v,dx⟩ + ⟨w,dγ⟩ + ⟨z,dβ⟩.
fn product(inputs: &Inputs<f64>) -> f64 {
    let c = inputs.weight.len();
    let (mut dx, mut dweight, mut dbias) = (vec![0.0; inputs.x.len()], vec![0.0; c], vec![0.0; c]);
    let step = Backward {
        weight: Some(&inputs.weight),
        dx: Some((&mut dx[..]).into()),
        dweight: Some(&mut dweight),
        dbias: Some(&mut dbias),
        ..Backward::new(&inputs.x, &inputs.dy)
    };
    let saved = inputs.saved();
    functions::backward(&DefaultBackend::default(), step, &saved, &mut Workspace::default()).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&inputs.v, &dx) + dot(&inputs.w, &dweight) + dot(&inputs.z, &dbias)
}

/// Five-point central differences with h = 10⁻³: their error is h⁴ and u/h.
#[test]
fn the_double_backward_is_the_derivative_of_the_backward() {
    for shape in [Shape::nc(6, 3), Shape::nchw(2, 3, 2, 2), Shape::nhwc(2, 2, 2, 2)].map(Result::unwrap) {
        for mode in [Mode::Train, Mode::Eval] {
            let inputs = Inputs::<f64>::new(shape, mode, 0.2);
            let got = inputs.seconds(&inputs.saved(), [true; 3], [true; 3]);
            let slope = |pick: fn(&mut Inputs<f64>) -> &mut Vec<f64>, i: usize| {
                let at = |h: f64| {
                    let mut moved = inputs.clone();
                    pick(&mut moved)[i] += h;
                    product(&moved)
                };
                let h = 1e-3;
                (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
            };
            let check = |what: &str, got: &[f64], pick: fn(&mut Inputs<f64>) -> &mut Vec<f64>| {
                let largest = got.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                assert!(largest > 0.1, "{what}");
                for (i, got) in got.iter().enumerate() {
                    let want = slope(pick, i);
                    assert!((got - want).abs() < 1e-8 * largest, "{shape:?} {mode} {what}[{i}] {got} {want}");
                }
            };
            check("dy", &got.dy, |inputs| &mut inputs.dy);
            check("x", &got.x, |inputs| &mut inputs.x);
            check("weight", &got.weight, |inputs| &mut inputs.weight);
        }
    }
}

/// Some features leave the range of their type.
fn hardened<T: Element>(mut inputs: Inputs<T>) -> Inputs<T> {
    for (f, weight) in inputs.weight.iter_mut().enumerate().filter(|(f, _)| f % 3 == 1) {
        let factor = if T::NAME == "f64" { [1e-300, 1e290][f / 3 % 2] } else { [1e-38, 1e31][f / 3 % 2] };
        *weight = T::Compute::from_f64(weight.to_f64() * factor);
    }
    inputs
}

#[test]
fn each_second_gradient_is_the_same_whatever_else_is_asked_for() {
    fn of<T: Element>(inputs: &Inputs<T>) {
        let saved = inputs.saved();
        for cotangents in [[true; 3], [true, false, false], [false, true, true], [true, true, false]] {
            let all = inputs.seconds(&saved, cotangents, [true; 3]);
            assert!(all.weight.iter().all(|v| v.to_f64().is_finite()), "every value is written");
            for asked in 0..8u8 {
                let asked = [0, 1, 2].map(|bit| asked >> bit & 1 == 1);
                let some = inputs.seconds(&saved, cotangents, asked);
                let same = |got: Vec<u64>, all: Vec<u64>, asked: bool| match asked {
                    true => got == all,
                    false => got.iter().all(|v| f64::from_bits(*v).is_nan()),
                };
                let case = format!("{:?} {} {cotangents:?} {asked:?}", inputs.shape, inputs.mode);
                assert!(same(all_bits(&some.dy), all_bits(&all.dy), asked[0]), "dy of {case}");
                assert!(same(all_bits(&some.x), all_bits(&all.x), asked[1]), "x of {case}");
                assert!(same(all_bits(&some.weight), all_bits(&all.weight), asked[2]), "weight of {case}");
            }
        }
    }
    for shape in shapes() {
        for mode in [Mode::Train, Mode::Eval] {
            of(&Inputs::<f32>::new(shape, mode, 0.3));
            of(&hardened(Inputs::<f32>::new(shape, mode, 0.3)));
            of(&hardened(Inputs::<f64>::new(shape, mode, 500.0)));
        }
    }
}

#[test]
fn absent_cotangents_are_zero() {
    fn near(a: &[f64], b: &[f64], what: &str) {
        let largest = b.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 1e-14 * largest, "{what}[{i}]: {a} for {b}");
        }
    }
    for shape in shapes() {
        for mode in [Mode::Train, Mode::Eval] {
            let inputs = Inputs::<f64>::new(shape, mode, 0.3);
            let saved = inputs.saved();
            for there in (0..8u8).map(|there| [0, 1, 2].map(|bit| there >> bit & 1 == 1)) {
                let mut zeros = inputs.clone();
                if !there[0] {
                    zeros.v.fill(0.0);
                }
                for (values, _) in [(&mut zeros.w, there[1]), (&mut zeros.z, there[2])]
                    .into_iter()
                    .filter(|(_, there)| !there)
                {
                    values.fill(0.0);
                }
                let got = inputs.seconds(&saved, there, [true; 3]);
                let want = zeros.seconds(&saved, [true; 3], [true; 3]);
                let case = format!("{shape:?} {mode} {there:?}");
                near(&got.dy, &want.dy, &format!("dy of {case}"));
                near(&got.x, &want.x, &format!("x of {case}"));
                near(&got.weight, &want.weight, &format!("weight of {case}"));
            }
        }
    }
}

#[test]
fn the_layers_double_backward_has_the_functions_bits() {
    let shape = Shape::nchw(4, 5, 3, 7).unwrap();
    for mode in [Mode::Train, Mode::Eval] {
        let inputs = Inputs::<f32>::new(shape, mode, 2.0);
        let mut bn = BatchNorm::<f32>::new(5).unwrap();
        bn.weight = Array1::from(inputs.weight.clone());
        let running = bn.running.as_mut().unwrap();
        (running.mean, running.var) = (Array1::from(values(5, 3, 0.4)), Array1::from_elem(5, 1.7));
        let whole = |of: &[f32]| Array4::from_shape_vec((4, 5, 3, 7), of.to_vec()).unwrap();
        let (x, dy, v) = (whole(&inputs.x), whole(&inputs.dy), whole(&inputs.v));
        let want = inputs.seconds(&inputs.saved(), [true; 3], [true; 3]);
        let (w, z) = (Array1::from(inputs.w.clone()), Array1::from(inputs.z.clone()));
        let saved = match mode {
            Mode::Train => bn.forward_uncommitted(&x).unwrap().1,
            Mode::Eval => bn.forward_eval_saved(&x).unwrap().1,
        };
        let cotangents = Cotangents { dx: Some(v.view()), dweight: Some(w.view()), dbias: Some(z.view()) };
        let got = bn.double_backward(&saved, &x, &dy, &cotangents).unwrap();
        assert_eq!(bits(got.dy.as_slice().unwrap()), bits(&want.dy));
        assert_eq!(bits(got.x.as_slice().unwrap()), bits(&want.x));
        assert_eq!(bits(got.weight.as_slice().unwrap()), bits(&want.weight));

        // dy and v may lie otherwise in memory, and have gaps.
        let turned = |a: &Array4<f32>| {
            let last = a.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
            last.permuted_axes([0, 3, 1, 2])
        };
        let mut gaps = Array4::zeros((8, 5, 3, 7));
        let every = ndarray::Slice::new(0, None, 2);
        gaps.slice_axis_mut(Axis(0), every).assign(&v);
        let cotangents = Cotangents { dx: Some(gaps.slice_axis(Axis(0), every)), ..cotangents };
        assert_eq!(bn.double_backward(&saved, &x, &turned(&dy), &cotangents).unwrap(), got);
    }
}

#[test]
fn a_frozen_layer_has_no_gradient_of_its_weight() {
    let x = array![[1.0_f32, 2.0], [3.0, 5.0], [4.0, -1.0]];
    let config = Config::default();
    let mut bn = BatchNorm::<f32>::with_config(2, config).unwrap();
    bn.set_frozen(Frozen::All).unwrap();
    let (_, saved) = bn.forward(&x).unwrap();
    let cotangents = Cotangents { dx: Some(x.view()), ..Cotangents::default() };
    let got = bn.double_backward(&saved, &x, &x, &cotangents).unwrap();
    assert_eq!(got.weight.len(), 0);
    // The statistics are constants: dx does not depend on x.
    assert!(got.x.iter().all(|v| *v == 0.0) && got.dy.iter().all(|v| *v != 0.0));
}

#[test]
fn what_does_not_fit_a_double_backward_is_named_and_nothing_is_written() {
    let (backend, shape) = (DefaultBackend::default(), Shape::nc(3, 2).unwrap());
    let inputs = Inputs::<f32>::new(shape, Mode::Train, 0.0);
    let saved = inputs.saved();
    let run = |edit: &dyn Fn(&mut DoubleBackward<'_, f32>), saved: &Saved<f32>| {
        let (mut d_dy, mut d_x, mut d_weight) = ([7.0; 6], [7.0; 6], [7.0; 2]);
        let mut step = DoubleBackward {
            v_dx: Some(&inputs.v),
            d_dy: Some((&mut d_dy).into()),
            d_x: Some((&mut d_x).into()),
            d_weight: Some(&mut d_weight),
            ..DoubleBackward::new(&inputs.x, &inputs.dy)
        };
        edit(&mut step);
        let result = functions::double_backward(&backend, step, saved, &mut Workspace::default());
        let written = d_dy.iter().chain(&d_x).chain(&d_weight).any(|v| *v != 7.0);
        assert_eq!(written, result.is_ok());
        result
    };
    assert_eq!(run(&|_| (), &saved), Ok(()));
    assert_eq!(run(&|_| (), &Saved::default()), Err(Error::EmptySaved));
    let length = |what, expected, got| Err(Error::Length { what, expected, got });
    assert_eq!(run(&|step| step.x = &[0.0; 5], &saved), length("x", 6, 5));
    assert_eq!(run(&|step| step.dy = &[0.0; 7], &saved), length("dy", 6, 7));
    assert_eq!(run(&|step| step.v_dx = Some(&[0.0; 2]), &saved), length("v_dx", 6, 2));
    assert_eq!(run(&|step| step.v_dweight = Some(&[]), &saved), length("v_dweight", 2, 0));
    assert_eq!(run(&|step| step.v_dbias = Some(&[0.0; 6]), &saved), length("v_dbias", 2, 6));
    assert_eq!(run(&|step| step.weight = Some(&[0.0; 3]), &saved), length("weight", 2, 3));
    let short = |step: &mut DoubleBackward<'_, f32>| step.d_dy = Some((&mut [0.0; 0][..]).into());
    assert_eq!(run(&short, &saved), length("d_dy", 6, 0));
    let short = |step: &mut DoubleBackward<'_, f32>| step.d_x = Some((&mut [0.0; 0][..]).into());
    assert_eq!(run(&short, &saved), length("d_x", 6, 0));
    let short = |step: &mut DoubleBackward<'_, f32>| step.d_weight = Some(&mut []);
    assert_eq!(run(&short, &saved), length("d_weight", 2, 0));

    // A part of a batch does not have the sums of the whole.
    let workspace = &mut Workspace::default();
    let mut moments = Moments::of(&backend, Part::new(shape, &inputs.x), workspace).unwrap();
    moments.merge(&Moments::of(&backend, Part::new(shape, &inputs.dy), workspace).unwrap()).unwrap();
    let (mut y, mut part) = ([0.0; 6], Saved::default());
    let pooled = Pooled::<f32>::of(&moments, 1e-5).unwrap();
    pooled.forward(&backend, Forward::new(shape, &inputs.x, &mut y), &mut part, workspace).unwrap();
    let error = run(&|_| (), &part).unwrap_err().to_string();
    assert!(error.contains("whole batch of 6 values") && error.contains("part of 3"), "{error}");

    // The array method names its own dimensions.
    let bn = BatchNorm::<f32>::new(2).unwrap();
    let x = Array2::from_shape_vec((3, 2), inputs.x.clone()).unwrap();
    let saved = bn.forward_uncommitted(&x).unwrap().1;
    let none = Cotangents::default();
    let error = bn.double_backward(&saved, &x, &Array2::zeros((2, 3)), &none).unwrap_err();
    assert_eq!(error, Error::Dims { what: "dy", expected: vec![3, 2], got: vec![2, 3] });
    let other = Array2::zeros((3, 3));
    let wrong = Cotangents { dx: Some(other.view()), ..none };
    let error = bn.double_backward(&saved, &x, &x, &wrong).unwrap_err();
    assert_eq!(error, Error::Dims { what: "cotangents.dx", expected: vec![3, 2], got: vec![3, 3] });
    let long = Array1::zeros(3);
    let wrong = Cotangents { dbias: Some(long.view()), ..Cotangents::default() };
    let error = bn.double_backward(&saved, &x, &x, &wrong).unwrap_err();
    assert_eq!(error, Error::Length { what: "cotangents.dbias", expected: 2, got: 3 });
    let error = bn.double_backward(&Saved::default(), &x, &x, &Cotangents::default()).unwrap_err();
    assert_eq!(error, Error::EmptySaved);
}

#[test]
fn an_empty_batch_has_second_gradients_of_zero() {
    let inputs = Inputs::<f32>::new(Shape::nc(0, 3).unwrap(), Mode::Train, 0.0);
    let got = inputs.seconds(&inputs.saved(), [true; 3], [true; 3]);
    assert_eq!(got, Seconds { dy: vec![], x: vec![], weight: vec![0.0; 3] });
}

/// Whatever stands in a feature, the others have the bits that they have without it.
#[test]
fn no_value_leaves_its_feature_or_stops_the_double_backward() {
    fn of<T: Element>(shape: Shape, mode: Mode) {
        let plain = Inputs::<T>::new(shape, mode, 0.3);
        let want = plain.seconds(&plain.saved(), [true; 3], [true; 3]);
        let (c, inner) = (shape.features(), shape.inner());
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1e-310, 1e-42, 3e38, -1.7e308];
        for (turn, value) in odd.into_iter().enumerate() {
            let value = T::from_compute(T::Compute::from_f64(value));
            for place in 0..6 {
                let (f, mut inputs) = ((turn + place) % c, plain.clone());
                let at = f * inner;
                match place {
                    0 => inputs.x[at] = value,
                    1 => inputs.dy[at] = value,
                    2 => inputs.v[at] = value,
                    3 => inputs.weight[f] = value.to_compute(),
                    4 => inputs.w[f] = value.to_compute(),
                    _ => inputs.z[f] = value.to_compute(),
                }
                let got = inputs.seconds(&inputs.saved(), [true; 3], [true; 3]);
                for other in (0..c).filter(|other| *other != f) {
                    let case = format!("{} {shape:?} {mode} {value} in {place} of {f}, {other}", T::NAME);
                    for row in 0..shape.outer() {
                        let run = (row * c + other) * inner..(row * c + other + 1) * inner;
                        assert_eq!(all_bits(&got.dy[run.clone()]), all_bits(&want.dy[run.clone()]), "{case}");
                        assert_eq!(all_bits(&got.x[run.clone()]), all_bits(&want.x[run]), "{case}");
                    }
                    assert_eq!(all_bits(&[got.weight[other]]), all_bits(&[want.weight[other]]), "{case}");
                }
            }
        }
    }
    for (outer, features, inner) in [(9, 5, 1), (4, 3, 37), (2, 2, 300)] {
        for mode in [Mode::Train, Mode::Eval] {
            let shape = Shape::new(outer, features, inner).unwrap();
            of::<f32>(shape, mode);
            of::<f64>(shape, mode);
        }
    }
}
