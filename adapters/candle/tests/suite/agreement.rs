//! Outputs, gradients and running statistics are those of candle's own layer, but for rounding.

use crate::{Pair, apart, pair, random, variable};
use bn_candle::{BatchNorm, BatchNormConfig};
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ModuleT;

const SHAPES: [&[usize]; 5] = [&[7, 5], &[4, 3, 9], &[3, 6, 5, 4], &[2, 3, 2, 3, 4], &[1, 2, 3]];

type Forward<'f> = &'f dyn Fn(&Tensor) -> Result<Tensor>;

/// How far apart both may be in this type.
fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-13 } else { 1e-5 }
}

/// y, the gradients of x, γ and β, and the statistics after a step.
fn step((x, dy): (&Tensor, &Tensor), (of, vars): (Forward<'_>, &candle_nn::VarMap)) -> Result<Vec<Tensor>> {
    let x = Var::from_tensor(x)?;
    let y = of(x.as_tensor())?;
    let gradients = y.mul(dy)?.sum_all()?.backward()?;
    let mut all = vec![y];
    all.extend(gradients.get(&x).cloned());
    for name in ["weight", "bias"] {
        all.extend(variable(vars, name).and_then(|var| gradients.get(&var).cloned()));
    }
    for name in ["running_mean", "running_var"] {
        all.extend(variable(vars, name).map(|var| var.as_detached_tensor()));
    }
    Ok(all)
}

fn agree(config: BatchNormConfig, dtype: DType, train: bool, shape: &[usize]) -> Result<()> {
    let Pair { ours, theirs, vars } = pair(shape[1], config, dtype)?;
    let (x, dy) = (random(1, shape, 0.5, dtype), random(2, shape, 0.1, dtype));
    let got = step((&x, &dy), (&|x| ours.forward_t(x, train), &vars[0]))?;
    let want = step((&x, &dy), (&|x| theirs.forward_t(x, train), &vars[1]))?;
    assert_eq!(got.len(), want.len());
    assert_eq!(got.len(), if config.affine { 6 } else { 4 });
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let apart = apart(got, want);
        assert!(
            apart < tolerance(dtype),
            "{shape:?} {dtype:?} train {train} {config:?}, tensor {i}: {apart}"
        );
    }
    Ok(())
}

