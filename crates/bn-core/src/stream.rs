//! Stores past the caches, and prefetch: the memory instructions that safe Rust does not have, for the maps of
//! every kernel crate.
//!
//! 1. A streaming store writes a whole cache line without reading it first: the output of a large tensor costs
//!    one transfer instead of two, and does not drive the next block out of L2.
//! 2. Only whole, aligned lines stream well; the ragged ends of a range are ordinary stores.
//! 3. Streaming stores are weakly ordered: a fence must come before anything looks at what they wrote. [`Stores`] makes one
//!    when it is dropped, so a kernel has it for the length of a call.
//! 4. Elsewhere than on x86-64 they are ordinary stores.

#![allow(unsafe_code, reason = "streaming stores and prefetch are intrinsics on raw pointers")]

/// Outputs of more bytes than this are streamed: below, the next layer finds them in cache. Measured, see
/// docs/architecture.md.
pub const ABOVE: usize = 1 << 20;
/// The same of rows of values side by side, but under AVX-512. Measured.
pub const ROWS_ABOVE: usize = 2 << 20;

/// What a sum along runs fetches meanwhile is so many elements away. Measured.
pub const AHEAD: usize = 1024;

/// What L2 is taken to hold. Only the speed depends on it.
pub const L2_BYTES: usize = 2 << 20;

/// Ranges of fewer elements are written as they lie, not from one line's beginning to another's.
const ALIGN_ABOVE: usize = 256;

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Streaming stores of `BYTES` bytes each, on a machine that has them: 16 on every x86-64, 32 with AVX, 64 with
/// AVX-512. All write whole lines; wider ones go with the vectors of their instruction set. When it is dropped, what was
/// written with it can be seen.
#[derive(Debug)]
pub struct Stores<const BYTES: usize>(());

impl<const BYTES: usize> Drop for Stores<BYTES> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has SSE, and a fence touches no memory.
        unsafe {
            std::arch::x86_64::_mm_sfence();
        }
    }
}

/// Elements that are nothing but their bytes.
pub trait Plain: Copy + sealed::Sealed {}
impl Plain for f32 {}
impl Plain for f64 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The stores of the instruction set that the program is built for.
pub type Built = Stores<
    {
        if cfg!(target_feature = "avx512f") {
            64
        } else if cfg!(target_feature = "avx") {
            32
        } else {
            16
        }
    },
>;

impl Default for Built {
    /// What every machine has that the program may run on.
    fn default() -> Self {
        Self(())
    }
}

impl<const BYTES: usize> Stores<BYTES> {
    /// Stores of an instruction set that was detected, for functions that are compiled for it.
    ///
    /// # Safety
    /// The machine has AVX where BYTES is 32, AVX-512F where it is 64.
    #[must_use]
    #[inline(always)]
    pub unsafe fn detected() -> Self {
        const { assert!(BYTES == 16 || BYTES == 32 || BYTES == 64) };
        Self(())
    }
}

/// What a map computes: L elements fill a cache line, or several.
pub trait Map<T, const L: usize> {
    /// The `n` lines from element `start` on, to be asked for by number. (An iterator would do, were its adapters
    /// inlined into functions that are compiled for another instruction set.)
    fn lines(&self, start: usize, n: usize) -> impl Fn(usize) -> [T; L];
    /// The element at `at`.
    fn one(&self, at: usize) -> T;
}

/// The `n` lines of `values` from element `start` on. That there are `n` is seen once, not at every line.
#[inline(always)]
pub fn lines<T, const L: usize>(values: &[T], start: usize, n: usize) -> &[[T; L]] {
    &values[start..].as_chunks().0[..n]
}

/// What is brought into L2 while as many elements are written.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a, T> {
    /// Where it lies; empty for nothing.
    pub strips: [&'a [T]; 2],
    /// Whether every other pair of lines is left out, see [`crate::kernels::Hints`].
    pub sparse: bool,
}

impl<'a, T> Ahead<'a, T> {
    /// What there is of each strip from element `start` on.
    #[inline(always)]
    #[must_use]
    pub fn skip(self, start: usize) -> Self {
        // Not `map`, which is not inlined everywhere.
        let [first, second] = self.strips;
        let strips = [first.get(start..).unwrap_or_default(), second.get(start..).unwrap_or_default()];
        Self { strips, ..self }
    }

    /// Whether nothing is fetched.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        let [first, second] = self.strips;
        first.is_empty() && second.is_empty()
    }

    /// Asks for the cache line of element `at` of each strip.
    #[inline(always)]
    fn fetch(&self, at: usize) {
        // One instruction for lines of either kind: a bit of the element's number.
        let left_out = if self.sparse { 2 * LINE / size_of::<T>() } else { 0 };
        if at & left_out == 0 {
            for values in self.strips {
                if !values.is_empty() {
                    fetch::<T, false>(values, at);
                }
            }
        }
    }
}

