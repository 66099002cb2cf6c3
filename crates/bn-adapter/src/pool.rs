//! Memory of outputs from step to step, for frameworks that hand it back.
//!
//! A large allocation is new memory to most allocators, and the system clears new pages: that takes longer than the layer.

/// Vectors that were outputs and are none any more. It keeps as much as outputs had at once, so that a step finds the memory of the
/// one before.
#[derive(Debug)]
pub struct Pool<T> {
    /// Oldest first.
    spare: Vec<Vec<T>>,
    /// Elements of vectors that were taken and not given back, and the most there ever were.
    used: usize,
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
        Self { spare: Vec::new(), used: 0, most: 0 }
    }

    /// A vector for `len` elements: the one given back last whose memory fits them, give or take an eighth, or an empty one. It counts as
    /// used until as many elements are given back.
    pub fn take(&mut self, len: usize) -> Vec<T> {
        self.used += len;
        self.most = self.most.max(self.used);
        let fits = |vec: &Vec<T>| (len..=len + len / 8).contains(&vec.capacity());
        self.spare.iter().rposition(fits).map(|i| self.spare.remove(i)).unwrap_or_default()
    }

    /// Takes a vector back that was filled with as many elements as were asked for.
    pub fn give(&mut self, vec: Vec<T>) {
        self.used = self.used.saturating_sub(vec.len());
        self.spare.push(vec);
        let mut kept: usize = self.spare.iter().map(Vec::len).sum();
        while kept > self.most {
            kept -= self.spare.remove(0).len();
        }
    }

    /// Gives all spare memory back to the allocator, and begins to count anew.
    pub fn clear(&mut self) {
        self.spare.clear();
        self.most = self.used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_no_more_of_it_is_kept_than_was_used_at_once() {
        let mut pool = Pool::new();
        let make = |pool: &mut Pool<f32>, len: usize| {
            let mut vec = pool.take(len);
            vec.resize(len, 0.0);
            vec
        };
        let (one, two) = (make(&mut pool, 100), make(&mut pool, 1000));
        let places = [one.as_ptr(), two.as_ptr()];
        pool.give(one);
        pool.give(two);
        let again = [make(&mut pool, 100), make(&mut pool, 1000)];
        assert_eq!(again.each_ref().map(Vec::as_ptr), places);
        again.into_iter().for_each(|vec| pool.give(vec));
        // Of another size: the oldest goes.
        let other = make(&mut pool, 500);
        pool.give(other);
        assert!(pool.spare.iter().map(Vec::len).sum::<usize>() <= 1100);
        pool.clear();
        assert_eq!((pool.spare.len(), pool.most), (0, 0));
    }
}
