//! Far from zero both layers differ: the oracle says which of them is right.

use crate::values;
use batchnorm::{Config, Layout};
use bn_conformance::case::{Case, Results, Tensor as Name};
use bn_conformance::data::{Dy, X};
use bn_conformance::measure::{Row, check};
use bn_conformance::table::{Entry, case};
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::ModuleT;

fn errors(case: &Case<f32>, layer: &impl ModuleT, [weight, bias]: [&Var; 2], x: &Var) -> Result<Vec<Row>> {
    let dy = Tensor::from_slice(case.dy.as_deref().expect("a dy"), &case.dims[..], &Device::Cpu)?;
    let y = layer.forward_t(x, true)?;
    let gradients = y.mul(&dy)?.sum_all()?.backward()?;
    let gradient = |of: &Var| gradients.get(of).map(values).expect("a gradient");
    let mut got = Results::default();
    got.insert(Name::Y, values(&y));
    got.insert(Name::Dx, gradient(x));
    got.insert(Name::Dweight, gradient(weight));
    got.insert(Name::Dbias, gradient(bias));
    let names = [Name::Y, Name::Dx, Name::Dweight, Name::Dbias];
    Ok(check(case, &got).into_iter().filter(|row| names.contains(&row.tensor)).collect())
}

fn variable(of: &[f32], dims: &[usize]) -> Result<Var> {
    Var::from_slice(of, dims, &Device::Cpu)
}

#[test]
fn far_from_zero_the_oracle_agrees_with_ours() -> Result<()> {
    let entry = Entry { layout: Layout::ChannelsFirst, dims: &[8, 3, 5, 5] };
    for (data, far) in [(X::Normal, false), (X::LargeMean, true), (X::LargestMean, true)] {
        let mut case = case::<f32>(entry, (data, Dy::Normal), 0);
        case.config = Config::default();
        case.mode = batchnorm::Mode::Train;
        let [weight, bias] = [[1.5, -0.5, 2.0], [0.25, 1.0, -1.0]];
        case.affine = [Some(weight.to_vec()), Some(bias.to_vec())];
        case.expect = bn_conformance::table::expected(&case);
        let x = variable(&case.x, &case.dims)?;
        let [weight, bias] = [variable(&weight, &[3])?, variable(&bias, &[3])?];
        let parts = || -> Result<_> {
            let of = |value: f32| Tensor::full(value, 3, &Device::Cpu);
            Ok((of(0.0)?, of(1.0)?, weight.as_tensor().clone(), bias.as_tensor().clone()))
        };
        let (mean, var, w, b) = parts()?;
        let ours = bn_candle::BatchNorm::new(3, mean, var, w, b, 1e-5)?;
        let (mean, var, w, b) = parts()?;
        let theirs = candle_nn::BatchNorm::new(3, mean, var, w, b, 1e-5)?;
        let rows = errors(&case, &ours, [&weight, &bias], &x)?;
        assert!(rows.len() == 4 && rows.iter().all(Row::ok), "{data:?}: {rows:?}");
        let rows = errors(&case, &theirs, [&weight, &bias], &x)?;
        let worst = rows.iter().map(|row| row.error).fold(0.0, f64::max);
        assert_eq!(worst > 100.0, far, "candle's error at {data:?}: {worst}");
    }
    Ok(())
}
