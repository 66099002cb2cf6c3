//! A workspace per thread and type, whoever's step it is: layers of a network need one at a time.

use batchnorm::{Element, Workspace};
use half::{bf16, f16};
use std::cell::Cell;

/// An element type that has a workspace in each thread.
pub trait Room: Element {
    /// What `step` makes with the thread's workspace. A step that begins while another one waits in the same thread, as rayon's may, has
    /// one of its own.
    fn with<R>(step: impl FnOnce(&mut Workspace<Self>) -> R) -> R;
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
        }
    )*};
}

room!(f32 f64 f16 bf16);
