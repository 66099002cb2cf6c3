//! Huge pages for the tensors that are timed: for the layer and the floor alike, which share them.
//!
//! 1. A tensor gets those that it covers whole. Its ends lie on small ones, and so does all of a tensor below 2 MiB.
//! 2. They are asked for before the first write, which is when the system hands out pages.
//! 3. Memory that the allocator kept has its small pages already, so the system puts those together afterwards. It
//!    tells whether it could, page by page: that is how it is known what a tensor lies on.
//!
//! Elsewhere than on Linux nothing happens.

#![allow(unsafe_code, reason = "advice about memory is a call of the system's")]

use std::sync::LazyLock;

/// A tensor of `len` elements that `fill` pushes, on huge pages where the system gives them.
pub fn filled<T>(len: usize, fill: impl FnOnce(&mut Vec<T>)) -> Vec<T> {
    let mut tensor = Vec::with_capacity(len);
    if let Some((start, pages)) = whole(tensor.spare_capacity_mut()) {
        // Refused, it stays on small pages: no fault, and `huge_bytes` finds it out.
        let _ = advise(start, pages * *SIZE, Advice::Huge);
    }
    fill(&mut tensor);
    // What it finds out is asked for again, by those who tell it.
    let _ = huge_bytes(&tensor);
    tensor
}

/// How many bytes of a tensor lie on huge pages, after the system was told to put it there; `None` where it does not
/// tell: before Linux 6.1, and elsewhere.
#[must_use]
pub fn huge_bytes<T>(tensor: &[T]) -> Option<usize> {
    if *SIZE == 0 {
        return None;
    }
    let Some((start, pages)) = whole(tensor) else {
        return Some(0);
    };
    let mut huge = 0;
    for page in 0..pages {
        match advise(start.wrapping_add(page * *SIZE), *SIZE, Advice::Collapse) {
            Ok(()) => huge += *SIZE,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return None,
            // No memory in one piece is left, or the page is in use elsewhere.
            Err(_) => {}
        }
    }
    Some(huge)
}

/// The share of several tensors' bytes that lie on huge pages; `None` as for [`huge_bytes`].
#[must_use]
pub fn huge_share<T>(tensors: &[&[T]]) -> Option<f64> {
    let huge: usize = tensors.iter().map(|tensor| huge_bytes(tensor)).sum::<Option<_>>()?;
    let all: usize = tensors.iter().map(|tensor| size_of_val(*tensor)).sum();
    Some(huge as f64 / all.max(1) as f64)
}

/// The bytes of a huge page; 0 where there are none.
static SIZE: LazyLock<usize> = LazyLock::new(|| {
    let size = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    size.ok()
        .and_then(|size| size.trim().parse().ok())
        .filter(|size: &usize| size.is_power_of_two())
        .unwrap_or(0)
});

/// Where the huge pages begin that memory covers whole, and how many they are; `None` where it covers none.
fn whole<T>(memory: &[T]) -> Option<(*const u8, usize)> {
    if *SIZE == 0 {
        return None;
    }
    let start = memory.as_ptr().cast::<u8>();
    let before = start.align_offset(*SIZE);
    let pages = size_of_val(memory).checked_sub(before)? / *SIZE;
    (pages > 0).then(|| (start.wrapping_add(before), pages))
}

/// What the system is told of memory. Neither changes a byte of it.
#[derive(Clone, Copy)]
enum Advice {
    /// To use huge pages when it is first written.
    Huge,
    /// To use them at once.
    Collapse,
}

#[cfg(target_os = "linux")]
fn advise(start: *const u8, bytes: usize, advice: Advice) -> std::io::Result<()> {
    let advice = match advice {
        Advice::Huge => libc::MADV_HUGEPAGE,
        // MADV_COLLAPSE, which the crate has for glibc alone.
        Advice::Collapse => 25,
    };
    // SAFETY: both advices choose the pages behind addresses, and leave every byte as it is. The system checks the
    // addresses itself.
    match unsafe { libc::madvise(start.cast_mut().cast(), bytes, advice) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *const u8, _: usize, _: Advice) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 3 << 20;

    /// The first `len` whole numbers.
    fn count(len: usize) -> Vec<u32> {
        filled(len, |tensor| tensor.extend(0..len as u32))
    }

    #[test]
    fn tensors_hold_what_they_were_filled_with() {
        for len in [0, 1, 1000, LEN] {
            let tensor = count(len);
            assert_eq!(tensor.len(), len);
            assert!(tensor.iter().copied().eq(0..len as u32));
        }
    }

    #[test]
    fn whole_pages_lie_within() {
        let tensor = count(LEN);
        let Some((start, pages)) = whole(&tensor) else {
            assert_eq!(
                (*SIZE, huge_bytes(&tensor)),
                (0, None),
                "12 MiB cover a huge page, where there are any"
            );
            return;
        };
        let (first, bytes) = (tensor.as_ptr().addr(), size_of_val(tensor.as_slice()));
        assert!(start.addr().is_multiple_of(*SIZE) && start.addr() >= first);
        let end = start.addr() + pages * *SIZE;
        assert!(end <= first + bytes && end + *SIZE > first + bytes && start.addr() - first < *SIZE);
        for len in [0, 1000] {
            assert_eq!((whole(&tensor[..len]), huge_bytes(&tensor[..len])), (None, Some(0)));
        }
    }

    #[test]
    fn what_lies_on_huge_pages_is_what_the_system_says() {
        // Pages that were written before anybody asked, as those of memory that was kept.
        let written: Vec<u32> = (0..LEN as u32).collect();
        let tensors = [&count(LEN)[..], &written];
        let found = tensors.map(huge_bytes);
        assert!(written.iter().copied().eq(0..LEN as u32), "no byte is another one");
        let [Some(a), Some(b)] = found else {
            println!("skipped: the system does not tell: {found:?}");
            assert_eq!(huge_share(&tensors), None);
            return;
        };
        assert!(
            tensors.iter().zip([a, b]).all(|(t, huge)| huge <= size_of_val(*t) && huge.is_multiple_of(*SIZE))
        );
        let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let line = smaps.lines().find_map(|line| line.strip_prefix("AnonHugePages:")).unwrap();
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(1024 * kilobytes >= a + b, "{smaps}");
        let share = huge_share(&tensors).unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}
