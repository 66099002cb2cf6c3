//! The floor's loops: elementwise, streamed past the caches, compiled for the best instruction set at hand.
//!
//! 1. Stores of the widest kind, whole cache lines of the destination at a time; its ragged ends are ordinary ones.
//! 2. The arithmetic is written once, as a closure over two elements. Sixteen results stand in an array that the
//!    compiler keeps in registers.
//! 3. Streaming stores are weakly ordered, hence the fence at the end.

#![allow(unsafe_code, reason = "streaming stores are intrinsics on raw pointers")]

use std::ops::{Add, Mul};

/// `to` = `from`, streamed.
pub(crate) fn copy<T: Copy + Default>(to: &mut [T], from: &[T]) {
    run(true, to, [from, from], |a, _| a);
}

/// `to` = a + `factor`·b, streamed.
pub(crate) fn triad<T: Element>(to: &mut [T], from: [&[T]; 2], factor: T) {
    run(true, to, from, |a, b| a + factor * b);
}

/// [`triad`] with ordinary stores.
pub(crate) fn triad_plain<T: Element>(to: &mut [T], from: [&[T]; 2], factor: T) {
    run(false, to, from, |a, b| a + factor * b);
}

/// What a triad needs.
pub(crate) trait Element: Copy + Default + Add<Output = Self> + Mul<Output = Self> {}

impl<T: Copy + Default + Add<Output = T> + Mul<Output = T>> Element for T {}

