//! What must hold whatever the oracle says: algebra beside the numbers.
//!
//! Each returns a line per failure.

use crate::data::{normal, rng};
use crate::fetch::fetches_change_no_bit;
use crate::ghosts::ghosts_are_steps_on_slices;
use crate::pairs::pairs_are_their_parts;
use crate::parts::parts_give_the_whole;
use crate::ranks::ranks_give_the_whole;
use crate::run::widened;
use crate::tolerances::{GRADIENT_DX, GRADIENT_PARAMS, LIMIT, SUM_DX, SUM_DX_MEAN};
use bn_core::{Backend, BatchNorm, Config, Element, Gradients, Grads, Layout, Real, Saved, Shape, Workspace};
use half::{bf16, f16};
use ndarray::{Array1, Array2, Array3, Array4, ArrayD, ArrayView2, Axis, s};

/// Every identity, on both element types where it is not of f64 alone.
#[must_use]
pub fn all<B: Backend + Clone>(backend: &B) -> Vec<String> {
    let mut failures = Vec::new();
    for check in [
        gradients_are_numerical::<B>,
        dx_sums_to_zero::<f32, B>,
        dx_sums_to_zero::<f64, B>,
        bias_does_not_reach_the_gradients::<f32, B>,
        bias_does_not_reach_the_gradients::<f64, B>,
        halves_merge_to_the_whole::<f32, B>,
        halves_merge_to_the_whole::<f64, B>,
        views_give_what_copies_give::<f32, B>,
        views_give_what_copies_give::<f64, B>,
        a_recomputed_forward_counts_once::<f32, B>,
        a_recomputed_forward_counts_once::<f64, B>,
        alignment_changes_no_bit::<f32, B>,
        alignment_changes_no_bit::<f64, B>,
        features_do_not_see_each_other::<f32, B>,
        features_do_not_see_each_other::<f64, B>,
        fetches_change_no_bit::<f32, B>,
        fetches_change_no_bit::<f64, B>,
        pairs_are_their_parts::<f32, B>,
        pairs_are_their_parts::<f64, B>,
        parts_give_the_whole::<f32, B>,
        parts_give_the_whole::<f64, B>,
        parts_give_the_whole::<f16, B>,
        parts_give_the_whole::<bf16, B>,
        ranks_give_the_whole::<f32, B>,
        ranks_give_the_whole::<bf16, B>,
        ghosts_are_steps_on_slices::<f32, B>,
        ghosts_are_steps_on_slices::<f64, B>,
        ghosts_are_steps_on_slices::<f16, B>,
        ghosts_are_steps_on_slices::<bf16, B>,
    ] {
        failures.extend(check(backend));
    }
    failures
}

fn random<T: Element>(n: usize, c: usize, (spread, centre): (f64, f64), seed: u64) -> Array2<T> {
    let mut rng = rng(seed);
    Array2::from_shape_simple_fn((n, c), || {
        T::from_compute(T::Compute::from_f64(spread * normal(&mut rng) + centre))
    })
}

fn layer<T: Element, B: Backend + Clone>(
    backend: &B,
    features: usize,
    seed: u64,
) -> Result<BatchNorm<T, B>, String> {
    let mut bn = BatchNorm::with_backend(features, Config::default(), backend.clone()).map_err(text)?;
    let mut rng = rng(seed);
    let mut parameter = || Array1::from_shape_simple_fn(features, || T::Compute::from_f64(normal(&mut rng)));
    (bn.weight, bn.bias) = (parameter(), parameter());
    Ok(bn)
}

/// Runs a check whose every error is a failure.
fn failing(name: &str, check: impl FnOnce(&mut Vec<String>) -> Result<(), String>) -> Vec<String> {
    let mut failures = Vec::new();
    if let Err(error) = check(&mut failures) {
        failures.push(error);
    }
    failures.into_iter().map(|f| format!("{name}: {f}")).collect()
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// max|a−b| / max|b|.
fn apart<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64> + Clone) -> f64 {
    let max = b.clone().into_iter().fold(0.0f64, |m, v| m.max(v.abs()));
    a.into_iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / max
}

/// The gradients of L = Σ w·y against five-point central differences, in f64: 100 seeds, N = 4, D = 5,
/// x = 5·randn + 12.
fn gradients_are_numerical<B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("numerical gradient", |failures| {
        for seed in 0..100 {
            let worst = numerical_gradient(backend, seed)?;
            for (name, worst, limit) in [
                ("dx", worst[0], GRADIENT_DX),
                ("dweight", worst[1], GRADIENT_PARAMS),
                ("dbias", worst[2], GRADIENT_PARAMS),
            ] {
                if worst.is_nan() || worst > limit {
                    failures.push(format!("seed {seed}: {name} is {worst:.2e} off, limit {limit:e}"));
                }
            }
        }
        Ok(())
    })
}

