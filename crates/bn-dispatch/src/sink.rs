//! Where a map's chunks go: into the output's strip, or, when that is streamed, through a small buffer that is
//! in L1 and leaves in whole cache lines.

use crate::isa::Isa;
use crate::stream;
use crate::sum::Item;
use bn_core::kernels::Hints;
use bn_core::strips::Strips;
use std::marker::PhantomData;

/// Elements of the buffer that are sent off at once: 4 KiB of f32.
const PIECE: usize = 1024;
/// Room behind them for a chunk that writes on.
const SLACK: usize = 32;

/// One strip of a map's output.
pub(crate) struct Sink<'a, 'n, T, I> {
    out: &'a mut [T],
    /// Elements of the strip that have been handed over.
    at: usize,
    /// Elements of `out` that are written; the others wait in the buffer.
    sent: usize,
    buf: Option<[T; PIECE + SLACK]>,
    /// The same strip of what is read next.
    next: [Option<&'n [T]>; 2],
    isa: PhantomData<I>,
}

impl<'a, 'n, T: Item, I: Isa> Sink<'a, 'n, T, I> {
    #[inline(always)]
    pub(crate) fn new(out: &'a mut [T], hints: &Hints<'n, T>, row: usize) -> Self {
        let buf = hints.stream.then_some([T::default(); PIECE + SLACK]);
        let strip = |next: Option<Strips<'n, T>>| next.filter(|n| row < n.rows()).map(|n| n.strip(row));
        Self { out, at: 0, sent: 0, buf, next: hints.next.map(strip), isa: PhantomData }
    }

    /// Takes the next `len` elements in chunks of W: `chunk(at)` are those from `at` on, counted from the strip's
    /// beginning. What a chunk has too many is written over by the run that follows.
    #[inline(always)]
    pub(crate) fn run<const W: usize>(&mut self, len: usize, chunk: impl Fn(usize) -> [T; W]) {
        let end = self.at + len;
        while self.at < end {
            let stop = end.min(self.at + PIECE / 2);
            self.prefetch(self.at..stop);
            match &mut self.buf {
                Some(buf) => {
                    let mut to = &mut buf[self.at - self.sent..];
                    let mut at = self.at;
                    while at < stop {
                        let (head, rest) = to.split_at_mut(W);
                        head.copy_from_slice(&chunk(at));
                        to = rest;
                        at += W;
                    }
                    self.at = stop;
                    if self.at - self.sent >= PIECE / 2 {
                        self.send();
                    }
                }
                None => {
                    let mut at = self.at;
                    // A chunk may write on only as far as the strip goes.
                    let room = self.out.len().saturating_sub(W - 1).min(stop);
                    while at < room {
                        self.out[at..at + W].copy_from_slice(&chunk(at));
                        at += W;
                    }
                    if at < stop {
                        let rest = &mut self.out[at..stop];
                        rest.copy_from_slice(&chunk(at)[..rest.len()]);
                    }
                    self.at = stop;
                }
            }
        }
    }

    #[inline(always)]
    fn prefetch(&self, range: std::ops::Range<usize>) {
        for next in self.next.iter().flatten() {
            if let Some(ahead) = next.get(range.clone()) {
                stream::prefetch(ahead);
            }
        }
    }
}

impl<T: Item, I: Isa> Sink<'_, '_, T, I> {
    /// Sends off the whole lines that wait; what is left moves to the buffer's beginning.
    #[inline(always)]
    fn send(&mut self) {
        let Some(buf) = &mut self.buf else { return };
        let (to, waiting) = (&mut self.out[self.sent..self.at], self.at - self.sent);
        let ready = stream::whole_lines(to);
        match I::STORE {
            64 => stream::copy::<T, 64>(&mut to[..ready], &buf[..ready]),
            32 => stream::copy::<T, 32>(&mut to[..ready], &buf[..ready]),
            _ => stream::copy::<T, 16>(&mut to[..ready], &buf[..ready]),
        }
        buf.copy_within(ready..waiting, 0);
        self.sent += ready;
    }

    /// Sends off the rest of the strip.
    #[inline(always)]
    pub(crate) fn finish(mut self) {
        self.send();
        if let Some(buf) = &self.buf {
            let rest = &mut self.out[self.sent..self.at];
            rest.copy_from_slice(&buf[..rest.len()]);
        }
    }
}
