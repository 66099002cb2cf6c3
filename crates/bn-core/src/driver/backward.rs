//! The backward: dγ and dβ, then dx = ((dy−m)·a + (x−k)·c) + d, or dx = dy·a where the statistics are constants.

use super::forward::{Forward, Statistics};
use super::gate::{By, Gate};
use super::given::Given;
use super::hard::{Hard, Tensors};
use super::needs::Needs;
use super::plan::Plan;
use super::schedule::Task;
use super::step::{Doors, Opening, Settled, Step, split_columns, split_optional, split_some};
use super::target::Target;
use super::workspace::{COEFS, State};
use crate::kernel::{GradAffine, KernelSet, Map, Sum};
use crate::maths::frame::{double, wide as narrowed};
use crate::maths::renorm::{self, Moved, weigh};
use crate::maths::{Params, StatsRef, Totals, features};
use crate::num::{Dd, Element, Real, Wide};
use crate::tensor::{Place, Shape, Strips, StripsMut};

/// What a backward works on.
#[derive(Debug)]
pub(crate) struct Backward<'a, T: Element> {
    pub(crate) shape: Shape,
    pub(crate) x: Strips<'a, T>,
    /// Absent where dx goes over it.
    pub(crate) dy: Strips<'a, T>,
    /// Of an activation, through which dy comes.
    pub(crate) gate: Option<Gate<'a, T>>,
    /// `None` where it is not wanted: then there is no map.
    pub(crate) dx: Option<Target<'a, T>>,
    /// Empty where it is not wanted, as is `dbias`.
    pub(crate) dweight: &'a mut [T::Compute],
    pub(crate) dbias: &'a mut [T::Compute],
    pub(crate) params: Params<'a, T::Compute>,
    pub(crate) stats: StatsRef<'a, T::Compute>,
    /// Whether the statistics are the batch's, so that dx goes through them.
    pub(crate) from_batch: bool,
    pub(crate) eps: f64,
    /// The values of a feature that the statistics are of.
    pub(crate) count: usize,
    /// Whether both sums are taken though nobody asks for them: a feature whose sums leave the range is hard.
    pub(crate) whole: bool,
    /// The sums, where they are known already.
    pub(crate) given: Option<Given<'a, T::Compute>>,
    /// Where the forward was renormalized.
    pub(crate) moved: Option<Moved<'a, T::Compute>>,
    /// Gets dβ and dγ with all their digits; empty where they are not wanted.
    pub(crate) wide: &'a mut [Totals<T::Compute>],
}

impl<T: Element> Backward<'_, T> {
    /// What of dy has passed the gate, if there is one.
    fn dy(&self) -> Strips<'_, T> {
        match &self.gate {
            Some(gate) if !gate.open => gate.passed.read(),
            _ => self.given_dy(),
        }
    }

    /// dy as it is handed in, wherever it is.
    pub(super) fn given_dy(&self) -> Strips<'_, T> {
        Target::input(&self.dy, self.dx.as_ref())
    }

    fn needs(&self) -> Needs {
        let through_sums = self.whole || self.dx.is_some() && self.from_batch;
        match (through_sums || !self.dweight.is_empty(), self.dbias.is_empty()) {
            (true, _) => Needs::Both,
            (false, false) => Needs::Dy,
            (false, true) => Needs::None,
        }
    }
}

