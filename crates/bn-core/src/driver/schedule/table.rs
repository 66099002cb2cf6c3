//! What was learned: one table for the whole program, so that calls that keep nothing learn as well.
//!
//! A class has a place in it from its first step on. Places are filled in once and never given up; where all are taken, further
//! classes go by the first guess.

use super::class::Class;
use super::facts::Facts;
use super::trials::Trials;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Classes that there is room for.
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
}

static TABLE: [OnceLock<Entry>; PLACES] = [const { OnceLock::new() }; PLACES];

/// The entry of a class, made where there is none yet; `None` where there is no room.
pub(super) fn entry(class: Class, offered: impl Fn() -> (u16, usize)) -> Option<&'static Entry> {
    let mut hasher = DefaultHasher::new();
    class.hash(&mut hasher);
    let start = hasher.finish() as usize % PLACES;
    let near = (0..NEAR).map(|i| &TABLE[(start + i) % PLACES]);
    // No lock is held but while an entry is written for the first time, which waits for nothing.
    let mut entries = near.map(|place| {
        place.get_or_init(|| {
            let (offered, first) = offered();
            let (trials, outputs) = (Trials::new(offered, first), Outputs::default());
            Entry { class, offered, first, trials, outputs }
        })
    });
    entries.find(|entry| entry.class == class)
}

/// The entry of a step.
pub(super) fn of_step(class: Class, facts: &Facts) -> Option<&'static Entry> {
    entry(class, || (facts.offered(), facts.first()))
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

/// Where outputs have begun: one that begins elsewhere may have pages that nobody has touched.
///
/// Each address sets one of 256 bits. In the end all are set, so that everything is taken for touched.
#[derive(Debug, Default)]
pub(super) struct Outputs([AtomicU64; 4]);

impl Outputs {
    /// Whether an output has begun there, or at an address with the same bit.
    pub(super) fn has_seen(&self, address: usize) -> bool {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let hash = hasher.finish();
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
    fn an_output_is_new_once() {
        let outputs = Outputs::default();
        assert_eq!([outputs.has_seen(4096), outputs.has_seen(4096)], [false, true]);
    }
}
