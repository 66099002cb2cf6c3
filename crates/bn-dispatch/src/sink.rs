//! Where a map writes: into the output's strip, or, when that is streamed, into a small buffer that is in L1 and
//! leaves in whole cache lines.

use crate::isa::Isa;
use crate::stream;
use crate::sum::Item;
use bn_core::kernels::Hints;
use bn_core::strips::Strips;
use std::marker::PhantomData;

/// Elements that are mapped at once.
pub(crate) const PIECE: usize = 512;

/// A buffer for streamed output: a piece, and what was left of the one before.
pub(crate) type Buffer<T> = [T; 2 * PIECE];

/// One strip of a map's output.
pub(crate) struct Sink<'a, 'n, T, I> {
    out: &'a mut [T],
    /// Elements of the strip that are mapped.
    at: usize,
    /// Elements of `out` that are written; the others wait in the buffer.
    sent: usize,
    buf: Option<&'a mut Buffer<T>>,
    /// The same strip of what is read next.
    next: [Option<&'n [T]>; 2],
    isa: PhantomData<I>,
}

impl<'a, 'n, T: Item, I: Isa> Sink<'a, 'n, T, I> {
    #[inline(always)]
    pub(crate) fn new(out: &'a mut [T], buf: &'a mut Buffer<T>, hints: &Hints<'n, T>, row: usize) -> Self {
        let strip = |next: Option<Strips<'n, T>>| next.filter(|n| row < n.rows()).map(|n| n.strip(row));
        let buf = hints.stream.then_some(buf);
        Self { out, at: 0, sent: 0, buf, next: hints.next.map(strip), isa: PhantomData }
    }

    /// Lets `map(at, to)` write the strip's next `len` elements piece by piece: `at` counts from the beginning of
    /// these elements.
    #[inline(always)]
    pub(crate) fn run(&mut self, len: usize, mut map: impl FnMut(usize, &mut [T])) {
        let mut at = 0;
        while at < len {
            let n = PIECE.min(len - at);
            match &mut self.buf {
                Some(buf) => map(at, &mut buf[self.at - self.sent..][..n]),
                None => map(at, &mut self.out[self.at..][..n]),
            }
            for next in self.next.iter().flatten() {
                if let Some(ahead) = next.get(self.at..self.at + n) {
                    stream::prefetch(ahead);
                }
            }
            self.at += n;
            at += n;
            if self.at - self.sent >= PIECE {
                self.send();
            }
        }
    }

    /// Sends off the whole lines that wait; what is left moves to the buffer's beginning.
    #[inline(always)]
    fn send(&mut self) {
        let Some(buf) = &mut self.buf else {
            self.sent = self.at;
            return;
        };
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
