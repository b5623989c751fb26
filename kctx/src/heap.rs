//! The heap, where it is left larger than it need be.
#![allow(unsafe_code)]

/// Gives back what was freed. Reading the kernel's BTF takes some twenty megabytes for a moment, in small pieces, of
/// which glibc would keep several for good: something that is still in use lies above them.
///
/// musl's allocator returns memory by itself, and has no such call.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments that could be wrong; it locks each arena itself (malloc/malloc.c, `__malloc_trim`).
    unsafe {
        libc::malloc_trim(0);
    }
}
