//! A batch that is shared out to ranks at leaves, and the bits of the whole.

use crate::data::{normal, rng};
use crate::digest::same_bits;
use crate::run::widened;
use bn_core::functions::{self, Backward, Forward};
use bn_core::parts;
use bn_core::ranks::{Check, Communicator, Ranks};
use bn_core::{Activation, Backend, Element, Error, Kept, Layout, Options, Real, Saved, Shape, Workspace};
use std::ops::Range;

/// A batch that is shared out.
pub(crate) struct Batch<T: Element> {
    pub(crate) shape: Shape,
    pub(crate) x: Vec<T>,
    dy: Vec<T>,
    params: [Vec<T::Compute>; 2],
}

impl<T: Element> Batch<T> {
    pub(crate) fn new([outer, features, inner]: [usize; 3], centre: f64) -> Result<Self, Error> {
        let (shape, mut rng) = (Shape::new(outer, features, inner)?, rng(29));
        let mut values = |centre: f64, len: usize| -> Vec<T::Compute> {
            (0..len).map(|_| T::Compute::from_f64(normal(&mut rng) + centre)).collect()
        };
        let narrow = |values: Vec<T::Compute>| values.into_iter().map(T::from_compute).collect();
        let x = narrow(values(centre, shape.len()));
        // Of a constant dy dγ is nothing but what the sums have lost, so that another order of them shows.
        let dy = narrow(vec![T::Compute::from_f64(0.7); shape.len()]);
        Ok(Self { shape, x, dy, params: [1.0, 0.0].map(|centre| values(centre, features)) })
    }

    pub(crate) fn elements(&self, samples: &Range<usize>) -> Range<usize> {
        let strip = self.shape.features() * self.shape.inner();
        samples.start * strip..samples.end * strip
    }

    /// y, dx, dγ and dβ of these samples, by the functions of a whole batch where there are no ranks.
    pub(crate) fn step<B: Backend, C: Communicator>(
        &self,
        backend: &B,
        samples: &Range<usize>,
        ranks: Option<&mut Ranks<C>>,
    ) -> Result<[Vec<f64>; 4], Error> {
        let shape = Shape::new(samples.len(), self.shape.features(), self.shape.inner())?;
        let own = self.elements(samples);
        let (x, dy) = (&self.x[own.clone()], &self.dy[own.clone()]);
        let [mut y, mut dx] = [(); 2].map(|()| vec![T::default(); own.len()]);
        let [mut dweight, mut dbias] = [(); 2].map(|()| vec![T::Compute::default(); shape.features()]);
        let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
        let [weight, bias] = self.params.each_ref().map(|param| Some(&param[..]));
        let options = Options::default().activation(Activation::LeakyRelu(0.1));
        let forward = Forward { weight, bias, options, ..Forward::new(shape, x, &mut y) };
        let backward = Backward {
            weight,
            bias,
            dx: Some((&mut dx).into()),
            dweight: Some(&mut dweight),
            dbias: Some(&mut dbias),
            ..Backward::new(x, dy)
        };
        match ranks {
            None => {
                functions::train(backend, forward, &mut saved, &mut workspace)?;
                functions::backward(backend, backward, &saved, &mut workspace)?;
            }
            Some(ranks) => {
                ranks.layer(1).train(backend, forward, &mut saved, &mut workspace)?;
                let backward = Backward { kept: Kept::default().y(&y), ..backward };
                ranks.layer(1).backward(backend, backward, &saved, &mut workspace)?;
            }
        }
        Ok([widened(&y), widened(&dx), widened(&dweight), widened(&dbias)])
    }
}

/// `n` ranges of samples that begin at leaves: the later ones longer, and so that the rank in the middle has none.
pub(crate) fn cuts(shape: Shape, n: usize, gap: bool) -> Result<Vec<Range<usize>>, Error> {
    let leaf = parts::split_every(&[1, shape.features(), shape.inner()], Layout::ChannelsFirst)?;
    let leaves = shape.outer().div_ceil(leaf);
    let bound = |i: usize| (leaves * i * (i + 1) / (n * (n + 1)) * leaf).min(shape.outer());
    let mut cuts: Vec<_> =
        (0..n).map(|i| bound(i)..if i + 1 == n { shape.outer() } else { bound(i + 1) }).collect();
    if let (true, Some(middle)) = (gap && n > 1, cuts.get(n / 2).cloned()) {
        (cuts[n / 2 - 1].end, cuts[n / 2].start) = (middle.end, middle.end);
    }
    Ok(cuts)
}

/// Of shares that begin at leaves, one of which may have no rows: gathered or merged along the tree, with headers in each step or once.
pub(crate) fn bits_of_the_whole<T: Element, B: Backend + Clone, C: Communicator>(
    backend: &B,
    comm: &C,
    dims: [usize; 3],
) -> Vec<String> {
    let mut failures = Vec::new();
    for (centre, gap) in [(0.3, false), (1e6, true)] {
        let mut run = || {
            let batch = Batch::<T>::new(dims, centre)?;
            let want = batch.step::<_, C>(backend, &(0..dims[0]), None)?;
            let cuts = cuts(batch.shape, comm.size(), gap)?;
            let own = &cuts[comm.rank()];
            for (gathers, check) in [(usize::MAX, Check::EveryStep), (1, Check::OncePerShape)] {
                let mut ranks = Ranks::new(comm).gather_up_to(gathers).check(check);
                for _ in 0..2 {
                    let got = batch.step(backend, own, Some(&mut ranks))?;
                    let whole =
                        [want[0][batch.elements(own)].to_vec(), want[1][batch.elements(own)].to_vec()];
                    let wants = [&whole[0], &whole[1], &want[2], &want[3]];
                    let names = ["y", "dx", "dweight", "dbias"];
                    for ((got, want), name) in got.iter().zip(wants).zip(names) {
                        if !same_bits(got, want) {
                            failures
                                .push(format!("{dims:?} {} around {centre}: other bits of {name}", T::NAME));
                        }
                    }
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = run() {
            failures.push(format!("{dims:?} {} around {centre}: {error}", T::NAME));
        }
    }
    failures
}
