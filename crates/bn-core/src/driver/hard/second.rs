//! The double backward of hard features, of every type: extents, sums in double-double and maps in f64, all in units of
//! powers of two, rounded to the type at the end.

use super::class::{self, Asked, Class};
use super::pieces::{Inputs as Mapped, Kind, Pieces, narrow};
use super::window::{WIDTH, Window};
use super::work::{Second, Slot, Work, take_to, unit};
use super::{Hard, lengthened, lengthened_mut};
use crate::driver::given::GivenSecond;
use crate::kernel::{Clamp, Hints, KernelSet, Map, Out, Post, SecondAffine, Tile, Walk};
use crate::maths::frame::{Coef, Frame};
use crate::maths::second::Factors;
use crate::maths::{Moments, Side, StatsRef};
use crate::num::wide::ldexp;
use crate::num::{Element, Real, Wide};
use crate::tensor::{Strips, StripsMut};
use std::ops::Range;

/// What a double backward reads.
#[derive(Debug)]
pub(in crate::driver) struct Inputs<'t, T> {
    pub(in crate::driver) x: Strips<'t, T>,
    pub(in crate::driver) dy: Strips<'t, T>,
    pub(in crate::driver) v: Option<Strips<'t, T>>,
    /// Whether statistics are constants and there is no w: x does not enter dd.dy.
    pub(in crate::driver) constant_w: bool,
}

impl<T: Copy> Inputs<'_, T> {
    pub(in crate::driver) fn reborrow(&self) -> Inputs<'_, T> {
        let v = self.v.as_ref().map(Strips::reborrow);
        Inputs { x: self.x.reborrow(), dy: self.dy.reborrow(), v, constant_w: self.constant_w }
    }

    fn lengthened(self, long: bool) -> Self {
        let Self { x, dy, v, constant_w } = self;
        let v = v.map(|v| lengthened(v, long));
        Self { x: lengthened(x, long), dy: lengthened(dy, long), v, constant_w }
    }
}

/// What the statistics are of. Where the tensors are a part of it, the moments that they are from, and the sums of the whole.
pub(in crate::driver) type Of<'a, R> = (Batch, Option<&'a [Moments]>, Option<GivenSecond<'a, R>>);

/// What the statistics are of.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Batch {
    pub(in crate::driver) count: usize,
    pub(in crate::driver) eps: f64,
    pub(in crate::driver) from_batch: bool,
}

impl<K: KernelSet> Hard<'_, K> {
    /// dd.dy of these features.
    pub(in crate::driver) fn second_dy<T: Element>(
        self,
        inputs: Inputs<'_, T>,
        out: StripsMut<'_, T>,
        factors: &dyn Fn(usize) -> Factors<T::Compute>,
        stats: StatsRef<'_, T::Compute>,
        (batch, moments, given): Of<'_, T::Compute>,
    ) {
        let (Inputs { x, v, constant_w, .. }, mut out) =
            (inputs.lengthened(self.long), lengthened_mut(out, self.long));
        let mut work = self.work(&x);
        work.frames(&x, stats, (batch, moments));
        let mut classes = [Class::default(); WIDTH];
        if let (Some(v), Some(given)) = (&v, given) {
            work.extents(v);
            for ((slot, f), class) in work.each().zip(&mut classes) {
                let (sums, largest) = (given.v.get(f), slot.extent.largest());
                slot.second.v = Side::of_whole(&sums, &slot.frame, batch.count, largest);
                *class = sums.class;
            }
        } else if let Some(v) = &v {
            work.sides(v, |second| &mut second.v);
            if batch.from_batch {
                work.side_sums(&x, v, |second| &mut second.v);
                classes = work.classes([&x, v], stats);
            }
        }
        for ((slot, f), [first, second]) in work.each().zip(classes) {
            let (factors, own) = (factors(f), slot.second);
            if batch.from_batch && own.v.others != 0.0 {
                // Signs alone count, so that units do not.
                let only = |v: T::Compute| if v.to_f64().is_finite() { 0.0 } else { v.to_f64() };
                let weight = factors.weight.to_f64();
                let a = if weight.is_finite() && weight != 0.0 { weight.signum() } else { weight };
                let c = only(factors.w) - a * second;
                (slot.frame, slot.unit) = (Frame::around_0(0), 0);
                slot.frame.k = stats.k[f].to_f64();
                let delta = stats.delta[f].to_f64();
                slot.coef = Coef { delta, a, c, m: first, d: only(factors.z), ..Coef::default() };
                continue;
            }
            let side = v.as_ref().map(|_| (own.v, batch.count));
            slot.coef = slot.frame.second_dy(own.far, factors, side, batch.from_batch);
            slot.unit = own.v.unit;
            if v.is_none() {
                (slot.coef.a, slot.coef.b) = (slot.coef.c, slot.coef.d);
            } else if constant_w {
                slot.frame = Frame::around_0(own.v.unit);
                slot.coef.b = slot.coef.d;
            }
        }
        let mapped = match v {
            Some(v) if constant_w => Mapped::normalize(v, Post::Pass),
            Some(v) => Mapped::gradients(Kind::GradInput, Some(x), v),
            None => Mapped::normalize(x, Post::Pass),
        };
        work.map_scaled(mapped, &mut out);
        work.fill_lost(&mut out);
    }

    /// dd.x of these features, if it is wanted, and their dd.weight, which are `put`: through batch statistics and with a v.
    pub(in crate::driver) fn second_x<T: Element>(
        self,
        inputs: Inputs<'_, T>,
        out: Option<StripsMut<'_, T>>,
        factors: &dyn Fn(usize) -> Factors<T::Compute>,
        stats: StatsRef<'_, T::Compute>,
        (batch, moments, given): Of<'_, T::Compute>,
        put: &mut dyn FnMut(usize, T::Compute),
    ) {
        let long = self.long;
        let Inputs { x, dy, v: Some(v), .. } = inputs.lengthened(long) else { return };
        let mut work = self.work(&x);
        work.frames(&x, stats, (batch, moments));
        match given {
            Some(given) => work.whole_sides([&dy, &v], given, batch.count),
            None => {
                work.sides(&dy, |second| &mut second.dy);
                work.sides(&v, |second| &mut second.v);
            }
        }
        // Beside what is not finite q is NaN, and all of x̂·q.
        work.retain(|slot| slot.second.dy.others == 0.0 && slot.second.v.others == 0.0);
        work.lost.iter().for_each(|&f| put(f, T::Compute::from_f64(f64::NAN)));
        if given.is_none() {
            work.side_sums(&x, &dy, |second| &mut second.dy);
            work.side_sums(&x, &v, |second| &mut second.v);
            work.product_sums(&dy, &v, batch.count);
        }
        for (slot, f) in work.each() {
            let Second { dy, v, far } = slot.second;
            let (coef, weight) = slot.frame.second_x(far, factors(f), batch.count, [dy, v], slot.sums);
            put(f, T::Compute::from_f64(weight.to_f64()));
            (slot.coef, slot.unit) = (coef, dy.unit);
        }
        if let Some(out) = out {
            let mut out = lengthened_mut(out, long);
            work.map_second([&x, &dy, &v], &mut out);
            work.fill_lost(&mut out);
        }
    }
}

