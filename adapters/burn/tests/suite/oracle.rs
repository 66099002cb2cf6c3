//! Far from zero both layers differ: the oracle says which of them is right.

use crate::{tensor, values};
use batchnorm::{Config, Layout, Mode};
use bn_burn::BatchNormConfig;
use bn_conformance::case::{Case, Results, Tensor as Name};
use bn_conformance::data::{Dy, X};
use bn_conformance::measure::{Row, check};
use bn_conformance::table::{Entry, case, expected};
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};

fn errors(
    case: &Case<f32>,
    forward: impl Fn(Tensor<4>) -> Tensor<4>,
    [gamma, beta]: [&Param<Tensor<1>>; 2],
) -> Vec<Row> {
    let whole = |values: &[f32]| tensor(TensorData::new(values.to_vec(), case.dims.clone()), DType::F32);
    let x: Tensor<4> = whole(&case.x).require_grad();
    let y = forward(x.clone());
    let gradients = (y.clone() * whole(case.dy.as_deref().expect("a dy"))).sum().backward();
    let mut got = Results::default();
    got.insert(Name::Y, values(&y));
    got.insert(Name::Dx, values(&x.grad(&gradients).expect("dx")));
    got.insert(Name::Dweight, values(&gamma.val().grad(&gradients).expect("dγ")));
    got.insert(Name::Dbias, values(&beta.val().grad(&gradients).expect("dβ")));
    let names = [Name::Y, Name::Dx, Name::Dweight, Name::Dbias];
    check(case, &got).into_iter().filter(|row| names.contains(&row.tensor)).collect()
}

#[test]
fn far_from_zero_the_oracle_agrees_with_ours() {
    let entry = Entry { layout: Layout::ChannelsFirst, dims: &[8, 3, 5, 5] };
    let device = Device::default().autodiff();
    for (data, far) in [(X::Normal, false), (X::LargeMean, true), (X::LargestMean, true)] {
        let mut case = case::<f32>(entry, (data, Dy::Normal), 0);
        (case.config, case.mode) = (Config::default(), Mode::Train);
        case.affine = [Some(vec![1.5, -0.5, 2.0]), Some(vec![0.25, 1.0, -1.0])];
        case.expect = expected(&case);
        let [gamma, beta] = case.affine.clone().map(|values| {
            let data = TensorData::new(values.expect("γ and β"), [3]);
            Param::from_tensor(tensor::<1>(data, DType::F32))
        });
        let mut ours = BatchNormConfig::new(3).init(&device);
        (ours.gamma, ours.beta) = (gamma.clone(), beta.clone());
        let rows = errors(&case, |x| ours.forward(x), [&ours.gamma, &ours.beta]);
        assert!(rows.len() == 4 && rows.iter().all(Row::ok), "{data:?}: {rows:?}");
        let mut theirs = burn::nn::BatchNormConfig::new(3).init(&device);
        (theirs.gamma, theirs.beta) = (gamma, beta);
        let rows = errors(&case, |x| theirs.forward(x), [&theirs.gamma, &theirs.beta]);
        let worst = rows.iter().map(|row| row.error).fold(0.0, f64::max);
        assert_eq!(worst > 100.0, far, "burn's error at {data:?}: {worst}");
    }
}
