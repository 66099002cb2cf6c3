//! What steps of a type share: a workspace per thread, since layers of a network need one at a time, and a pool for outputs.

use crate::pool::Pool;
use batchnorm::{Element, Workspace};
use half::{bf16, f16};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An element type that has a workspace in each thread.
pub trait Room: Element {
    /// What `step` makes with the thread's workspace. A step that begins while another one waits in the same thread, as rayon's may, has
    /// one of its own.
    fn with<R>(step: impl FnOnce(&mut Workspace<Self>) -> R) -> R;
    /// The process's pool for outputs of this type. Steps do not take from it by themselves: [`Step::forward_in`](crate::Step::forward_in).
    fn pool() -> MutexGuard<'static, Pool<Self>>;
}

macro_rules! room {
    ($($type:ty)*) => {$(
        impl Room for $type {
            fn with<R>(step: impl FnOnce(&mut Workspace<Self>) -> R) -> R {
                thread_local! {
                    static ROOM: Cell<Workspace<$type>> = Cell::default();
                }
                let mut workspace = ROOM.take();
                let result = step(&mut workspace);
                ROOM.set(workspace);
                result
            }

            fn pool() -> MutexGuard<'static, Pool<Self>> {
                static POOL: Mutex<Pool<$type>> = Mutex::new(Pool::new());
                POOL.lock().unwrap_or_else(PoisonError::into_inner)
            }
        }
    )*};
}

room!(f32 f64 f16 bf16);
