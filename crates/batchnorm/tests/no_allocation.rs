//! The slice API allocates nothing per step once its workspace exists, serially; on rayon next to nothing. One test,
//! so that no other test's allocations are counted.

use batchnorm::backend::{Backend, Scalar};
use batchnorm::functions::{self, Backward, DoubleBackward, Forward, To};
use batchnorm::{
    Activation, BatchNorm, Element, Grads, Kept, Options, Real, Renorm, Saved, Shape, Workspace,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
#[expect(unsafe_code, reason = "a counting allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise for `layout` is handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this `layout`, as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as for `dealloc`, and the caller promises that `new_size` is valid.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the first step and of each of `later` ones over `shapes`, with one workspace.
fn steps<T: Element, B: Backend + Default>(shapes: &[Shape], later: usize) -> (usize, Vec<usize>) {
    let mut layers: Vec<_> = shapes
        .iter()
        .map(|s| {
            let x: Vec<T> =
                (0..s.len()).map(|i| T::from_compute(T::Compute::from_f64((i % 13) as f64))).collect();
            let parameters = vec![T::Compute::default(); s.features()];
            let outputs = (x.clone(), x.clone(), x.clone(), parameters.clone(), parameters);
            let saved = [(); 2].map(|()| Saved::default());
            (*s, BatchNorm::<T, B>::new(s.features()).unwrap(), saved, x, outputs)
        })
        .collect();
    let mut workspace = Workspace::default();
    let mut step = || {
        let before = ALLOCATIONS.load(Relaxed);
        for (shape, bn, [saved, ghosts], x, (y, dx, d_x, dweight, dbias)) in &mut layers {
            bn.forward_into(*shape, x, y, saved, &mut workspace).unwrap();
            bn.backward_into(saved, x, y, Grads { dx, dweight, dbias }, &mut workspace).unwrap();
            let (d_dy, d_x) = (Some((&mut dx[..]).into()), Some((&mut d_x[..]).into()));
            let second = DoubleBackward { v_dx: Some(y), d_dy, d_x, ..DoubleBackward::new(x, x) };
            let second = DoubleBackward { v_dbias: Some(dbias), d_weight: Some(dweight), ..second };
            functions::double_backward(&B::default(), second, saved, &mut workspace).unwrap();
            bn.forward_eval_into(*shape, x, y, saved, &mut workspace).unwrap();
            // In three virtual batches or so, each renormalized.
            let options = Options::default()
                .renorm(Renorm { r_max: 3.0, d_max: 5.0 })
                .ghost((shape.outer() / 3).max(2));
            let own = Forward { options, ..Forward::new(*shape, x, &mut y[..]) };
            bn.forward_step(own, ghosts, &mut workspace).unwrap();
            bn.backward_into(ghosts, x, y, Grads { dx, dweight, dbias }, &mut workspace).unwrap();
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    (step(), (0..later).map(|_| step()).collect())
}

/// The same of steps with options: every activation and gate, with and without a mask, a residual and y.
fn steps_with_options<T: Element, B: Backend + Default>(
    shapes: &[Shape],
    later: usize,
) -> (usize, Vec<usize>) {
    let mut layers: Vec<_> = shapes
        .iter()
        .map(|s| {
            let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
            let x: Vec<T> = (0..s.len()).map(|i| number((i % 13) as f64)).collect();
            let mask: Vec<bool> = (0..s.count()).map(|i| i % 5 != 2).collect();
            let parameters = vec![T::Compute::default(); s.features()];
            let outputs = (x.clone(), x.clone(), x.clone(), parameters.clone(), parameters);
            let mut bn = BatchNorm::<T, B>::new(s.features()).unwrap();
            // Some features are out of the kernels' range.
            bn.weight.iter_mut().step_by(3).for_each(|w| *w = T::Compute::from_f64(100.0 * T::Compute::LOW));
            (*s, bn, [(); 2].map(|()| Saved::default()), (x, mask), outputs)
        })
        .collect();
    let mut workspace = Workspace::default();
    let mut step = || {
        let before = ALLOCATIONS.load(Relaxed);
        for (shape, bn, [saved, evaluated], (x, mask), (y, dx, dresidual, dweight, dbias)) in &mut layers {
            let activations =
                [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::LeakyRelu(0.1)];
            for (i, activation) in activations.into_iter().cycle().take(16).enumerate() {
                let (plus, masked, by_y) = (i / 4 % 2 == 1, i / 8 == 1, i % 3 == 0);
                let mask = masked.then_some(&mask[..]);
                let mut options = Options::default().activation(activation);
                (options.residual, options.mask) = (plus.then_some(&x[..]), mask);
                let forward = Forward { options, ..Forward::new(*shape, x, &mut y[..]) };
                bn.forward_step(forward, saved, &mut workspace).unwrap();
                let mut kept = Kept::default();
                (kept.y, kept.mask) = (by_y.then_some(&y[..]), mask);
                kept.residual = (plus && !by_y).then_some(&x[..]);
                let backward = Backward {
                    kept,
                    dx: Some((&mut dx[..]).into()),
                    dresidual: plus.then_some(&mut dresidual[..]),
                    dweight: Some(dweight),
                    dbias: Some(dbias),
                    ..Backward::new(x, x)
                };
                bn.backward_step(backward, saved, &mut workspace).unwrap();
                // Over dy, and added to it; y over x, where the statistics are constants.
                dx.copy_from_slice(x);
                let over = Backward { kept, ..Backward::over(x, dx) };
                bn.backward_step(over, saved, &mut workspace).unwrap();
                let added = Backward { kept, dx: Some(To::Added(dx)), ..Backward::new(x, x) };
                bn.backward_step(added, saved, &mut workspace).unwrap();
                let over = Forward { options, ..Forward::over(*shape, dx) };
                bn.forward_eval_step(over, evaluated, &mut workspace).unwrap();
            }
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    (step(), (0..later).map(|_| step()).collect())
}

#[test]
fn steps_after_the_first_allocate_nothing() {
    // The harness has a few allocations of its own left when a test begins.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let shapes = [
        Shape::nc(2, 3),
        Shape::nc(128, 50),
        Shape::nc(40_000, 1),
        Shape::nc(7, 3000),
        Shape::nchw(4, 70, 7, 7),
        Shape::nhwc(2, 9, 9, 33),
    ]
    .map(Result::unwrap);
    let plain = [steps::<f32, Scalar>(&shapes, 3), steps::<f64, Scalar>(&shapes, 3)];
    let with = [steps_with_options::<f32, Scalar>(&shapes, 3), steps_with_options::<f64, Scalar>(&shapes, 3)];
    for (first, later) in plain.into_iter().chain(with) {
        assert!(first > 0, "the counter counts");
        assert_eq!(later, [0, 0, 0], "allocations of later steps");
    }
    #[cfg(all(feature = "dispatch", feature = "rayon"))]
    on_rayon();
}

/// On rayon the layer allocates nothing either, but rayon does. Inside of a pool nothing, once its workers have begun;
/// work that comes from outside is queued, and the queue takes a block for every 63 entries.
#[cfg(all(feature = "dispatch", feature = "rayon"))]
fn on_rayon() {
    use batchnorm::backend::{Dispatch, Rayon};
    // Large enough to be shared out: by features, by nodes of the sums and by rows.
    let shapes = [
        Shape::nc(4096, 160),
        Shape::nc(600_000, 1),
        Shape::nchw(8, 96, 28, 28),
        Shape::nhwc(16, 14, 14, 180),
    ]
    .map(Result::unwrap);
    // A worker that steals for the first time in a later step registers itself.
    let (count, late) = (20, 4);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let inside = [
        pool.install(|| steps::<f32, Rayon<Dispatch>>(&shapes, count)),
        pool.install(|| steps::<f64, Rayon<Dispatch>>(&shapes, count)),
    ];
    for (_, later) in inside {
        assert!(later.iter().sum::<usize>() <= late, "allocations of later steps in a pool: {later:?}");
    }
    // Each of the four calls, and of the eight of up to four virtual batches, is handed in once or twice: to reduce, and to map.
    // The double backward reduces three times.
    let queued = count * shapes.len() * (3 * 2 + 8 * 2 + 3 + 2);
    let later = steps::<f32, Rayon<Dispatch>>(&shapes, count).1;
    let total = later.iter().sum::<usize>();
    assert!(total <= queued / 63 + late, "allocations of later steps from outside of the pool: {later:?}");
}