/// max|a−b|/max|b| of dx, dγ and dβ for one seed.
///
/// # Errors
/// What the layer says.
fn numerical_gradient<B: Backend + Clone>(backend: &B, seed: u64) -> Result<[f64; 3], String> {
    let bn = layer::<f64, B>(backend, 5, seed + 1000)?;
    let x = random::<f64>(4, 5, (5.0, 12.0), seed);
    let w = random::<f64>(4, 5, (1.0, 0.0), seed + 2000);
    let loss = |bn: &BatchNorm<f64, B>, x: ArrayView2<'_, f64>| -> Result<f64, String> {
        let (y, _) = bn.forward_uncommitted(&x).map_err(text)?;
        Ok((&y * &w).sum())
    };
    // f' ≈ (8(f₊₁ − f₋₁) − (f₊₂ − f₋₂)) / 12h
    let derivative = |f: &mut dyn FnMut(f64) -> Result<f64, String>| -> Result<f64, String> {
        let h = 1e-3;
        Ok((8.0 * (f(h)? - f(-h)?) - (f(2.0 * h)? - f(-2.0 * h)?)) / (12.0 * h))
    };
    let (_, saved) = bn.forward_uncommitted(&x).map_err(text)?;
    let Gradients { dx, dweight, dbias, .. } = bn.backward(&saved, &x, &w).map_err(text)?;

    let mut numerical = Array2::zeros((4, 5));
    for ((i, j), out) in numerical.indexed_iter_mut() {
        *out = derivative(&mut |h| {
            let mut x = x.clone();
            x[(i, j)] += h;
            loss(&bn, x.view())
        })?;
    }
    let mut parameters = [Array1::zeros(5), Array1::zeros(5)];
    for (which, numerical) in parameters.iter_mut().enumerate() {
        for (j, out) in numerical.indexed_iter_mut() {
            *out = derivative(&mut |h| {
                let mut bn = bn.clone();
                let parameter = if which == 0 { &mut bn.weight } else { &mut bn.bias };
                parameter[j] += h;
                loss(&bn, x.view())
            })?;
        }
    }
    Ok([apart(&dx, &numerical), apart(&dweight, &parameters[0]), apart(&dbias, &parameters[1])])
}

/// x̂ sums to zero and so does dx: adding a constant to x changes nothing.
fn dx_sums_to_zero<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("Σdx = 0", |failures| {
        for (n, c) in [(50, 3), (129, 40), (2048, 7), (20_011, 3), (400_000, 1)] {
            let bn = layer::<T, B>(backend, c, 5)?;
            let (x, dy) = (random::<T>(n, c, (5.0, 12.0), 6), random::<T>(n, c, (1.0, 0.3), 7));
            let (_, saved) = bn.forward_uncommitted(&x).map_err(text)?;
            let g = bn.backward(&saved, &x, &dy).map_err(text)?;
            let u = crate::measure::Format::of::<T>(crate::case::Tensor::Dx).roundoff;
            for (f, column) in g.dx.axis_iter(Axis(1)).enumerate() {
                let column: Vec<f64> = column.iter().map(|v| v.to_compute().to_f64()).collect();
                let max = column.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                let sum = column.iter().sum::<f64>().abs();
                // γ·invstd times what the rounding of m may leave, for each of the n.
                let mean = dy.column(f).iter().map(|v| v.to_compute().to_f64()).sum::<f64>() / n as f64;
                let invstd = 1.0 / (saved.var().get(f).map_or(0.0, |v| v.to_f64()) + bn.config().eps).sqrt();
                let left = n as f64 * (bn.weight[f].to_f64() * invstd * mean).abs();
                let limit = u * (SUM_DX * (n as f64).sqrt() * max).max(SUM_DX_MEAN * left);
                if sum.is_nan() || sum > limit {
                    failures.push(format!("{} ({n},{c}) feature {f}: {sum:e}, limit {limit:e}", T::NAME));
                }
            }
        }
        Ok(())
    })
}

