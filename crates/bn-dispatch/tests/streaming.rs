//! Streamed maps write what ordinary ones write, and nothing else: any alignment, ragged strips, gaps between
//! them, every level that this machine has.

use bn_core::kernel::{Affine, GradAffine, Hints, Map, Out, Post, Tile, Walk};
use bn_core::tensor::{Strips, StripsMut};
use bn_core::{BatchNorm, Config, Element, Grads, KernelSet, Kernels, Real, Saved, Shape, Workspace};
use bn_dispatch::{Dispatch, Level};

/// What untouched elements hold.
const GUARD: f64 = -77.0;

/// A tile within strips that are longer than it, `offset` elements into a buffer.
struct Layout {
    tile: Tile,
    rows: usize,
    len: usize,
    gap: usize,
    offset: usize,
}

impl Layout {
    /// The output of a map into this layout, with everything around it.
    fn mapped<T: Element>(&self, map: impl Fn(StripsMut<'_, T>)) -> Vec<T> {
        let stride = self.len + self.gap;
        let mut buf = vec![element::<T>(GUARD); self.offset + self.rows * stride];
        let mut strips = StripsMut::from_output((&mut buf[self.offset..]).into(), self.rows, stride).unwrap();
        map(strips.columns(0..self.len));
        buf
    }
}

fn layouts() -> Vec<Layout> {
    let mut layouts = Vec::new();
    for offset in [0, 1, 5, 15, 31] {
        for (features, inner) in [(1, 1300), (3, 257), (2, 512), (1, 5)] {
            let tile = Tile { features, walk: Walk::Runs { inner } };
            for gap in [0, 7] {
                layouts.push(Layout { tile, rows: 3, len: features * inner, gap, offset });
            }
        }
        for len in [1, 3, 15, 16, 17, 100, 511, 512, 513, 1024, 1500] {
            let tile = Tile { features: len, walk: Walk::Columns };
            layouts.push(Layout { tile, rows: 4, len, gap: offset, offset });
        }
    }
    layouts
}

fn element<T: Element>(v: f64) -> T {
    T::from_compute(T::Compute::from_f64(v))
}

fn streams_what_it_writes<T: Element>(kernels: &dyn Kernels<T>, name: &str) {
    for layout in layouts() {
        let value = |i: usize, m: usize| (i * m % 101) as f64 / 7.0 - 5.0;
        let filled =
            |m: usize| (0..layout.rows * layout.len).map(|i| element::<T>(value(i, m))).collect::<Vec<T>>();
        let (x, dy) = (filled(37), filled(53));
        let strips = |v| Strips::from_slice(v, layout.rows, layout.len).unwrap();
        let coef = |m: usize| move |i: usize| T::Compute::from_f64(value(i, 11 * m));
        let coefs: Vec<Vec<T::Compute>> = (1..6).map(|m| (0..layout.len).map(coef(m)).collect()).collect();
        let [k, a, c, d, m] = [0, 1, 2, 3, 4].map(|i| &coefs[i][..]);
        let both = |map: Map<'_, T>| {
            let mapped = |hints| layout.mapped(|y| kernels.map(layout.tile, &map, Out::Fresh(y), hints));
            let next = [Some(strips(&x)), Some(strips(&dy))];
            let hints = Hints { stream: true, next, behind: true, sparse: layout.len % 2 == 1 };
            let (plain, streamed) = (mapped(Hints::default()), mapped(hints));
            assert!(plain == streamed, "{name} {:?} at {}", layout.tile, layout.offset);
            let touched = streamed.iter().filter(|v| v.to_compute().to_f64() != GUARD).count();
            assert!(touched <= layout.rows * layout.len, "{name} {:?}: wrote elsewhere", layout.tile);
        };
        let (x, dy) = (strips(&x), strips(&dy));
        both(Map::Normalize { x, affine: Affine { k, a, b: d }, post: Post::Pass });
        both(Map::GradInput { x, dy, affine: GradAffine { k, a, c, d, m }, gate: None });
        both(Map::Scale { dy, a, gate: None });
    }
}

#[test]
fn streamed_maps_write_what_ordinary_ones_do() {
    for level in Level::ALL {
        let Some(dispatch) = Dispatch::at(level) else {
            println!("skipped {level}: not on this machine");
            continue;
        };
        streams_what_it_writes::<f32>(dispatch.f32(), level.name());
        streams_what_it_writes::<f64>(dispatch.f64(), level.name());
        streams_what_it_writes(dispatch.f16().unwrap(), level.name());
        streams_what_it_writes(dispatch.bf16().unwrap(), level.name());
    }
}

/// A step over a tensor that is large enough to be streamed: the bits of every level are those of the first.
fn streams_the_bits_of_every_level<T: Element>() {
    for shape in [
        Shape::nchw(5, 9, 230, 211),
        Shape::nchw(40, 1100, 7, 7),
        Shape::nc(2300, 1000),
        // Blocks that are summed while others are mapped: of sixteen features and an end, and of one, beyond L2.
        Shape::nchw(3, 70, 91, 69),
        Shape::nchw(2, 33, 211, 317),
    ] {
        let shape = shape.unwrap();
        // Some features lie far from zero, so that their sums are taken again.
        let far = |i: usize| if (i / shape.inner() % shape.features()) % 23 == 20 { 1e4 } else { 0.0 };
        let value = |i: usize| T::Compute::from_f64((i * 7919 % 10_007) as f64 * 0.01 - 40.0 + far(i));
        let x: Vec<T> = (0..shape.len()).map(|i| T::from_compute(value(i))).collect();
        let step = |dispatch: Dispatch| {
            let mut bn =
                BatchNorm::<T, _>::with_backend(shape.features(), Config::default(), dispatch).unwrap();
            let (mut saved, mut workspace) = (Saved::default(), Workspace::default());
            let (mut y, mut dx) = (vec![T::default(); x.len()], vec![T::default(); x.len()]);
            let mut grads = [(); 2].map(|()| vec![T::Compute::default(); shape.features()]);
            bn.forward_into(shape, &x, &mut y, &mut saved, &mut workspace).unwrap();
            let [dweight, dbias] = &mut grads;
            let to = Grads { dx: &mut dx, dweight, dbias };
            bn.backward_into(&saved, &x, &y, to, &mut workspace).unwrap();
            let bits = |v: T::Compute| v.to_f64().to_bits();
            let tensors = [y, dx].map(|v| v.into_iter().map(|v| bits(v.to_compute())).collect::<Vec<u64>>());
            (tensors, grads.map(|v| v.into_iter().map(bits).collect::<Vec<u64>>()))
        };
        let want = step(Dispatch::at(Level::Baseline).unwrap());
        for dispatch in Level::ALL.into_iter().filter_map(Dispatch::at) {
            assert!(step(dispatch) == want, "{} {shape} at {}", T::NAME, dispatch.level());
        }
    }
}

#[test]
fn a_streamed_step_has_the_bits_of_every_level() {
    streams_the_bits_of_every_level::<f32>();
    streams_the_bits_of_every_level::<f64>();
    streams_the_bits_of_every_level::<half::f16>();
    streams_the_bits_of_every_level::<half::bf16>();
}
