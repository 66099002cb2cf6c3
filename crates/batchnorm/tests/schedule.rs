//! Schedules are learned from steps: the bits stay, and so does what is allocated. One test, since the table is the program's.
#![cfg(feature = "dispatch")]

use batchnorm::backend::Dispatch;
use batchnorm::schedule::{self, Learned, Policy};
use batchnorm::{BatchNorm, Grads, Saved, Shape, Workspace};

/// The outputs of a step as bits.
type Bits = [Vec<u32>; 4];

struct Loop {
    shape: Shape,
    bn: BatchNorm<f32, Dispatch>,
    saved: Saved<f32>,
    workspace: Workspace<f32>,
    x: Vec<f32>,
    dy: Vec<f32>,
    outputs: [Vec<f32>; 4],
}

impl Loop {
    fn new(shape: Shape, value: impl Fn(usize) -> f32) -> Self {
        let (len, features) = (shape.len(), shape.features());
        let outputs = [len, len, features, features].map(|len| vec![1.0; len]);
        Self {
            shape,
            bn: BatchNorm::new(features).unwrap(),
            saved: Saved::default(),
            workspace: Workspace::default(),
            x: (0..len).map(&value).collect(),
            dy: (0..len).map(|i| value(i + 3)).collect(),
            outputs,
        }
    }

    fn step(&mut self) -> Bits {
        let [y, dx, dweight, dbias] = &mut self.outputs;
        self.bn.forward_into(self.shape, &self.x, y, &mut self.saved, &mut self.workspace).unwrap();
        let grads = Grads { dx, dweight, dbias };
        self.bn.backward_into(&self.saved, &self.x, &self.dy, grads, &mut self.workspace).unwrap();
        self.outputs.each_ref().map(|values| values.iter().map(|v| v.to_bits()).collect())
    }

    fn learned(&self) -> Vec<Learned> {
        let size = [self.shape.outer(), self.shape.features(), self.shape.inner()].map(usize::ilog2);
        schedule::learned().into_iter().filter(|learned| learned.class.size == size).collect()
    }
}

fn ordinary(i: usize) -> f32 {
    (i * 7919 % 4099) as f32 / 2049.5 - 1.0
}

#[test]
fn steps_learn_and_give_the_same_bits() {
    Policy::Learn.set();
    for shape in [Shape::nchw(8, 32, 56, 56), Shape::nchw(32, 128, 14, 14), Shape::nc(1024, 1024)] {
        let mut one = Loop::new(shape.unwrap(), ordinary);
        let first = one.step();
        for step in 1..70 {
            assert!(one.step() == first, "other bits in step {step} of {:?}", one.shape);
        }
        let learned = one.learned();
        assert_eq!(learned.len(), 2, "a forward and a backward: {learned:?}");
        for learned in &learned {
            let tried = learned.tried.iter().filter(|tried| tried.times > 0).count();
            assert!(learned.settled && tried > 1, "{learned:?}");
        }
    }

    // Data far from zero are summed twice, and take longer by themselves: nothing is learned from them.
    let mut far = Loop::new(Shape::nchw(4, 64, 56, 56).unwrap(), |i| 1000.0 + ordinary(i));
    (0..70).for_each(|_| drop(far.step()));
    let learned = far.learned();
    assert!(learned.iter().all(|learned| learned.tried.iter().all(|tried| tried.times == 0)), "{learned:?}");

    // Where nothing is to be learned nothing is.
    Policy::Fixed.set();
    let mut fixed = Loop::new(Shape::nchw(16, 32, 56, 56).unwrap(), ordinary);
    (0..3).for_each(|_| drop(fixed.step()));
    assert!(fixed.learned().is_empty());

    // What was loaded is taken there as well.
    let text = schedule::saved();
    assert_eq!(schedule::load(&text), Ok(text.lines().count()));
    let mut again = Loop::new(Shape::nchw(8, 32, 56, 56).unwrap(), ordinary);
    let before = again.learned();
    let bits = again.step();
    assert!((0..3).all(|_| again.step() == bits));
    let choices = |learned: &[Learned]| learned.iter().map(|one| one.choice).collect::<Vec<_>>();
    assert_eq!(choices(&again.learned()), choices(&before));
}
