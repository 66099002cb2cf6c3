//! The floor's loops: elementwise, streamed past the caches, compiled for the best instruction set at hand.
//!
//! 1. Stores of the widest kind, whole cache lines of the destination at a time; its ragged ends are ordinary ones.
//! 2. Tensors are words of 16 bits, whatever their type. Arithmetic of bits takes the same time on any data, and half
//!    types need no conversion for it.
//! 3. The arithmetic is written once, as a closure over two words. The results of a cache line stand in an array that
//!    the compiler keeps in registers.
//! 4. Streaming stores are weakly ordered, hence the fence at the end.

#![allow(unsafe_code, reason = "streaming stores are intrinsics on raw pointers")]

use bn_core::Element;
use half::{bf16, f16};
use std::any::TypeId;

/// A tensor's words.
///
/// # Panics
/// Where `T` is not f32, f64, f16 or bf16.
#[must_use]
pub fn words<T: Element>(tensor: &[T]) -> &[u16] {
    assert_plain::<T>();
    let len = size_of_val(tensor) / size_of::<u16>();
    // SAFETY: the same bytes for as long. T is a float: it has no padding, and is aligned as a u16 at least.
    unsafe { std::slice::from_raw_parts(tensor.as_ptr().cast(), len) }
}

/// [`words`] to be written.
///
/// # Panics
/// As [`words`].
pub fn words_mut<T: Element>(tensor: &mut [T]) -> &mut [u16] {
    assert_plain::<T>();
    let len = size_of_val(tensor) / size_of::<u16>();
    // SAFETY: as in `words`; the borrow is handed on, and any bits are a float.
    unsafe { std::slice::from_raw_parts_mut(tensor.as_mut_ptr().cast(), len) }
}

/// Elements could have padding, or bits that are no value.
fn assert_plain<T: Element>() {
    let floats = [TypeId::of::<f32>(), TypeId::of::<f64>(), TypeId::of::<f16>(), TypeId::of::<bf16>()];
    assert!(floats.contains(&TypeId::of::<T>()), "expected a float of this workspace, got {}", T::NAME);
}

/// `to` = `from`, streamed.
pub fn copy(to: &mut [u16], from: &[u16]) {
    run(true, to, [from, from], |a, _| a);
}

/// `to` = a ^ b, streamed: a triad's traffic.
pub fn triad(to: &mut [u16], from: [&[u16]; 2]) {
    run(true, to, from, |a, b| a ^ b);
}

/// [`triad`] with ordinary stores.
pub fn triad_plain(to: &mut [u16], from: [&[u16]; 2]) {
    run(false, to, from, |a, b| a ^ b);
}