#[test]
fn steps_are_those_of_candles_layer() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        for shape in SHAPES {
            for train in [true, false] {
                for affine in [true, false] {
                    for remove_mean in [true, false] {
                        let config = BatchNormConfig { eps: 1e-3, momentum: 0.3, affine, remove_mean };
                        agree(config, dtype, train, shape)?;
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn eps_of_zero_goes_to_candles_layer() -> Result<()> {
    agree(BatchNormConfig::from(0.0), DType::F64, true, &[7, 5])
}

/// x, in memory, has its axes in another order: channels last, and one that is neither.
#[test]
fn memory_may_be_permuted() -> Result<()> {
    let dtype = DType::F64;
    let Pair { ours, theirs, vars } = pair(3, BatchNormConfig::default(), dtype)?;
    let dy = random(2, (2, 3, 4, 5), 0.1, dtype);
    for (dims, order) in [([2, 4, 5, 3], [0, 3, 1, 2]), ([5, 4, 3, 2], [3, 2, 1, 0])] {
        let x = random(1, &dims, 0.5, dtype).permute(order)?;
        for dy in [dy.clone(), random(3, (2, 4, 5, 3), 0.0, dtype).permute([0, 3, 1, 2])?] {
            // A variable would be put in order: what is permuted comes out of the graph.
            let through = |of: Forward<'_>, vars| {
                let permuted = |x: &Tensor| {
                    let back = order.iter().enumerate().fold([0; 4], |mut back, (i, &o)| {
                        back[o] = i;
                        back
                    });
                    of(&x.permute(back)?.contiguous()?.permute(order)?)
                };
                step((&x, &dy), (&permuted, vars))
            };
            let got = through(&|x| ours.forward_t(x, true), &vars[0])?;
            let want = through(&|x| theirs.forward_t(x, true), &vars[1])?;
            assert!(got.iter().zip(&want).all(|(got, want)| apart(got, want) < 1e-13), "{order:?}");
        }
    }
    Ok(())
}

/// The fused calls are the layer, the addition and ReLU one after the other, in either order of memory.
#[test]
fn fused_calls_are_the_three_in_a_row() -> Result<()> {
    let dtype = DType::F64;
    for affine in [true, false] {
        let config = BatchNormConfig { affine, ..Default::default() };
        for (last, train) in [(false, true), (true, true), (false, false), (true, false)] {
            let Pair { ours, theirs, vars } = pair(3, config, dtype)?;
            let order = |x: &Tensor| match last {
                true => x.permute([0, 2, 3, 1])?.contiguous()?.permute([0, 3, 1, 2]),
                false => Ok(x.clone()),
            };
            let (x, dy) = (random(1, (4, 3, 5, 2), 0.5, dtype), random(2, (4, 3, 5, 2), 0.1, dtype));
            let got = step((&x, &dy), (&|x| ours.forward_t_relu(&order(x)?, train), &vars[0]))?;
            let want = step((&x, &dy), (&|x| theirs.forward_t(x, train)?.relu(), &vars[1]))?;
            assert!(got.iter().zip(&want).all(|(got, want)| apart(got, want) < 1e-13));

            let skip = [(); 2].map(|()| Var::from_tensor(&random(7, (4, 3, 5, 2), 0.0, dtype)));
            let [skip, other] = skip.map(|skip| skip.expect("a variable"));
            let y = ours.forward_t_add_relu(&order(&x)?, &order(&skip)?, train)?;
            let z = (theirs.forward_t(&x, train)? + other.as_tensor())?.relu()?;
            assert!(apart(&y, &z) < 1e-13);
            let got = y.mul(&dy)?.sum_all()?.backward()?;
            let want = z.mul(&dy)?.sum_all()?.backward()?;
            let pairs = ["weight", "bias"].map(|name| [0, 1].map(|i| variable(&vars[i], name)));
            let pairs = pairs.into_iter().filter_map(|[ours, theirs]| Some((ours?, theirs?)));
            for (ours, theirs) in pairs.chain([(skip, other)]) {
                let [got, want] = [got.get(&ours), want.get(&theirs)].map(|g| g.expect("a gradient"));
                assert!(apart(got, want) < 1e-13);
            }
        }
    }
    Ok(())
}

/// Parameters that are no variables have no gradient, and x has its own.
#[test]
fn frozen_parameters_have_no_gradient() -> Result<()> {
    let ones = || Tensor::ones(3, DType::F32, &Device::Cpu);
    let norm = BatchNorm::new(3, ones()?, ones()?, ones()?, ones()?, 1e-5)?;
    let x = Var::from_tensor(&random(1, (4, 3), 0.0, DType::F32))?;
    let gradients = norm.forward_train(&x)?.sqr()?.sum_all()?.backward()?;
    let (weight, bias) = norm.weight_and_bias().expect("γ and β");
    assert!(gradients.get(&x).is_some() && gradients.get(weight).is_none() && gradients.get(bias).is_none());
    Ok(())
}

/// Half types go through f32: y is that of f32 rounded once, and γ and β have gradients in their own type.
#[test]
fn half_types_train() -> Result<()> {
    for (dtype, unit) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        let halved = pair(5, BatchNormConfig::default(), dtype)?;
        let wide = pair(5, BatchNormConfig::default(), DType::F32)?;
        for name in ["weight", "bias", "running_mean", "running_var"] {
            let [from, to] =
                [&halved, &wide].map(|pair| variable(&pair.vars[0], name).expect("a variable of the layer"));
            to.set(&from.to_dtype(DType::F32)?)?;
        }
        let (x, dy) = (random(1, (16, 5, 3), 0.5, dtype), random(2, (16, 5, 3), 0.1, dtype));
        let to = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        for train in [true, false] {
            let got = step((&x, &dy), (&|x| halved.ours.forward_t(x, train), &halved.vars[0]))?;
            let want = step((&to(&x)?, &to(&dy)?), (&|x| wide.ours.forward_t(x, train), &wide.vars[0]))?;
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(got.dtype(), dtype);
                assert!(apart(got, want) < 1.01 * unit, "{dtype:?} train {train}: {}", apart(got, want));
            }
        }
    }
    Ok(())
}
