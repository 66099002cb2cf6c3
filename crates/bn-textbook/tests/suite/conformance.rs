//! Both strategies against the oracle, on the data that code in the data's own precision can be held to.

use bn_conformance::assert_textbook;
use bn_conformance::case::{Case, Results, Tensor};
use bn_core::{Element, Error, Real};
use bn_textbook::{Gradients, analytic, graph};
use ndarray::{Array1, ArrayD, ArrayView1, ArrayViewD, IxDyn, NdFloat};

/// The inputs of a case as arrays: x, dy, γ, β.
fn inputs<T: Element<Compute = T>>(case: &Case<T>) -> ([ArrayViewD<'_, T>; 2], [ArrayView1<'_, T>; 2]) {
    let array = |v| ArrayViewD::from_shape(IxDyn(&case.dims), v).unwrap();
    let [weight, bias] = case.affine.each_ref().map(|param| param.as_ref().unwrap());
    ([array(&case.x), array(case.dy.as_ref().unwrap())], [weight.into(), bias.into()])
}

fn results<T: Real>(y: &ArrayD<T>, [mean, var]: [&Array1<T>; 2], gradients: &Gradients<T, IxDyn>) -> Results {
    let mut results = Results::default();
    results.insert(Tensor::Y, y.iter().map(|v| v.to_f64()).collect());
    results.insert(Tensor::Dx, gradients.dx.iter().map(|v| v.to_f64()).collect());
    let parameters = [(Tensor::Mean, mean), (Tensor::Var, var)];
    let gradients = [(Tensor::Dweight, &gradients.dweight), (Tensor::Dbias, &gradients.dbias)];
    for (tensor, values) in parameters.into_iter().chain(gradients) {
        results.insert(tensor, values.iter().map(|v| v.to_f64()).collect());
    }
    results
}

fn run_graph<T: NdFloat + Real>(case: &Case<T>) -> Result<Results, Error> {
    let ([x, dy], [weight, bias]) = inputs(case);
    let (y, cache) = graph::forward(x, weight, bias, case.config.eps)?;
    let gradients = graph::backward(dy, &cache)?;
    Ok(results(&y, [&cache.mean, &cache.var], &gradients))
}

fn run_analytic<T: NdFloat + Real>(case: &Case<T>) -> Result<Results, Error> {
    let ([x, dy], [weight, bias]) = inputs(case);
    let (y, cache) = analytic::forward(x, weight, bias, case.config.eps)?;
    let gradients = analytic::backward(dy, &cache)?;
    Ok(results(&y, [&cache.mean, &cache.var], &gradients))
}

#[test]
fn graph_f32() {
    assert_textbook::<f32>("graph", run_graph);
}

#[test]
fn graph_f64() {
    assert_textbook::<f64>("graph", run_graph);
}

#[test]
fn analytic_f32() {
    assert_textbook::<f32>("analytic", run_analytic);
}

#[test]
fn analytic_f64() {
    assert_textbook::<f64>("analytic", run_analytic);
}