#[cfg(target_arch = "x86_64")]
fn run(streamed: bool, to: &mut [u16], from: [&[u16]; 2], f: impl Fn(u16, u16) -> u16) {
    assert!(from.iter().all(|from| from.len() == to.len()));
    if has_avx512() {
        // SAFETY: the machine has the instruction sets.
        unsafe { run_avx512(streamed, to, from, f) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: likewise.
        unsafe { run_avx2(streamed, to, from, f) }
    } else {
        run_at::<16>(streamed, to, from, f);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn run(_: bool, to: &mut [u16], from: [&[u16]; 2], f: impl Fn(u16, u16) -> u16) {
    plain(to, from, f);
}

/// With the instructions for words of 16 bits.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn run_avx512(streamed: bool, to: &mut [u16], from: [&[u16]; 2], f: impl Fn(u16, u16) -> u16) {
    run_at::<64>(streamed, to, from, f);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(streamed: bool, to: &mut [u16], from: [&[u16]; 2], f: impl Fn(u16, u16) -> u16) {
    run_at::<32>(streamed, to, from, f);
}

#[inline(always)]
fn plain(to: &mut [u16], [a, b]: [&[u16]; 2], f: impl Fn(u16, u16) -> u16) {
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = f(*a, *b);
    }
}

/// Words whose results are computed together: a cache line of them.
pub const GROUP: usize = 32;

/// Stores of `STORE` bytes: more than 16 needs the caller to be compiled for AVX2 (32) or AVX-512 (64).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn run_at<const STORE: usize>(
    streamed: bool,
    to: &mut [u16],
    [a, b]: [&[u16]; 2],
    f: impl Fn(u16, u16) -> u16,
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
        let mut results = [0; GROUP];
        for i in 0..GROUP {
            results[i] = f(a[i], b[i]);
        }
        store::<STORE>(to, &results);
    }
    // SAFETY: every x86-64 has SSE, and a fence touches no memory.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

/// Streams a group to where a cache line begins.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn store<const STORE: usize>(to: &mut [u16; GROUP], from: &[u16; GROUP]) {
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_stream_si128, _mm256_loadu_si256,
        _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
    };
    const { assert!(size_of::<[u16; GROUP]>().is_multiple_of(64)) };
    let (to, from) = (to.as_mut_ptr().cast::<u8>(), from.as_ptr().cast::<u8>());
    debug_assert!(to.addr().is_multiple_of(64));
    for at in (0..size_of::<[u16; GROUP]>()).step_by(STORE) {
        // SAFETY: both are as long as a group, a multiple of 64 and so of STORE, hence at + STORE stays within them;
        // the caller's groups begin at cache lines, so to + at is aligned to STORE. The instruction sets of the wider
        // stores are those of the callers that ask for them.
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
#[path = "../../../crates/bn-core/src/walk/fill/tests/guarded.rs"]
mod guarded;

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests {
    use super::guarded::Guarded;
    use super::*;

    /// A way to run: what it is called, whether the machine has it.
    type Way = (&'static str, bool, fn(bool, &mut [u16], [&[u16]; 2]));

    fn ways() -> [Way; 3] {
        [
            ("sse2", true, |streamed, to, from| run_at::<16>(streamed, to, from, |a, b| a ^ b)),
            ("avx2", is_x86_feature_detected!("avx2"), |streamed, to, from| {
                // SAFETY: only ways that the machine has are taken.
                unsafe { run_avx2(streamed, to, from, |a, b| a ^ b) }
            }),
            ("avx512bw", has_avx512(), |streamed, to, from| {
                // SAFETY: likewise.
                unsafe { run_avx512(streamed, to, from, |a, b| a ^ b) }
            }),
        ]
    }

    #[test]
    fn streamed_floors_stay_within_their_pages() {
        let mut pages = [Guarded::new(), Guarded::new(), Guarded::new()];
        let [_, a, b] = pages.each_mut().map(Guarded::whole::<u16>);
        for (i, (a, b)) in (0..).zip(a.iter_mut().zip(b)) {
            (*a, *b) = (i % 97, (i % 51) << 8);
        }
        let (a, b) = (pages[1].whole::<u16>().to_vec(), pages[2].whole::<u16>().to_vec());
        for (name, there, way) in ways() {
            if !there {
                println!("skipped {name}: not on this machine");
                continue;
            }
            for len in (0..70).chain([127, 128, 129, 300]) {
                for offset in 0..=33 {
                    for streamed in [true, false] {
                        let to = pages[0].whole::<u16>();
                        // From the start of the page, and up to its end.
                        for start in [offset, to.len() - len - offset] {
                            to.fill(u16::MAX);
                            let from = [&a[offset..offset + len], &b[2 * offset..2 * offset + len]];
                            way(streamed, &mut to[start..start + len], from);
                            let place = format!("{name} streamed {streamed} len {len} start {start}");
                            for (i, got) in to[start..start + len].iter().enumerate() {
                                assert_eq!(*got, a[offset + i] ^ b[2 * offset + i], "{place} word {i}");
                            }
                            let mut others = to[..start].iter().chain(&to[start + len..]);
                            assert!(others.all(|v| *v == u16::MAX), "{place}: wrote elsewhere");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_tensor_is_its_words() {
        let mut x = [1.5f32, f32::NAN];
        assert_eq!(words(&x)[..2], [0, 0x3fc0]);
        words_mut(&mut x)[3] = 0x4000;
        assert_eq!((words(&x).len(), x[1].to_bits() >> 16), (4, 0x4000));
        assert_eq!((words(&[f16::ONE; 3]), words(&[1.0f64]).len()), (&[0x3c00; 3][..], 4));
    }
}
