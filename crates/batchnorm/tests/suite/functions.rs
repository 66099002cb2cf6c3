//! The functions under the layer: they give the layer's bits, and compute what is asked for and no more.

use crate::common::{bits, values};
use batchnorm::functions::{self, Backward, Commit, Forward, Running};
use batchnorm::{BatchNorm, DefaultBackend, Error, Grads, Saved, Shape, Workspace};

const EPS: f64 = 1e-5;

/// Long and short runs, values side by side, few features; each with data around 0 and far from it.
fn shapes() -> Vec<(Shape, f32)> {
    let shapes = [(7, 5, 300), (6, 40, 49), (33, 70, 1), (500, 3, 1), (40, 1, 300)];
    let shapes = shapes.map(|(outer, features, inner)| Shape::new(outer, features, inner).unwrap());
    shapes.into_iter().flat_map(|shape| [(shape, 0.3), (shape, 500.0)]).collect()
}

/// A step's inputs, and everything that it gives.
struct Step {
    shape: Shape,
    x: Vec<f32>,
    dy: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Debug, PartialEq)]
struct Gradients {
    dx: Option<Vec<u32>>,
    dweight: Option<Vec<u32>>,
    dbias: Option<Vec<u32>>,
}

impl Step {
    fn new(shape: Shape, centre: f32) -> Self {
        let features = shape.features();
        let (x, dy) = (values(shape.len(), 0, centre), values(shape.len(), 31, 0.1));
        Self { shape, x, dy, weight: values(features, 5, 1.5), bias: values(features, 9, 0.0) }
    }

    fn forward<'a>(&'a self, y: &'a mut [f32]) -> Forward<'a, f32> {
        let (weight, bias) = (Some(&self.weight[..]), Some(&self.bias[..]));
        Forward { weight, bias, eps: EPS, ..Forward::new(self.shape, &self.x, y) }
    }

    fn train(&self) -> (Vec<f32>, Saved<f32>) {
        let (mut y, mut saved) = (vec![0.0; self.x.len()], Saved::default());
        let step = self.forward(&mut y);
        functions::train(&DefaultBackend::default(), step, &mut saved, &mut Workspace::default()).unwrap();
        (y, saved)
    }

    fn eval(&self) -> Saved<f32> {
        let (mut y, mut saved) = (vec![0.0; self.x.len()], Saved::default());
        let var: Vec<f32> = self.weight.iter().map(|w| w.abs() + 0.5).collect();
        let running = Some(Running { mean: &self.bias, var: &var });
        let step = self.forward(&mut y);
        functions::eval(&DefaultBackend::default(), step, running, &mut saved, &mut Workspace::default())
            .unwrap();
        saved
    }

    /// As many gradients as are asked for, from this x.
    fn backward(&self, saved: &Saved<f32>, x: &[f32], [dx, dweight, dbias]: [bool; 3]) -> Gradients {
        let features = self.shape.features();
        let mut all = (vec![f32::NAN; x.len()], vec![f32::NAN; features], vec![f32::NAN; features]);
        let step = Backward {
            weight: Some(&self.weight),
            dx: dx.then_some((&mut all.0).into()),
            dweight: dweight.then_some(&mut all.1),
            dbias: dbias.then_some(&mut all.2),
            ..Backward::new(x, &self.dy)
        };
        functions::backward(&DefaultBackend::default(), step, saved, &mut Workspace::default()).unwrap();
        let given = |wanted: bool, values: &[f32]| wanted.then(|| bits(values));
        Gradients { dx: given(dx, &all.0), dweight: given(dweight, &all.1), dbias: given(dbias, &all.2) }
    }
}

