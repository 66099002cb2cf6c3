//! Who does the work: kernels, and an executor that runs them.
//!
//! [`DefaultBackend`] follows from the Cargo features. A program can name another one that is compiled in:
//!
//! ```
//! use batchnorm::BatchNorm;
//! use batchnorm::backend::{Backend, Scalar};
//!
//! assert_eq!(Scalar.name(), "scalar");
//! let bn = BatchNorm::<f32, Scalar>::new(64)?;
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! [`BatchNorm`] here is the struct itself, whose backend has no default; [`batchnorm::BatchNorm`](crate::BatchNorm) is its alias.
//!
//! The traits are for generic code (`B: Backend`) and for those who bring kernels or an executor of their own; these build on
//! the crate `bn-core`.

// Re-exported, the struct has its page with all methods among the facade's, and compiler errors do not name bn-core.
#[doc(inline)]
pub use bn_core::BatchNorm;
pub use bn_core::{Backend, Executor, KernelSet, Kernels, Serial};
#[cfg(feature = "dispatch")]
pub use bn_dispatch::{Dispatch, Level, LevelError};
#[cfg(feature = "rayon")]
pub use bn_rayon::Rayon;
pub use bn_scalar::Scalar;
#[cfg(feature = "wide")]
pub use bn_wide::Wide;

cfg_if::cfg_if! {
    // The fastest kernels that are compiled in come first; a backend that joins puts its branch above the slower.
    if #[cfg(feature = "dispatch")] {
        type DefaultKernels = Dispatch;
    } else if #[cfg(feature = "wide")] {
        type DefaultKernels = Wide;
    } else {
        type DefaultKernels = Scalar;
    }
}

cfg_if::cfg_if! {
    if #[cfg(feature = "rayon")] {
        /// The backend that the Cargo features choose.
        pub type DefaultBackend = Rayon<DefaultKernels>;
    } else {
        /// The backend that the Cargo features choose.
        pub type DefaultBackend = DefaultKernels;
    }
}
