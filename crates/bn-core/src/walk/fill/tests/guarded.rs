//! A page between two that must not be touched, for the tests of streaming stores. The tests of the benches' floor
//! take this file as a module of their own.

/// Three pages, of which the middle one may be touched: AddressSanitizer does not see a streaming store that
/// goes astray, a protected page does.
pub(super) struct Guarded {
    start: *mut libc::c_void,
    page: usize,
}

impl Guarded {
    pub(super) fn new() -> Self {
        // SAFETY: an anonymous mapping at an address of the system's choice, checked below; only its middle page
        // is made accessible.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(std::ptr::null_mut(), 3 * page, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let middle = start.byte_add(page);
            assert_eq!(libc::mprotect(middle, page, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self { start, page }
        }
    }

    /// The whole accessible page.
    pub(super) fn whole<T>(&mut self) -> &mut [T] {
        // SAFETY: the accessible page, aligned more than any T; any bytes are a T (floats only), and the borrow
        // of self keeps it alive and unaliased.
        unsafe {
            let middle = self.start.byte_add(self.page).cast();
            std::slice::from_raw_parts_mut(middle, self.page / size_of::<T>())
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, whole.
        unsafe { libc::munmap(self.start, 3 * self.page) };
    }
}