#[test]
fn functions_give_the_layers_bits() {
    for (shape, centre) in shapes() {
        let step = Step::new(shape, centre);
        let mut bn = BatchNorm::<f32>::new(shape.features()).unwrap();
        (bn.weight, bn.bias) = (step.weight.clone().into(), step.bias.clone().into());
        let (mut y, mut dx) = (vec![0.0; shape.len()], vec![0.0; shape.len()]);
        let (mut dweight, mut dbias) = (vec![0.0; shape.features()], vec![0.0; shape.features()]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        bn.forward_into(shape, &step.x, &mut y, &mut saved, &mut workspace).unwrap();
        let grads = Grads { dx: &mut dx, dweight: &mut dweight, dbias: &mut dbias };
        bn.backward_into(&saved, &step.x, &step.dy, grads, &mut workspace).unwrap();

        let (own, own_saved) = step.train();
        assert_eq!((bits(&own), &own_saved), (bits(&y), &saved), "{shape} {centre}");
        let gradients = step.backward(&own_saved, &step.x, [true; 3]);
        let want =
            Gradients { dx: Some(bits(&dx)), dweight: Some(bits(&dweight)), dbias: Some(bits(&dbias)) };
        assert_eq!(gradients, want, "{shape} {centre}");

        let running = bn.running.unwrap();
        let (mut mean, mut var) = (vec![0.0; shape.features()], vec![1.0; shape.features()]);
        functions::commit(&DefaultBackend::default(), &own_saved, Commit::new(&mut mean, &mut var)).unwrap();
        assert_eq!((mean, var), (running.mean.to_vec(), running.var.to_vec()), "{shape} {centre}");
    }
}

#[test]
fn each_gradient_is_the_same_whatever_else_is_asked_for() {
    for (shape, centre) in shapes() {
        let step = Step::new(shape, centre);
        for saved in [step.train().1, step.eval()] {
            let all = step.backward(&saved, &step.x, [true; 3]);
            for wanted in 0..8 {
                let [dx, dweight, dbias] = [1, 2, 4].map(|bit| wanted & bit != 0);
                let some = step.backward(&saved, &step.x, [dx, dweight, dbias]);
                let want = Gradients {
                    dx: all.dx.clone().filter(|_| dx),
                    dweight: all.dweight.clone().filter(|_| dweight),
                    dbias: all.dbias.clone().filter(|_| dbias),
                };
                assert_eq!(some, want, "{shape} {centre} {:?}", [dx, dweight, dbias]);
            }
        }
    }
}

/// What is not read cannot be NaN: the input, where neither Σdy·x̂ nor a gradient through the statistics is wanted.
#[test]
fn what_nobody_asks_for_is_not_computed() {
    let (shape, centre) = shapes()[0];
    let step = Step::new(shape, centre);
    let nowhere = vec![f32::NAN; step.x.len()];
    let (train, eval) = (step.train().1, step.eval());
    for (saved, wanted) in [
        (&train, [false, false, true]),
        (&eval, [false, false, true]),
        (&eval, [true, false, true]),
        (&eval, [true, false, false]),
    ] {
        let want = step.backward(saved, &step.x, wanted);
        assert_eq!(step.backward(saved, &nowhere, wanted), want, "{:?} {wanted:?}", saved.mode());
    }
}

#[test]
fn wrong_buffers_are_named_and_nothing_is_written() {
    let (shape, centre) = shapes()[0];
    let step = Step::new(shape, centre);
    let backend = DefaultBackend::default();
    let mut y = vec![7.0; step.x.len()];
    let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
    let mut refused = |forward: Forward<'_, f32>| {
        functions::train(&backend, forward, &mut saved, &mut workspace).unwrap_err()
    };
    let length = |what, expected, got| Error::Length { what, expected, got };
    let (len, features) = (step.x.len(), shape.features());
    let error = refused(Forward { x: &step.x[1..], ..step.forward(&mut y) });
    assert_eq!(error, length("x", len, len - 1));
    let error = refused(Forward { weight: Some(&[1.0]), ..step.forward(&mut y) });
    assert_eq!(error, length("weight", features, 1));
    let error = refused(Forward { eps: 0.0, ..step.forward(&mut y) });
    assert_eq!(error, Error::Eps { got: 0.0 });
    let error = refused(Forward { y: (&mut y[1..]).into(), ..step.forward(&mut []) });
    assert_eq!(error, length("y", len, len - 1));
    assert!(y.iter().all(|&v| v == 7.0));

    let saved = step.train().1;
    let mut dbias = vec![7.0; features + 1];
    let back =
        Backward { dx: Some((&mut y).into()), dbias: Some(&mut dbias), ..Backward::new(&step.x, &step.dy) };
    let error = functions::backward(&backend, back, &saved, &mut workspace).unwrap_err();
    assert_eq!(error, length("dbias", features, features + 1));
    assert!(y.iter().chain(&dbias).all(|&v| v == 7.0));
}
