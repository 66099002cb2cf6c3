//! Virtual lanes of a sum in registers: eight to a vector, and single ones for the elements behind the last whole vector.

use crate::vector::{Item, Register, Simd};
use bn_core::kernel::{Acc, Affine, Clamp, Gate, Plane};
use bn_core::walk::{Sums, compensated};
use wide::f64x8;

/// Eight lanes.
pub(crate) type Eight = Simd<f64x8>;

/// Vectors of eight lanes that are summed at a time: the build's target has registers for both sums of so many, and for what is
/// added to them.
pub(crate) const VECTORS: usize = if cfg!(target_feature = "avx512f") {
    4
} else if cfg!(target_feature = "avx") {
    2
} else {
    1
};

/// The lanes from `start` on.
#[inline(always)]
pub(crate) fn load<T: Item, V: Register>(acc: &Acc<'_>, start: usize) -> Sums<V> {
    Sums::load::<T>(acc, V::load, start)
}

/// Puts them back.
#[inline(always)]
pub(crate) fn store<T: Item, V: Register>(sums: &Sums<V>, acc: &mut Acc<'_>, start: usize) {
    let put = |plane: &mut Plane<'_>, (hi, lo): (V, V)| {
        hi.store(&mut plane.hi[start..]);
        if compensated::<T>() {
            lo.store(&mut plane.lo[start..]);
        }
    };
    put(&mut acc.first, sums.first);
    put(&mut acc.second, sums.second);
}

/// G vectors of lanes, one behind the other.
#[inline(always)]
pub(crate) fn load_all<T: Item, V: Register, const G: usize>(acc: &Acc<'_>, start: usize) -> [Sums<V>; G] {
    let zero = (V::from(0.0), V::from(0.0));
    // Not `from_fn`, which is not inlined everywhere.
    let mut all = [Sums { first: zero, second: zero }; G];
    for g in 0..G {
        all[g] = load::<T, V>(acc, start + 8 * g);
    }
    all
}

/// Puts those of [`load_all`] back.
#[inline(always)]
pub(crate) fn store_all<T: Item, V: Register, const G: usize>(
    all: &[Sums<V>; G],
    acc: &mut Acc<'_>,
    start: usize,
) {
    for (g, sums) in all.iter().enumerate() {
        store::<T, V>(sums, acc, start + 8 * g);
    }
}

/// A gate that elements pass before they are summed; one for all, or each its own. Without GATED it is open.
#[derive(Clone, Copy)]
pub(crate) struct Gated<C, T, const GATED: bool>(Option<([C; 3], Clamp<T>)>);

/// A feature's gate.
pub(crate) type Door<T, const GATED: bool> = Gated<T, T, GATED>;
/// The gates of the features that elements are of.
pub(crate) type Doors<'a, T, const GATED: bool> = Gated<&'a [T], T, GATED>;

impl<T: Item, const GATED: bool> Door<T, GATED> {
    /// That of feature `f`.
    #[inline(always)]
    pub(crate) fn of(gate: Option<Gate<'_, T>>, f: usize) -> Self {
        let of = |Gate { affine: Affine { k, a, b }, clamp }: Gate<'_, T>| ([k[f], a[f], b[f]], clamp);
        Self(if GATED { gate.map(of) } else { None })
    }
}

impl<'a, T: Item, const GATED: bool> Doors<'a, T, GATED> {
    /// Those from feature `f` on.
    #[inline(always)]
    pub(crate) fn of(gate: Option<Gate<'a, T>>, f: usize) -> Self {
        let of =
            |Gate { affine: Affine { k, a, b }, clamp }: Gate<'a, T>| ([&k[f..], &a[f..], &b[f..]], clamp);
        Self(if GATED { gate.map(of) } else { None })
    }
}

/// A coefficient of element `i`.
pub(crate) trait Of<T>: Copy {
    fn at(self, i: usize) -> T;
}

impl<T: Item> Of<T> for T {
    #[inline(always)]
    fn at(self, _: usize) -> T {
        self
    }
}

impl<T: Item> Of<T> for &[T] {
    #[inline(always)]
    fn at(self, i: usize) -> T {
        self[i]
    }
}

/// The dy of a register that passes, widened.
#[inline(always)]
fn passed<T: Item, C: Of<T>, V: Register, const GATED: bool>(
    x: &[T],
    dy: &[T],
    Gated(gate): Gated<C, T, GATED>,
) -> V {
    let Some(([k, a, b], clamp)) = gate.filter(|_| GATED) else {
        return V::widen(dy);
    };
    let mut through = [T::default(); 8];
    for i in 0..V::PLACES {
        through[i] = clamp.gate((x[i] - k.at(i)) * a.at(i) + b.at(i), dy[i]);
    }
    V::widen(&through)
}

/// What elements at `at` of N inputs add to their lanes: of one input, x, its moments; of two, x and dy, the sums of the
/// backward. With FUSED a product and its sum may be one operation; of a number by itself that would be a call of a library,
/// where the machine has none.
#[inline(always)]
pub(crate) fn add<T: Item, V: Register, const FUSED: bool, const N: usize, const GATED: bool>(
    sums: &mut Sums<V>,
    inputs: [&[T]; N],
    at: usize,
    gate: Gated<impl Of<T>, T, GATED>,
) {
    let (x, dy) = (&inputs[0][at..], &inputs[N - 1][at..]);
    if N == 1 {
        sums.add_moments::<T, FUSED>(V::widen(x));
    } else {
        sums.add_grads::<T, FUSED>(V::widen(x), passed(x, dy, gate));
    }
}

/// The same around k.
#[inline(always)]
pub(crate) fn add_about<T: Item, V: Register, const N: usize, const GATED: bool>(
    sums: &mut Sums<V>,
    inputs: [&[T]; N],
    at: usize,
    k: V,
    gate: Gated<impl Of<T>, T, GATED>,
) {
    let (x, dy) = (&inputs[0][at..], &inputs[N - 1][at..]);
    if N == 1 {
        sums.add_moments_about::<T>(V::widen(x), k);
    } else {
        sums.add_grads_about::<T>(V::widen(x), passed(x, dy, gate), k);
    }
}