impl<T: Element> Step<T> for Backward<'_, T> {
    type Before<'s>
        = Forward<'s, T>
    where
        Self: 's;

    fn shape(&self) -> Shape {
        self.shape
    }

    fn task(&self) -> Task {
        match (&self.dx, self.given) {
            (None, _) => Task::Sums,
            (_, Some(_)) => Task::Apply,
            _ if self.from_batch => Task::Backward,
            _ => Task::Constants,
        }
    }

    /// Without elements dx has none, and dγ and dβ are 0, or what is given.
    fn empty(self) {
        match self.given {
            Some(given) => {
                let mut totals = given.totals.to_vec();
                features::param_grads(self.from_batch, self.stats, &mut totals);
                given.tell(&mut totals, |_| ());
                features::round(&totals, |total| total.0, self.dbias);
                match self.moved {
                    Some(moved) => {
                        renorm::param_grads(moved, &totals, self.dweight, self.wide);
                        given.weigh(moved, self.dweight);
                    }
                    None => features::round(&totals, |total| total.1, self.dweight),
                }
            }
            None => {
                self.dweight.fill(T::Compute::default());
                self.dbias.fill(T::Compute::default());
            }
        }
    }

    fn features(&self) -> usize {
        self.stats.k.len()
    }

    fn walked(self, plan: &Plan) -> Self {
        let (x, dy) = (plan.walked(self.shape, self.x), plan.walked(self.shape, self.dy));
        let gate = self.gate.map(|gate| gate.walked(plan, self.shape));
        Self { x, dy, gate, dx: self.dx.map(|dx| dx.walked(plan, self.shape)), ..self }
    }

    fn split_at(self, feature: usize, col: usize) -> (Self, Self) {
        let Self { x, dy, gate, dx, dweight, dbias, params, stats, given, moved, wide, .. } = self;
        let (gate, gate1) = split_some(gate, |gate| gate.split_at(feature, col));
        let ((x, x1), (dy, dy1)) = (split_columns(x, col), split_columns(dy, col));
        let (dx, dx1) = split_some(dx, |dx| dx.split_columns(col));
        let (dweight, dweight1) = split_optional(dweight, feature);
        let (dbias, dbias1) = split_optional(dbias, feature);
        let ((params, params1), (stats, stats1)) = (params.split_at(feature), stats.split_at(feature));
        let (given, given1) = split_some(given, |given| given.split_at(feature));
        let (moved, moved1) = split_some(moved, |moved| moved.split_at(feature));
        let (wide, wide1) = split_optional(wide, feature);
        let tail = Self {
            x: x1,
            dy: dy1,
            gate: gate1,
            dx: dx1,
            dweight: dweight1,
            dbias: dbias1,
            params: params1,
            stats: stats1,
            given: given1,
            moved: moved1,
            wide: wide1,
            ..self
        };
        let head = Self { x, dy, gate, dx, dweight, dbias, params, stats, given, moved, wide, ..self };
        (head, tail)
    }

    fn reads(&self) -> [Option<Strips<'_, T>>; 2] {
        match self.needs() {
            _ if self.is_open() => [Some(self.x.reborrow()), Some(self.dy())],
            Needs::Both => [Some(self.x.reborrow()), Some(self.dy())],
            Needs::Dy | Needs::None => [Some(self.dy()), None],
        }
    }

    fn out(&self) -> Option<Place> {
        self.dx.as_ref().map(Target::place)
    }

    fn open(&mut self, kernels: &impl KernelSet, State { gates, hard, .. }: &mut State<T::Compute>) {
        let open = self.opens(kernels, self.features(), (gates, hard));
        self.gate.iter_mut().for_each(|gate| gate.open = open);
    }

    fn opens(
        &self,
        kernels: &impl KernelSet,
        features: usize,
        (gates, hard): Opening<'_, T::Compute>,
    ) -> bool {
        let Some(Gate { by: By::Again(again), .. }) = self.gate.as_ref().filter(|gate| gate.may_open())
        else {
            return false;
        };
        // Σdy alone is no sum of x as well. What is added is a third input, which the kernels have no room for. Renormalized
        // values have coefficients of their own.
        if self.needs() == Needs::Dy || again.post.plus().is_some() || self.moved.is_some() {
            return false;
        }
        let (stats, _) = self.stats.split_at(features);
        let (params, _) = Params { weight: self.params.weight, bias: again.bias }.split_at(features);
        let [k, a, b, ..] = gates.values(features);
        kernels.vectorize(
            #[inline(always)]
            || features::affine(self.from_batch, stats, params, [k, a, b], hard),
        );
        // The values of hard features came about otherwise.
        !hard[..features].contains(&true)
    }

    fn is_open(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.open)
    }

    fn close(&mut self) {
        self.gate.iter_mut().for_each(|gate| gate.open = false);
    }

    fn again(&mut self) -> Option<Self::Before<'_>> {
        let Gate { open: false, by: By::Again(again), .. } = self.gate.as_mut()? else {
            return None;
        };
        let x = (self.shape, self.x.reborrow());
        // Hard features of f64 find their statistics again as they did: those that are kept are rounded. A part cannot.
        let stats = match (self.from_batch, self.given) {
            (true, Some(given)) => Some(Statistics::Pooled(self.stats, given.moments)),
            (true, None) if T::Compute::sums_are_safe() => Some(Statistics::Pooled(self.stats, &[])),
            (true, None) => None,
            (false, _) => Some(Statistics::Given(self.stats)),
        };
        Some(again.forward(x, self.params.weight, stats, (self.eps, self.count), self.moved))
    }

    fn before(&mut self) -> Option<(Map<'_, T>, StripsMut<'_, T>)> {
        let dy = Target::input(&self.dy, self.dx.as_ref());
        self.gate.as_mut().filter(|gate| !gate.open).map(|gate| gate.map(dy))
    }

    fn pilots(&self, kernels: &impl KernelSet, pilots: &mut [T::Compute]) -> bool {
        let (from_batch, stats) = (self.from_batch, self.stats);
        let off_centre = self.needs() == Needs::Both
            && kernels.vectorize(
                #[inline(always)]
                || features::off_centre(from_batch, stats),
            );
        if off_centre {
            features::grad_pilots(from_batch, stats, pilots);
        }
        off_centre
    }

    fn sum<'s>(&'s self, pilot: Option<&'s [T::Compute]>, gates: Doors<'s, T>) -> Option<Sum<'s, T>> {
        if self.given.is_some() {
            return None;
        }
        let (x, dy) = (self.x.reborrow(), self.dy());
        match self.needs() {
            Needs::Both => {
                Some(Sum::Grads { x, dy, pilot, gate: self.gate.as_ref().and_then(|gate| gate.of(gates)) })
            }
            // The first of them is Σdy, to the bit; x need not be read for it.
            Needs::Dy => Some(Sum::Moments { x: dy, pilot: None }),
            Needs::None => None,
        }
    }

    fn sum_beside<'s>(&'s self, features: usize, gates: Doors<'s, T>) -> Option<Sum<'s, T>> {
        let (stats, _) = self.stats.split_at(features.min(self.features()));
        let around_0 = self.from_batch && !features::off_centre(true, stats);
        let Some(gate) = self.gate.as_ref() else {
            return self.sum(None, gates).filter(|_| around_0);
        };
        // What is put aside is not known before its turn.
        let (x, dy, through) = (self.x.reborrow(), self.given_dy(), !gates[0].is_empty());
        let gate = Some(gate.through(gates));
        (around_0 && through).then_some(Sum::Grads { x, dy, pilot: None, gate })
    }

    fn settle(&mut self, _: &impl KernelSet, state: &mut State<T::Compute>, _: bool) -> Settled {
        if let Some(given) = self.given {
            state.totals[..given.totals.len()].copy_from_slice(given.totals);
        }
        Settled::Yes
    }

    fn coefficients(
        &mut self,
        kernels: &impl KernelSet,
        State { totals, coefs, hard, .. }: &mut State<T::Compute>,
    ) {
        let (n, from_batch, stats, params) = (self.count, self.from_batch, self.stats, self.params);
        let totals = &mut totals[..stats.k.len()];
        let [k, a, c, d, m, ..] = coefs.values(stats.k.len());
        let values = [k, a, c, d, m];
        let (needs, given) = (self.needs(), self.given);
        let (dweight, dbias) = (&mut *self.dweight, &mut *self.dbias);
        let (moved, wide) = (self.moved, &mut *self.wide);
        kernels.vectorize(
            #[inline(always)]
            || {
                // What was not summed is nothing that a feature could be hard for.
                let one = <T::Compute as Real>::Wide::from_f64(1.0);
                if needs == Needs::None {
                    totals.fill((one, one));
                } else if needs == Needs::Dy {
                    totals.iter_mut().for_each(|total| total.1 = one);
                }
                let through = from_batch && needs == Needs::Both;
                match moved {
                    Some(moved) => {
                        renorm::gradients((n, through), stats, params, moved, totals, values, hard);
                    }
                    None => {
                        features::gradients(n, [from_batch, through], stats, params, totals, values, hard);
                    }
                }
                if let Some(given) = given {
                    given.tell(totals, |f| hard[f] = true);
                }
                features::round(totals, |total| total.0, dbias);
                if let Some(moved) = moved {
                    renorm::param_grads(moved, totals, dweight, wide);
                    return given.iter().for_each(|given| given.weigh(moved, dweight));
                }
                features::round(totals, |total| total.1, dweight);
                wide.copy_from_slice(&totals[..wide.len()]);
            },
        );
    }

    fn used(&self) -> &'static [usize] {
        if self.from_batch { &[0, 1, 2, 3, 4] } else { &[1] }
    }

    fn map<'s>(
        &'s mut self,
        [k, a, c, d, m, ..]: [&'s [T::Compute]; COEFS],
        gates: Doors<'s, T>,
    ) -> Option<(Map<'s, T>, Target<'s, T>)> {
        let x = self.x.reborrow();
        let gate = self.gate.as_ref().and_then(|gate| gate.of(gates));
        let dy = match &self.gate {
            Some(gate) if !gate.open => gate.passed.read(),
            _ => self.dy.reborrow(),
        };
        let map = match self.from_batch {
            true => Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate },
            // Without a gate x does not enter, be it NaN.
            false => Map::Scale { dy, a, gate: gate.map(|gate| (x, gate)) },
        };
        Some((map, self.dx.as_mut()?.reborrow()))
    }

    fn target(&mut self) -> Option<Target<'_, T>> {
        self.dx.as_mut().map(Target::reborrow)
    }

    fn hard(
        &mut self,
        hard: Hard<'_, impl KernelSet>,
        totals: &[Totals<T::Compute>],
        mut beside: Option<StripsMut<'_, T>>,
    ) {
        let needs = self.needs();
        let (moved, through) = (self.moved, self.from_batch && needs == Needs::Both);
        let Self { x, dy, gate, dx, dweight, dbias, params, stats, eps, count, given, wide, .. } = self;
        let (dy, dx) = Target::ends(dy, dx.as_mut(), &mut beside);
        let dy = gate.as_ref().map_or(dy, |gate| gate.passed.read());
        let tensors = Tensors { x: x.reborrow(), dy, dx };
        let put = &mut |f: usize, [own_dbias, along]: [Option<(Dd, i32)>; 2]| {
            let sum = own_dbias.unwrap_or((double(totals[f].0), 0));
            let own_dweight = along.map(|own| moved.map_or(own, |moved| weigh(moved.get(f), own, sum)));
            let owns = [own_dbias, own_dweight].map(|own| own.map(|(v, e)| v.ldexp(e)));
            for (to, own) in [(&mut *dbias, owns[0]), (&mut *dweight, owns[1])] {
                if let (Some(to), Some(own)) = (to.get_mut(f), own) {
                    *to = T::Compute::from_f64(own.to_f64());
                }
            }
            if let Some(to) = wide.get_mut(f) {
                *to = (owns[0].map_or(to.0, narrowed), owns[1].map_or(to.1, narrowed));
            }
        };
        if through {
            let batch = (*count, *eps);
            hard.backward(tensors, (*params, moved), batch, *stats, (totals, *given), put);
        } else {
            // The sums of f32 are right whatever the data, and sums from elsewhere are what they are.
            let known = T::Compute::sums_are_safe() || given.is_some();
            hard.constants(tensors, *params, *stats, if known { Needs::None } else { needs }, put);
        }
    }
}
