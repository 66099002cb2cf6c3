//! What was learned: one table for the whole program, so that calls that keep nothing learn as well.
//!
//! A class has a place in it from its first step on. Places are filled in once and never given up; where all are taken, further
//! classes go by the first guess.

use super::class::Class;
use super::trials::Trials;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Places for classes, of which not quite all are filled: a class has only a few.
const PLACES: usize = 512;
/// Places that are looked at for a class.
const NEAR: usize = 16;

/// A class and what was learned of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) class: Class,
    pub(super) offered: u16,
    pub(super) first: usize,
    pub(super) trials: Trials,
    pub(super) outputs: Outputs,
    shape: Representative,
}

impl Entry {
    /// Whether a step over this shape may try something. Shapes of a class differ in time per element, so only one of them
    /// does; where that one comes no more, another one takes its place and all is tried anew.
    pub(super) fn learns_from(&self, shape: [usize; 3]) -> bool {
        match self.shape.look(shape) {
            Look::Same => true,
            Look::Other => false,
            Look::New => {
                self.trials.restart();
                true
            }
        }
    }
}

static TABLE: [OnceLock<Entry>; PLACES] = [const { OnceLock::new() }; PLACES];

/// The places where the entry of a class may be.
fn near(class: Class) -> impl Iterator<Item = &'static OnceLock<Entry>> {
    let start = hashed(class) as usize % PLACES;
    (0..NEAR).map(move |i| &TABLE[(start + i) % PLACES])
}

/// The entry of a class, if there is one.
pub(super) fn find(class: Class) -> Option<&'static Entry> {
    near(class).map_while(OnceLock::get).find(|entry| entry.class == class)
}

/// The entry of a class, made where there is none yet; `None` where there is no room.
pub(super) fn entry(class: Class, offered: impl Fn() -> (u16, usize)) -> Option<&'static Entry> {
    // No lock is held but while an entry is written for the first time, which waits for nothing.
    let mut entries = near(class).map(|place| {
        place.get_or_init(|| {
            let (offered, first) = offered();
            let trials = Trials::new(offered, first, class.kind.keeping());
            let (outputs, shape) = Default::default();
            Entry { class, offered, first, trials, outputs, shape }
        })
    });
    entries.find(|entry| entry.class == class)
}

/// All entries.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    TABLE.iter().filter_map(OnceLock::get)
}

static LOADED: AtomicBool = AtomicBool::new(false);

/// Whether entries were loaded, so that they count where nothing is learned.
pub(super) fn is_loaded() -> bool {
    LOADED.load(Relaxed)
}

pub(super) fn set_loaded() {
    LOADED.store(true, Relaxed);
}

/// The shape that a class learns from.
#[derive(Debug, Default)]
struct Representative {
    /// Its hash; 0 before the first one.
    hash: AtomicU64,
    /// Steps over others since it was there.
    others: AtomicU32,
    /// How often another one has taken its place.
    takeovers: AtomicU32,
}

/// What a shape is to a class.
#[derive(Debug, PartialEq)]
enum Look {
    Same,
    Other,
    New,
}

impl Representative {
    /// After so many steps over others the representative is given up, the next one after twice as many: shapes that come in
    /// long stretches would else be tried anew in each.
    const PATIENCE: u32 = 64;
    const DOUBLINGS: u32 = 12;

    fn look(&self, shape: [usize; 3]) -> Look {
        let (own, hash) = (self.hash.load(Relaxed), hashed(shape).max(1));
        if own == 0 {
            self.hash.store(hash, Relaxed);
        }
        if own == 0 || own == hash {
            self.others.store(0, Relaxed);
            return Look::Same;
        }
        let patience = Self::PATIENCE << self.takeovers.load(Relaxed).min(Self::DOUBLINGS);
        if self.others.fetch_add(1, Relaxed) < patience {
            return Look::Other;
        }
        self.takeovers.fetch_add(1, Relaxed);
        self.hash.store(hash, Relaxed);
        self.others.store(0, Relaxed);
        Look::New
    }
}

fn hashed(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Where outputs have begun: one that begins elsewhere may have pages that nobody has touched.
///
/// Each address sets one of 256 bits. In the end all are set, so that everything is taken for touched.
#[derive(Debug, Default)]
pub(super) struct Outputs([AtomicU64; 4]);

impl Outputs {
    /// Whether an output has begun there, or at an address with the same bit.
    pub(super) fn has_seen(&self, address: usize) -> bool {
        let hash = hashed(address);
        let bit = 1 << (hash % 64);
        self.0[(hash >> 6) as usize % self.0.len()].fetch_or(bit, Relaxed) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_one_entry() {
        let class = |name: &str| format!("{name} f32 forward runs 1,2,3 1").parse::<Class>().unwrap();
        let first = entry(class("mine"), || (0b11, 1)).unwrap();
        assert_eq!((first.offered, first.first), (0b11, 1));
        let again = entry(class("mine"), || unreachable!("it is there")).unwrap();
        assert!(std::ptr::eq(first, again));
        assert_ne!(entry(class("other"), || (1, 0)).unwrap().class, first.class);
        assert!(entries().any(|entry| std::ptr::eq(entry, first)));
    }

    #[test]
    fn a_class_learns_from_one_shape_as_long_as_that_comes() {
        let one = Representative::default();
        let (a, b) = ([32, 64, 3136], [33, 64, 3136]);
        assert_eq!([one.look(a), one.look(b), one.look(a)], [Look::Same, Look::Other, Look::Same]);
        assert!((0..64).all(|_| one.look(b) == Look::Other));
        assert_eq!([one.look(b), one.look(b), one.look(a)], [Look::New, Look::Same, Look::Other]);
        // Stretches of 124 steps: the next takeover takes longer, and then none comes.
        let taken = |shape| (0..124).filter(|_| one.look(shape) == Look::New).count();
        assert_eq!((0..100).map(|i| taken(if i % 2 == 0 { a } else { b })).sum::<usize>(), 0);
    }

    #[test]
    fn an_output_is_new_once() {
        let outputs = Outputs::default();
        assert_eq!([outputs.has_seen(4096), outputs.has_seen(4096)], [false, true]);
    }
}