/// β only shifts y.
fn bias_does_not_reach_the_gradients<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("invariance to β", |failures| {
        let mut bn = layer::<T, B>(backend, 9, 5)?;
        let (x, dy) = (random::<T>(33, 9, (2.0, 1.0), 6), random::<T>(33, 9, (1.0, 0.0), 7));
        let mut gradients = || {
            let (_, saved) = bn.forward_uncommitted(&x)?;
            let g = bn.backward(&saved, &x, &dy);
            bn.bias.fill(T::Compute::from_f64(1e5));
            g
        };
        let (before, after) = (gradients().map_err(text)?, gradients().map_err(text)?);
        if before != after {
            failures.push(format!("{}: gradients changed with β", T::NAME));
        }
        Ok(())
    })
}

/// The statistics of two halves, merged by Chan's formula, are those of the whole.
fn halves_merge_to_the_whole<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("split and merge", |failures| {
        let (n, cut, c) = (501, 200, 6);
        let bn = layer::<T, B>(backend, c, 1)?;
        let x = random::<T>(n, c, (3.0, 40.0), 2);
        let stats = |x: ArrayView2<'_, T>| -> Result<Vec<(f64, f64)>, String> {
            let (_, saved) = bn.forward_uncommitted(&x).map_err(text)?;
            Ok(saved
                .mean()
                .iter()
                .zip(saved.var())
                .map(|(mean, var)| (mean.to_f64(), var.to_f64()))
                .collect())
        };
        let (whole, a, b) =
            (stats(x.view())?, stats(x.slice(s![..cut, ..]))?, stats(x.slice(s![cut.., ..]))?);
        let (na, nb) = (cut as f64, (n - cut) as f64);
        let u = crate::measure::Format::of::<T>(crate::case::Tensor::Mean).roundoff;
        for f in 0..c {
            let delta = b[f].0 - a[f].0;
            let mean = a[f].0 + delta * nb / (na + nb);
            let var = (a[f].1 * na + b[f].1 * nb + delta * delta * na * nb / (na + nb)) / (na + nb);
            let error =
                ((mean - whole[f].0) / whole[f].0).abs().max(((var - whole[f].1) / whole[f].1).abs()) / u;
            if error.is_nan() || error > 2.0 * LIMIT {
                failures.push(format!("{} feature {f}: {error} units of roundoff apart", T::NAME));
            }
        }
        Ok(())
    })
}

/// A strided or permuted view gives what a copy in standard order gives, in its own dimensions. Not always to the
/// bit: a view of channels-last memory is walked as such, which is another shape.
fn views_give_what_copies_give<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("views", |failures| {
        let flat = random::<T>(6 * 10 * 8, 9, (2.0, 3.0), 11);
        let all = flat.into_shape_with_order((6, 10, 8, 9)).map_err(|e| e.to_string())?;
        let views = [
            ("gaps between samples", all.slice(s![..;2, .., .., ..])),
            ("gaps between rows", all.slice(s![.., .., ..;3, ..])),
            ("reversed", all.slice(s![.., ..;-1, .., ..])),
            ("every other feature", all.slice(s![.., ..;2, .., ..])),
            ("transposed", all.view().reversed_axes()),
            ("channels last in memory", all.view().permuted_axes([0, 3, 1, 2])),
            ("channels first in memory", all.view().permuted_axes([0, 2, 3, 1])),
        ];
        for (name, view) in views {
            for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
                let axis = if layout == Layout::ChannelsFirst { 1 } else { 3 };
                let config = Config::default().layout(layout);
                let bn =
                    BatchNorm::with_backend(view.shape()[axis], config, backend.clone()).map_err(text)?;
                let step = |x: &ArrayD<T>| -> Result<_, String> {
                    let (y, saved) = bn.forward_uncommitted(x).map_err(text)?;
                    let g = bn.backward(&saved, x, &y).map_err(text)?;
                    Ok((y, g))
                };
                let (y, saved) = bn.forward_uncommitted(&view).map_err(text)?;
                let g = bn.backward(&saved, &view, &y).map_err(text)?;
                let standard = view.as_standard_layout().into_owned().into_dyn();
                let (want_y, want_g) = step(&standard)?;
                let close = |a: &[T], b: &[T]| {
                    let (a, b) = (widened(a), widened(b));
                    apart(&a, &b) < 8.0 * crate::measure::Format::of::<T>(crate::case::Tensor::Y).roundoff
                };
                let plain = |a: &Array4<T>| a.as_standard_layout().iter().copied().collect::<Vec<T>>();
                let pairs = [(plain(&y), want_y), (plain(&g.dx), want_g.dx)];
                let same = pairs.iter().all(|(a, b)| close(a, &b.iter().copied().collect::<Vec<T>>()));
                if !same || y.dim() != view.dim() || g.dx.dim() != view.dim() {
                    failures.push(format!("{} {name} {layout:?}: differs from its copy", T::NAME));
                }
            }
        }
        Ok(())
    })
}

