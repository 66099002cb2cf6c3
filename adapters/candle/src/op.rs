//! A step of the layer as a node of candle's graph.

use crate::float::{Float, elements, with_elements};
use bn_adapter::{Gradients, Inputs, Step, Wanted};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Error, Layout, Result, Shape, Tensor,
};
use std::sync::Arc;

const NAME: &str = "batch-norm";

/// Puts a step into the graph: y = act(γ·x̂ + β + residual).
pub(crate) fn apply<T: Float>(
    step: &Arc<Step<T>>,
    x: &Tensor,
    affine: Option<&[Tensor; 2]>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let step = Arc::clone(step);
    // A node has three arguments at most.
    match (affine, residual) {
        (None, None) => x.apply_op1(Plain(step)),
        (None, Some(residual)) => x.apply_op2(residual, PlainAdd(step)),
        (Some([weight, bias]), None) => x.apply_op3(weight, bias, Scaled(step)),
        (Some([weight, bias]), Some(residual)) => {
            x.apply_op3(&Tensor::cat(&[weight, bias], 0)?, residual, ScaledAdd(step))
        }
    }
}

/// x.
struct Plain<T: Float>(Arc<Step<T>>);
/// x and the residual.
struct PlainAdd<T: Float>(Arc<Step<T>>);
/// x, γ and β.
struct Scaled<T: Float>(Arc<Step<T>>);
/// x, γ with β behind it, and the residual.
struct ScaledAdd<T: Float>(Arc<Step<T>>);

type Stored<'s> = (&'s CpuStorage, &'s Layout);
/// γ and β.
type Params<'s, R> = Option<[&'s [R]; 2]>;

fn forward<T: Float>(
    step: &Step<T>,
    x: Stored<'_>,
    affine: Params<'_, T::Compute>,
    residual: Option<Stored<'_>>,
) -> Result<(CpuStorage, Shape)> {
    let (x, shape) = (elements(x.0, x.1)?, x.1.shape().clone());
    let residual = residual.map(|(storage, layout)| elements(storage, layout)).transpose()?;
    let [weight, bias] = affine.map_or([None; 2], |pair| pair.map(Some));
    let y = step.forward(Inputs { x, weight, bias, residual }).map_err(Error::wrap)?;
    Ok((T::to_cpu_storage_owned(y), shape))
}

/// The gradients that are wanted; `y` is the output, where a residual was added.
fn backward<T: Float>(
    step: &Step<T>,
    x: &Tensor,
    (y, dy): (Option<&Tensor>, &Tensor),
    wanted: Wanted,
) -> Result<Gradients<T>> {
    let dy = dy.contiguous()?;
    with_elements(x, |x| {
        with_elements(&dy, |dy| {
            let all = |y: Option<&[T]>| step.backward(x, y, dy, wanted).map_err(Error::wrap);
            y.map_or_else(|| all(None), |y| with_elements(y, |y| all(Some(y))))
        })
    })
}

/// Which of a node's arguments have gradients: those that others depend on.
fn wanted(x: &Tensor, [weight, bias]: [bool; 2], residual: bool) -> Wanted {
    Wanted { x: x.track_op(), weight, bias, residual }
}

/// A gradient as a tensor like another one.
fn like<T: candle_core::WithDType>(values: Option<Vec<T>>, of: &Tensor) -> Result<Option<Tensor>> {
    values.map(|values| Tensor::from_vec(values, of.shape(), &Device::Cpu)).transpose()
}

impl<T: Float> CustomOp1 for Plain<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, of_x: &Layout) -> Result<(CpuStorage, Shape)> {
        forward(&self.0, (x, of_x), None, None)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let of = backward(&self.0, x, (None, dy), wanted(x, [false; 2], false))?;
        like(of.dx, x)
    }
}

impl<T: Float> CustomOp2 for PlainAdd<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        residual: &CpuStorage,
        of_residual: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        forward(&self.0, (x, of_x), None, Some((residual, of_residual)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let wanted = wanted(x, [false; 2], residual.track_op());
        let of = backward(&self.0, x, (Some(y), dy), wanted)?;
        Ok((like(of.dx, x)?, like(of.dresidual, residual)?))
    }
}

impl<T: Float> CustomOp3 for Scaled<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        weight: &CpuStorage,
        of_weight: &Layout,
        bias: &CpuStorage,
        of_bias: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let affine = [elements(weight, of_weight)?, elements(bias, of_bias)?];
        forward(&self.0, (x, of_x), Some(affine), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = wanted(x, [weight, bias].map(Tensor::track_op), false);
        let of = backward(&self.0, x, (None, dy), wanted)?;
        Ok((like(of.dx, x)?, like(of.dweight, weight)?, like(of.dbias, bias)?))
    }
}

impl<T: Float> CustomOp3 for ScaledAdd<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        affine: &CpuStorage,
        of_affine: &Layout,
        residual: &CpuStorage,
        of_residual: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let affine = elements(affine, of_affine)?;
        let (weight, bias) = affine.split_at(affine.len() / 2);
        forward(&self.0, (x, of_x), Some([weight, bias]), Some((residual, of_residual)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = wanted(x, [affine.track_op(); 2], residual.track_op());
        let of = backward(&self.0, x, (Some(y), dy), wanted)?;
        let both = of.dweight.zip(of.dbias).map(|(weight, bias)| [weight, bias].concat());
        Ok((like(of.dx, x)?, like(both, affine)?, like(of.dresidual, residual)?))
    }
}
