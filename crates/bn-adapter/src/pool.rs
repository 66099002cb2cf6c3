//! Memory of outputs from step to step, for frameworks that hand it back.
//!
//! A large allocation is new memory to most allocators, and the system clears new pages: that takes longer than the layer.

/// Vectors that were outputs and are none any more. With the outputs there are it holds no more than there were outputs at once, so that
/// a step finds the memory of the one before.
#[derive(Debug)]
pub struct Pool<T> {
    /// Oldest first.
    spare: Vec<Vec<T>>,
    /// Elements of outputs that were lent and not given back, and the most there ever were.
    lent: usize,
    most: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Pool<T> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { spare: Vec::new(), lent: 0, most: 0 }
    }

    /// A vector for `len` elements: the one given back last whose memory fits them, give or take an eighth, or an empty one. Whether it
    /// becomes an output is not known yet: [`lend`](Self::lend) says so.
    pub fn take(&mut self, len: usize) -> Vec<T> {
        let fits = |vec: &Vec<T>| (len..=len + len / 8).contains(&vec.capacity());
        self.spare.iter().rposition(fits).map(|i| self.spare.remove(i)).unwrap_or_default()
    }

    /// An output of `len` elements is handed out, which will be given back.
    pub fn lend(&mut self, len: usize) {
        self.lent += len;
        self.most = self.most.max(self.lent);
        self.shrink();
    }

    /// Takes an output back that was lent.
    pub fn give(&mut self, vec: Vec<T>) {
        self.lent = self.lent.saturating_sub(vec.len());
        self.spare.push(vec);
        self.shrink();
    }

    /// Gives all spare memory back to the allocator, and begins to count anew.
    pub fn clear(&mut self) {
        self.spare.clear();
        self.most = self.lent;
    }

    /// Drops what is spare beyond the most that was lent at once, the oldest first.
    fn shrink(&mut self) {
        let mut held: usize = self.lent + self.spare.iter().map(Vec::len).sum::<usize>();
        while held > self.most && !self.spare.is_empty() {
            held -= self.spare.remove(0).len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(pool: &mut Pool<f32>, len: usize) -> Vec<f32> {
        let mut vec = pool.take(len);
        vec.resize(len, 0.0);
        pool.lend(len);
        vec
    }

    fn spare(pool: &Pool<f32>) -> usize {
        pool.spare.iter().map(Vec::len).sum()
    }

    #[test]
    fn memory_comes_back_and_no_more_of_it_is_kept_than_was_used_at_once() {
        let mut pool = Pool::new();
        let (one, two) = (output(&mut pool, 100), output(&mut pool, 1000));
        let places = [one.as_ptr(), two.as_ptr()];
        pool.give(one);
        pool.give(two);
        let again = [output(&mut pool, 100), output(&mut pool, 1000)];
        assert_eq!(again.each_ref().map(Vec::as_ptr), places);
        again.into_iter().for_each(|vec| pool.give(vec));
        // Of another size: the oldest goes.
        let other = output(&mut pool, 500);
        pool.give(other);
        assert!(spare(&pool) <= 1100);
        pool.clear();
        assert_eq!((pool.spare.len(), pool.most), (0, 0));
    }

    #[test]
    fn outputs_and_spare_memory_together_are_no_more_than_outputs_were() {
        let mut pool = Pool::new();
        let held: Vec<_> = (0..10).map(|_| output(&mut pool, 100)).collect();
        held.into_iter().for_each(|vec| pool.give(vec));
        let held: Vec<_> = (0..7).map(|_| output(&mut pool, 140)).collect();
        assert!(pool.lent == 980 && spare(&pool) <= 20, "{} spare", spare(&pool));
        held.into_iter().for_each(|vec| pool.give(vec));
        assert!(spare(&pool) <= 1000);
    }

    /// As where a step fails after it took memory.
    #[test]
    fn what_is_taken_and_never_lent_does_not_count() {
        let mut pool = Pool::new();
        for _ in 0..100 {
            drop(pool.take(1000));
        }
        let small = output(&mut pool, 10);
        pool.give(small);
        assert_eq!((pool.most, spare(&pool)), (10, 10));
    }
}