/// A forward run twice and committed once (activation checkpointing) tracks the batch once; together they do
/// what the everyday forward does.
fn a_recomputed_forward_counts_once<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("commit", |failures| {
        let mut once = layer::<T, B>(backend, 4, 1)?;
        let mut twice = once.clone();
        let x = random::<T>(20, 4, (1.0, 2.0), 3);
        once.forward(&x).map_err(text)?;
        twice.forward_uncommitted(&x).map_err(text)?;
        let (_, saved) = twice.forward_uncommitted(&x).map_err(text)?;
        twice.commit(&saved).map_err(text)?;
        if once.running != twice.running || once.running.as_ref().is_none_or(|r| r.num_batches_tracked != 1) {
            failures.push(format!("{}: {:?} against {:?}", T::NAME, once.running, twice.running));
        }
        Ok(())
    })
}

/// Wherever in a cache line the tensors begin, each for itself, the bits are the same.
fn alignment_changes_no_bit<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("alignment", |failures| {
        for (n, c, inner) in [(130, 32, 1), (9, 512, 1), (300, 40, 1), (5, 1024, 1), (6, 16, 49), (3, 4, 300)]
        {
            let bn = layer::<T, B>(backend, c, 1)?;
            let shape = Shape::new(n, c, inner).map_err(text)?;
            let [x, dy] = [2, 3].map(|seed| random::<T>(n, c * inner, (2.0, 1.0), seed));
            let step = |offsets: [usize; 4]| -> Result<_, String> {
                let room = || vec![T::default(); shape.len() + 16];
                let (mut at, mut y, mut dx) = ([room(), room()], room(), room());
                for ((at, values), offset) in at.iter_mut().zip([&x, &dy]).zip(offsets) {
                    for (to, v) in at[offset..].iter_mut().zip(values) {
                        *to = *v;
                    }
                }
                let part = |offset: usize| offset..offset + shape.len();
                let [x, dy] = [&at[0][part(offsets[0])], &at[1][part(offsets[1])]];
                let [mut dweight, mut dbias] = [(); 2].map(|()| vec![T::Compute::default(); c]);
                let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
                let y = &mut y[part(offsets[2])];
                bn.clone().forward_into(shape, x, y, &mut saved, &mut workspace).map_err(text)?;
                let dx = &mut dx[part(offsets[3])];
                let grads = Grads { dx, dweight: &mut dweight, dbias: &mut dbias };
                bn.backward_into(&saved, x, dy, grads, &mut workspace).map_err(text)?;
                Ok((y.to_vec(), dx.to_vec(), dweight, dbias))
            };
            let want = step([0; 4])?;
            for i in 1..16 {
                if step([i, (5 * i) % 16, (3 * i) % 16, (7 * i) % 16])? != want {
                    failures.push(format!("{} {shape:?}, {i} elements late: other bits", T::NAME));
                }
            }
        }
        Ok(())
    })
}

/// Far off centre, constant or NaN: what a feature holds changes no bit of the others, though they are summed together.
fn features_do_not_see_each_other<T: Element, B: Backend + Clone>(backend: &B) -> Vec<String> {
    failing("features apart", |failures| {
        for inner in [1, 9, 300] {
            let bn = layer::<T, B>(backend, 5, 1)?;
            let shape = (20, 5, inner);
            let x = random::<T>(20, 5 * inner, (1.0, 0.2), 2).into_shape_with_order(shape);
            let x = x.map_err(|e| e.to_string())?;
            // A constant gradient: what is left of dγ is what the sums have lost, which shows how they were taken.
            let dy = Array3::from_elem(shape, T::from_compute(T::Compute::from_f64(0.7)));
            let step = |x: &Array3<T>| -> Result<_, String> {
                let (y, saved) = bn.forward_uncommitted(x).map_err(text)?;
                let g = bn.backward(&saved, x, &dy).map_err(text)?;
                let tensors = [y, g.dx].map(|t| t.slice(s![.., ..;2, ..]).to_owned());
                let sums = [g.dweight, g.dbias].map(|t| t.slice(s![..;2]).to_owned());
                Ok((tensors, sums))
            };
            let mut other = x.clone();
            let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
            for v in other.slice_mut(s![.., 1, ..]) {
                *v = number(1000.0 + v.to_compute().to_f64());
            }
            other.slice_mut(s![.., 3, ..]).fill(number(f64::NAN));
            if step(&x)? != step(&other)? {
                failures.push(format!("{} runs of {inner}: others' values changed bits", T::NAME));
            }
        }
        Ok(())
    })
}