/// Fills `out` from `map`, past the caches where `stream` says how. Meanwhile `ahead` is brought into L2.
#[inline(always)]
pub fn fill<T: Plain, const L: usize, const BYTES: usize>(
    out: &mut [T],
    stream: Option<&Stores<BYTES>>,
    ahead: Ahead<'_, T>,
    map: &impl Map<T, L>,
) {
    if stream.is_none() && out.len() < ALIGN_ABOVE {
        let (chunks, tail) = out.as_chunks_mut::<L>();
        let value = map.lines(0, chunks.len());
        for (i, chunk) in chunks.iter_mut().enumerate() {
            ahead.fetch(i * L);
            *chunk = value(i);
        }
        return ones(tail, chunks.len() * L, map);
    }
    let (head, lines, tail) = lines_mut::<T, L>(out);
    if stream.is_some() && !tail.is_empty() {
        // An ordinary store to a line that is far away would hold up the streaming ones behind it.
        fetch::<T, true>(tail, 0);
    }
    ones(head, 0, map);
    let value = map.lines(head.len(), lines.len());
    let mut at = head.len();
    // One branch where a tensor stays in the caches. As a loop of its own it would be compiled into gathers.
    let far = stream.is_some() || !ahead.is_empty();
    for (i, line) in lines.iter_mut().enumerate() {
        let value = value(i);
        if far {
            ahead.fetch(at);
            if let Some(stores) = stream {
                stores.write(line, value);
            } else {
                line.0 = value;
            }
        } else {
            line.0 = value;
        }
        at += L;
    }
    ones(tail, at, map);
}

/// As [`fill`] past the caches, in steps: writes what is before the first whole line of `out`, and gives that line's first
/// element, the lines and what is behind them, for [`Stores::write`] and [`ones`].
#[inline(always)]
pub fn begin<'a, T: Plain, const L: usize>(
    out: &'a mut [T],
    map: &impl Map<T, L>,
) -> (usize, &'a mut [Line<T, L>], &'a mut [T]) {
    let (head, lines, tail) = lines_mut::<T, L>(out);
    fetch_range::<T, true>(tail, 0, tail.len());
    let start = head.len();
    ones(head, 0, map);
    (start, lines, tail)
}

/// Writes `out`, which begins at element `start`, element by element.
#[inline(always)]
pub fn ones<T, const L: usize>(out: &mut [T], start: usize, map: &impl Map<T, L>) {
    for (out, at) in out.iter_mut().zip(start..) {
        *out = map.one(at);
    }
}

/// L elements from where a cache line begins, one or several lines.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Line<T, const L: usize>([T; L]);

/// `to` as what comes before its first whole cache line, its whole lines, and the rest.
#[inline(always)]
fn lines_mut<T: Plain, const L: usize>(to: &mut [T]) -> (&mut [T], &mut [Line<T, L>], &mut [T]) {
    const { assert!(size_of::<[T; L]>().is_multiple_of(LINE) && size_of::<Line<T, L>>() == size_of::<[T; L]>()) };
    // SAFETY: a Line is L elements side by side and nothing else, as asserted; any L elements are one, in either direction.
    unsafe { to.align_to_mut() }
}

impl<const BYTES: usize> Stores<BYTES> {
    /// Streams `value` to a line.
    #[inline(always)]
    pub fn write<T: Plain, const L: usize>(&self, to: &mut Line<T, L>, value: [T; L]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_stream_si128, _mm256_loadu_si256,
                _mm256_stream_si256, _mm512_loadu_si512, _mm512_stream_si512,
            };
            let (to, from) = (to.0.as_mut_ptr().cast::<u8>(), value.as_ptr().cast::<u8>());
            for at in (0..size_of::<[T; L]>()).step_by(BYTES) {
                // SAFETY: both sides are whole lines of 64 bytes, and BYTES divides that; `to` is aligned to 64 by its type, so
                // to + at is to BYTES. T is Plain: no padding, its bytes may be moved. That the machine has the stores is what
                // a value of this type stands for.
                unsafe {
                    let (to, from) = (to.add(at), from.add(at));
                    match BYTES {
                        64 => {
                            _mm512_stream_si512(
                                to.cast::<__m512i>(),
                                _mm512_loadu_si512(from.cast::<__m512i>()),
                            );
                        }
                        32 => _mm256_stream_si256(
                            to.cast::<__m256i>(),
                            _mm256_loadu_si256(from.cast::<__m256i>()),
                        ),
                        _ => _mm_stream_si128(to.cast::<__m128i>(), _mm_loadu_si128(from.cast::<__m128i>())),
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            to.0 = value;
        }
    }
}

/// Asks for the cache line of element `at` to be brought into L2, with `NEAR` into L1. What is not mapped is not
/// fetched, so `at` may lie behind the end.
#[inline(always)]
pub fn fetch<T, const NEAR: bool>(values: &[T], at: usize) {
    fetch_from::<T, NEAR>(values.as_ptr().wrapping_add(at));
}

/// As [`fetch`], for the lines of `len` elements from `at` on.
#[inline(always)]
pub fn fetch_lines<T, const NEAR: bool>(values: &[T], at: usize, len: usize) {
    for i in (0..len).step_by(LINE / size_of::<T>()) {
        fetch::<T, NEAR>(values, at.wrapping_add(i));
    }
}

/// As [`fetch_lines`]; nothing where there are no values at all.
#[inline(always)]
pub fn fetch_range<T, const NEAR: bool>(values: &[T], at: usize, len: usize) {
    if !values.is_empty() {
        fetch_lines::<T, NEAR>(values, at, len);
    }
}

/// The elements of `values` before the first that begins a cache line.
#[inline]
#[must_use]
pub fn lead<T>(values: &[T]) -> usize {
    values.as_ptr().align_offset(LINE).min(values.len())
}

/// As [`fetch`], for the line at an address, wherever that leads.
#[inline(always)]
pub(crate) fn fetch_from<T, const NEAR: bool>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let address = address.cast();
        // SAFETY: a prefetch does not access memory as far as the program can tell, and never faults, wherever the
        // address leads. SSE is in every x86-64.
        unsafe {
            if NEAR { _mm_prefetch::<_MM_HINT_T0>(address) } else { _mm_prefetch::<_MM_HINT_T1>(address) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(all(test, target_arch = "x86_64", unix))]
mod tests;
