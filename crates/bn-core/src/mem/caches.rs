//! How large the caches are: of the core that asks first, by CPUID on x86-64 and by sysfs elsewhere.

use std::sync::OnceLock;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// The first one, for data.
    pub l1: usize,
    /// The second one.
    pub l2: usize,
    /// The last one, shared by several cores; that of a core where there is no third one.
    pub l3: usize,
}

impl Caches {
    /// What is taken for a machine that does not say.
    pub const COMMON: Self = Self { l1: 32 << 10, l2: 1 << 20, l3: 32 << 20 };

    /// This machine's, found out once.
    #[must_use]
    pub fn here() -> Self {
        static FOUND: OnceLock<Caches> = OnceLock::new();
        *FOUND.get_or_init(|| Self::from_levels(levels()))
    }

    /// Of sizes by level, 0 where a level is not known; those of one level are alike, and the largest counts.
    fn from_levels(sizes: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut found = [0; 3];
        for (level, bytes) in sizes {
            if let Some(most) = level.checked_sub(1).and_then(|i| found.get_mut(i)) {
                *most = bytes.max(*most);
            }
        }
        let or = |bytes, common| if bytes == 0 { common } else { bytes };
        let [l1, l2, l3] = found;
        let (l1, l2) = (or(l1, Self::COMMON.l1), or(l2, Self::COMMON.l2));
        Self { l1, l2, l3: if found == [0; 3] { Self::COMMON.l3 } else { or(l3, l2) } }
    }
}

/// Levels and sizes of caches that hold data.
#[cfg(target_arch = "x86_64")]
fn levels() -> impl Iterator<Item = (usize, usize)> {
    use raw_cpuid::{CacheType, CpuId};
    let parameters = CpuId::new().get_cache_parameters();
    let holds_data = |kind| matches!(kind, CacheType::Data | CacheType::Unified);
    parameters.into_iter().flatten().filter(move |cache| holds_data(cache.cache_type())).map(|cache| {
        let lines = cache.associativity() * cache.physical_line_partitions() * cache.sets();
        (usize::from(cache.level()), lines * cache.coherency_line_size())
    })
}

/// The same as Linux tells them; nothing where there is no such file.
#[cfg(not(target_arch = "x86_64"))]
fn levels() -> impl Iterator<Item = (usize, usize)> {
    let read = |i: usize, name: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{name}");
        std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    (0..8).filter_map(move |i| {
        let holds_data = read(i, "type")? != "Instruction";
        let size = bytes(&read(i, "size")?)?;
        holds_data.then_some((read(i, "level")?.parse().ok()?, size))
    })
}

/// A size as sysfs writes it: `32K`, `1024K`, `8M`.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn bytes(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_taken_for_common() {
        let caches = |sizes: &[(usize, usize)]| Caches::from_levels(sizes.iter().copied());
        assert_eq!(caches(&[]), Caches::COMMON);
        assert_eq!(caches(&[(1, 64), (2, 512), (3, 4096)]), Caches { l1: 64, l2: 512, l3: 4096 });
        assert_eq!(caches(&[(1, 64), (2, 512), (9, 1)]), Caches { l1: 64, l2: 512, l3: 512 });
    }

    #[test]
    fn this_machine_has_caches_that_grow() {
        let Caches { l1, l2, l3 } = Caches::here();
        assert!(0 < l1 && l1 <= l2 && l2 <= l3, "{l1} {l2} {l3}");
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        let want =
            [("32K", Some(32 << 10)), ("8M", Some(8 << 20)), ("512", Some(512)), ("", None), ("xK", None)];
        for (text, size) in want {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