impl<K: KernelSet> Work<'_, K> {
    /// Frames, and how far x reaches from its mean. Features of a batch whose x is not finite are left out.
    fn frames<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        stats: StatsRef<'_, T::Compute>,
        (Batch { count, eps, from_batch }, moments): (Batch, Option<&[Moments]>),
    ) {
        if let Some(moments) = moments {
            self.take_given(x, stats, (moments, eps));
            self.extents(x);
            self.retain(|slot| !slot.frame.invstd().0.to_f64().is_nan());
        } else if from_batch && !T::Compute::sums_are_safe() {
            self.take_statistics(x, (count, eps), &mut |_, _| ());
        } else {
            self.take_given(x, stats, (&[], eps));
            self.extents(x);
            if from_batch {
                self.retain(|slot| slot.extent.is_finite());
            }
        }
        for (slot, _) in self.each() {
            let Slot { frame, extent, second, .. } = slot;
            let from_mean = |v| (ldexp(v, -frame.unit) - frame.k) - frame.delta();
            *second = Second { far: extent.farthest(from_mean), ..Second::default() };
        }
    }

    /// The unit of a tensor, and what it has that is not finite.
    fn sides<T: Element>(&mut self, of: &Strips<'_, T>, side: impl Fn(&mut Second) -> &mut Side) {
        self.extents(of);
        for (slot, _) in self.each() {
            let extent = slot.extent;
            let side = side(&mut slot.second);
            let largest = extent.largest();
            (side.unit, side.others, side.nothing) = (unit(largest), extent.others, largest == 0.0);
        }
    }

    /// The sums of a tensor and of its products with x − k.
    fn side_sums<T: Element>(
        &mut self,
        x: &Strips<'_, T>,
        of: &Strips<'_, T>,
        side: impl Fn(&mut Second) -> &mut Side,
    ) {
        for (slot, _) in self.each() {
            slot.unit = side(&mut slot.second).unit;
        }
        self.sum(x, Some(of));
        for (slot, _) in self.each() {
            side(&mut slot.second).sums = slot.sums;
        }
    }

    /// Σv and Σv·(dy−m): dy in the place of x.
    fn product_sums<T: Element>(&mut self, dy: &Strips<'_, T>, v: &Strips<'_, T>, count: usize) {
        let mut frames = [Frame::default(); WIDTH];
        for ((slot, _), frame) in self.each().zip(&mut frames) {
            let Second { dy, v, .. } = slot.second;
            *frame = std::mem::replace(&mut slot.frame, Frame::around_0(dy.unit));
            (slot.frame.k, slot.unit) = (dy.mean(count), v.unit);
        }
        self.sum(dy, Some(v));
        self.each().zip(frames).for_each(|((slot, _), frame)| slot.frame = frame);
    }

    /// The sides of dy and v, and the sums of their products, of a part of a batch.
    fn whole_sides<T: Element>(
        &mut self,
        [dy, v]: [&Strips<'_, T>; 2],
        given: GivenSecond<'_, T::Compute>,
        count: usize,
    ) {
        let mut largest = [[0.0; 2]; WIDTH];
        for (i, of) in [dy, v].into_iter().enumerate() {
            self.extents(of);
            self.each().zip(&mut largest).for_each(|((slot, _), own)| own[i] = slot.extent.largest());
        }
        for ((slot, f), largest) in self.each().zip(largest) {
            let ([dy, v], both) = given.get(f).sides(&slot.frame, count, largest);
            (slot.second.dy, slot.second.v, slot.sums) = (dy, v, both);
        }
    }

    /// What the terms of a v come to that are not finite.
    fn classes<T: Element>(
        &mut self,
        [x, v]: [&Strips<'_, T>; 2],
        stats: StatsRef<'_, T::Compute>,
    ) -> [Class; WIDTH] {
        let mut classes = [Class::default(); WIDTH];
        if self.each().any(|(slot, _)| slot.second.v.others != 0.0) {
            let features = &*self.features;
            let around = |i: usize| [stats.k[features[i]].to_f64(), stats.delta[features[i]].to_f64()];
            for window in Window::of(features, self.inner) {
                let classes = &mut classes[..features.len()];
                class::add(self.set, &window, [x, v], around, Asked::Both, classes);
            }
        }
        classes
    }

    /// dd.x of all features that are not lost.
    fn map_second<T: Element>(&mut self, inputs: [&Strips<'_, T>; 3], out: &mut StripsMut<'_, T>) {
        let Self { set, inner, pieces, features, slots, .. } = self;
        for window in Window::of(features, *inner) {
            take_to(pieces, &window, slots);
            pieces.scales[2].set(&window, |i| slots[i].coef.out);
            pieces.scales[3].set(&window, |i| -slots[i].second.v.unit);
            let values = |i: usize| {
                let Coef { delta, a, b, c, d, m, l, .. } = slots[i].coef;
                [delta, a, b, c, d, m, l]
            };
            for (place, row) in pieces.coefs.iter_mut().enumerate() {
                window.spread(|i| values(i)[place], row);
            }
            pieces.map_second(*set, &window, inputs, out);
        }
    }
}

impl Pieces {
    /// Maps a window of x, dy and v to `out`.
    fn map_second<T: Element>(
        &mut self,
        set: &impl KernelSet,
        window: &Window<'_>,
        [x, dy, v]: [&Strips<'_, T>; 3],
        out: &mut StripsMut<'_, T>,
    ) {
        for rows in window.pieces(out.rows(), self.x.len()) {
            let len = rows.len() * window.width();
            self.scales[0].read(set, window, x, rows.clone(), &mut self.x[..len], &self.k);
            self.scales[1].read(set, window, dy, rows.clone(), &mut self.dy[..len], &self.zeros);
            self.scales[3].read(set, window, v, rows.clone(), &mut self.v[..len], &self.zeros);
            for (at, rows, width) in window.rows(len) {
                if rows > 0 {
                    self.second_rows(set, at, rows, width);
                }
            }
            self.put(set, window, rows, (None, out));
        }
    }

    fn second_rows(&mut self, set: &impl KernelSet, at: Range<usize>, rows: usize, width: usize) {
        let cut = |v| Strips::from_slice(v, rows, width).unwrap_or_else(|| unreachable!("rows of a piece"));
        let [x, dy, v] = [&self.x, &self.dy, &self.v].map(|of| cut(&of[at.clone()]));
        let [k, a, b, c, d, m, l] = self.coefs.each_ref().map(|row| &row[..width]);
        let map = Map::Second { x, dy, v, affine: SecondAffine { k, a, b, c, d, m, l } };
        let to = StripsMut::from_output((&mut self.result[at]).into(), rows, width);
        let to = Out::Fresh(to.unwrap_or_else(|| unreachable!("rows of a piece")));
        set.f64().map(Tile { features: width, walk: Walk::Columns }, &map, to, Hints::default());
    }

    /// Writes a piece of the result, scaled back, what an activation makes of it, and rounded.
    pub(super) fn put<T: Element>(
        &mut self,
        set: &impl KernelSet,
        window: &Window<'_>,
        rows: Range<usize>,
        (clamp, out): (Option<Clamp<f64>>, &mut StripsMut<'_, T>),
    ) {
        let len = rows.len() * window.width();
        let (scale, result, zeros) = (&self.scales[2], &mut self.result[..len], &self.zeros);
        set.vectorize(
            #[inline(always)]
            || {
                scale.apply(window, result, zeros);
                let mut rounded = [T::default(); super::pieces::PIECE];
                for (&v, to) in result.iter().zip(&mut rounded) {
                    *to = narrow(clamp.map_or(v, |clamp| clamp.of(v)));
                }
                window.scatter(&rounded[..len], rows, out);
            },
        );
    }
}