#[cfg(target_arch = "x86_64")]
fn run<T: Copy + Default>(streamed: bool, to: &mut [T], from: [&[T]; 2], f: impl Fn(T, T) -> T) {
    assert!(from.iter().all(|from| from.len() == to.len()));
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the machine has the instruction set.
        unsafe { run_avx512(streamed, to, from, f) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: likewise.
        unsafe { run_avx2(streamed, to, from, f) }
    } else {
        run_at::<T, 16>(streamed, to, from, f);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn run<T: Copy + Default>(_: bool, to: &mut [T], from: [&[T]; 2], f: impl Fn(T, T) -> T) {
    plain(to, from, f);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512<T: Copy + Default>(streamed: bool, to: &mut [T], from: [&[T]; 2], f: impl Fn(T, T) -> T) {
    run_at::<T, 64>(streamed, to, from, f);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<T: Copy + Default>(streamed: bool, to: &mut [T], from: [&[T]; 2], f: impl Fn(T, T) -> T) {
    run_at::<T, 32>(streamed, to, from, f);
}

#[inline(always)]
fn plain<T: Copy>(to: &mut [T], [a, b]: [&[T]; 2], f: impl Fn(T, T) -> T) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = f(*a, *b);
    }
}

/// Elements whose results are computed together: a cache line of f32, two of f64.
#[cfg(target_arch = "x86_64")]
const GROUP: usize = 16;

/// Stores of `STORE` bytes: more than 16 needs the caller to be compiled for AVX2 (32) or AVX-512 (64).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn run_at<T: Copy + Default, const STORE: usize>(
    streamed: bool,
    to: &mut [T],
    [a, b]: [&[T]; 2],
    f: impl Fn(T, T) -> T,
) {
    if !streamed {
        return plain(to, [a, b], f);
    }
    let head = to.as_ptr().align_offset(64).min(to.len());
    let tail = head + (to.len() - head) / GROUP * GROUP;
    plain(&mut to[..head], [&a[..head], &b[..head]], &f);
    plain(&mut to[tail..], [&a[tail..], &b[tail..]], &f);
    let groups = to[head..tail].as_chunks_mut::<GROUP>().0;
    let from = a[head..tail].as_chunks::<GROUP>().0.iter().zip(b[head..tail].as_chunks::<GROUP>().0);
    for (to, (a, b)) in groups.iter_mut().zip(from) {
        let mut results = [T::default(); GROUP];
        for i in 0..GROUP {
            results[i] = f(a[i], b[i]);
        }
        store::<T, STORE>(to, &results);
    }
    // SAFETY: every x86-64 has SSE, and a fence touches no memory.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

/// Streams a group to where a cache line begins.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn store<T: Copy, const STORE: usize>(to: &mut [T; GROUP], from: &[T; GROUP]) {
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_stream_si128, _mm256_loadu_si256,
        _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
    };
    const { assert!(size_of::<[T; GROUP]>().is_multiple_of(64)) };
    let (to, from) = (to.as_mut_ptr().cast::<u8>(), from.as_ptr().cast::<u8>());
    debug_assert!(to.addr().is_multiple_of(64));
    for at in (0..size_of::<[T; GROUP]>()).step_by(STORE) {
        // SAFETY: both are as long as a group, a multiple of 64 and so of STORE, hence at + STORE stays within them;
        // the caller's groups begin at cache lines, so to + at is aligned to STORE. T is Copy: its bytes may be
        // moved. The instruction sets of the wider stores are those of the callers that ask for them.
        unsafe {
            let (to, from) = (to.add(at), from.add(at));
            match STORE {
                64 => _mm512_stream_si512(to.cast::<__m512i>(), _mm512_loadu_si512(from.cast::<__m512i>())),
                32 => _mm256_stream_si256(to.cast::<__m256i>(), _mm256_loadu_si256(from.cast::<__m256i>())),
                _ => _mm_stream_si128(to.cast::<__m128i>(), _mm_loadu_si128(from.cast::<__m128i>())),
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64", unix))]
#[path = "../../crates/bn-core/src/walk/fill/tests/guarded.rs"]
mod guarded;

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests {
    use super::guarded::Guarded;
    use super::*;
    use std::fmt::Debug;

    /// A way to run: what it is called, whether the machine has it.
    type Way<T> = (&'static str, bool, fn(bool, &mut [T], [&[T]; 2], T));

    fn ways<T: Element>() -> [Way<T>; 3] {
        [
            ("sse2", true, |streamed, to, from, k| run_at::<T, 16>(streamed, to, from, |a, b| a + k * b)),
            ("avx2", is_x86_feature_detected!("avx2"), |streamed, to, from, k| {
                // SAFETY: only ways that the machine has are taken.
                unsafe { run_avx2(streamed, to, from, |a, b| a + k * b) }
            }),
            ("avx512f", is_x86_feature_detected!("avx512f"), |streamed, to, from, k| {
                // SAFETY: likewise.
                unsafe { run_avx512(streamed, to, from, |a, b| a + k * b) }
            }),
        ]
    }

    fn stays_within<T: Element + PartialEq + Debug + From<u8>>() {
        let mut pages = [Guarded::new(), Guarded::new(), Guarded::new()];
        let [_, a, b] = pages.each_mut().map(Guarded::whole::<T>);
        for (i, (a, b)) in a.iter_mut().zip(b).enumerate() {
            (*a, *b) = (T::from((i % 97) as u8), T::from((i % 51) as u8));
        }
        let (a, b) = (pages[1].whole::<T>().to_vec(), pages[2].whole::<T>().to_vec());
        for (name, there, way) in ways::<T>() {
            if !there {
                println!("skipped {name}: not on this machine");
                continue;
            }
            for len in (0..70).chain([127, 128, 129, 300]) {
                for offset in 0..=33 {
                    for streamed in [true, false] {
                        let to = pages[0].whole::<T>();
                        // From the start of the page, and up to its end.
                        for start in [offset, to.len() - len - offset] {
                            to.fill(T::from(255));
                            let from = [&a[offset..offset + len], &b[2 * offset..2 * offset + len]];
                            way(streamed, &mut to[start..start + len], from, T::from(2));
                            let place = format!("{name} streamed {streamed} len {len} start {start}");
                            for (i, got) in to[start..start + len].iter().enumerate() {
                                let want = a[offset + i] + T::from(2) * b[2 * offset + i];
                                assert_eq!(*got, want, "{place} element {i}");
                            }
                            let mut others = to[..start].iter().chain(&to[start + len..]);
                            assert!(others.all(|v| *v == T::from(255)), "{place}: wrote elsewhere");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn streamed_floors_stay_within_their_pages() {
        stays_within::<f32>();
        stays_within::<f64>();
    }
}
