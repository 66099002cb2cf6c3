//! Tests of the conversions: every value of 16 bits, and every place where rounding changes its mind.

use crate::shifts::Shifts;
use bn_core::Element;
use bn_core::mem::Bare;
use bn_core::walk::{Chunk, Convert, Plain, Vector};
use half::{bf16, f16};
use std::fmt::Debug;

const L: usize = 32;

/// A half type by its bits.
trait Half: Element<Compute = f32> + Bare + Debug {
    fn of(bits: u16) -> Self;
    fn bits(self) -> u16;
}
impl Half for f16 {
    fn of(bits: u16) -> Self {
        Self::from_bits(bits)
    }
    fn bits(self) -> u16 {
        self.to_bits()
    }
}
impl Half for bf16 {
    fn of(bits: u16) -> Self {
        Self::from_bits(bits)
    }
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

/// All lines of 32 neighbours, and ones of values that lie far apart; a rare one may be among common ones or not.
fn lines<T: Half>() -> impl Iterator<Item = [T; L]> {
    (0..=u16::MAX).step_by(L).flat_map(|start| {
        [1, 2017, 30_000].map(|step: u16| {
            std::array::from_fn(|i| T::of(start.wrapping_add((i as u16).wrapping_mul(step))))
        })
    })
}

fn same(got: f32, want: f32) -> bool {
    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan())
}

fn widens_as<T: Half, C: Convert<T>, const W: usize>(by: C, line: &[T; L]) {
    for chunk in line.as_chunks::<W>().0 {
        let wide = *by.widened(chunk, &mut [0.0; W]);
        for (got, v) in wide.into_iter().zip(chunk) {
            assert!(same(got, v.to_compute()), "{W} at a time: {got:e} of {v:?}, {:#x}", v.bits());
        }
    }
}

fn widens<T: Half, C: Convert<T>>(by: C) {
    for line in lines::<T>() {
        widens_as::<T, C, 1>(by, &line);
        widens_as::<T, C, 4>(by, &line);
        widens_as::<T, C, 8>(by, &line);
        widens_as::<T, C, 16>(by, &line);
        widens_as::<T, C, 32>(by, &line);
        let wide = by.load::<Chunk<f32, L>, L>(&line).line::<L>();
        for (got, v) in wide.into_iter().zip(line) {
            assert!(same(got, v.to_compute()), "{got:e} of {v:?}, {:#x}", v.bits());
        }
    }
}

fn rounds_to<T: Half>(got: T, v: f32) {
    let want = T::from_compute(v);
    let nan = v.is_nan() && got.to_compute().is_nan();
    assert!(nan || got.bits() == want.bits(), "{got:?} of {v:e}, {:#x}: expected {want:?}", v.to_bits());
}

fn narrows<T: Half, C: Convert<T>>(by: C) {
    for line in lines::<T>() {
        // Around every value and every middle of two; what a map computes is no NaN but a quiet one.
        for step in [0u32, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0x18000] {
            let values = line.map(|v| {
                let wide = v.to_compute();
                let moved = f32::from_bits(wide.to_bits().wrapping_add(step));
                if moved.is_nan() { moved + 1.0 } else { moved }
            });
            let narrow = by.line::<Chunk<f32, L>, L>(Chunk::load(&values));
            for (got, v) in narrow.into_iter().zip(values) {
                rounds_to(got, v);
            }
        }
    }
}

fn mixes<T: Half, C: Convert<T>>(by: C) {
    for line in lines::<T>() {
        let nan = f32::from_bits(u32::MAX);
        for (a, b) in
            [(1.0, 0.0), (1.001, 0.0), (-0.37, 3.0), (3e-5, -1e-7), (1e4, 0.0), (0.0, 1e-40), (1.0, nan)]
        {
            let [c, d] = [a, b].map(|coef| Chunk::splat(by.coef(coef)));
            let v = by.load_mixed::<Chunk<f32, L>, L>(&line) * c + d;
            for (got, v) in by.line_mixed::<_, L>(v).into_iter().zip(line) {
                rounds_to(got, v.to_compute() * a + b);
            }
        }
    }
}

fn converts<T: Half, C: Convert<T>>(by: C) {
    widens(by);
    narrows(by);
    mixes(by);
}

#[test]
fn loops_convert_every_value() {
    converts::<f16, _>(Plain);
    converts::<bf16, _>(Plain);
}

#[test]
fn shifts_convert_every_value() {
    converts::<bf16, _>(Shifts::<false>);
    converts::<bf16, _>(Shifts::<true>);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn sse2_converts_every_value() {
    converts::<f16, _>(crate::sse2::Sse2);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn f16c_converts_every_value() {
    match crate::f16c::F16c::<32>::find() {
        Some(by) => converts::<f16, _>(by),
        None => println!("skipped: this machine has no F16C"),
    }
    match crate::f16c::F16c::<64>::find() {
        Some(by) => converts::<f16, _>(by),
        None => println!("skipped: this machine has no AVX-512"),
    }
}
