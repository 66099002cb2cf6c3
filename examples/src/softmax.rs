//! Softmax and cross-entropy in one, so that neither overflows.

use ndarray::{Array2, Axis, Zip};

/// The mean cross-entropy of a batch in nats, and its gradient for the logits: (softmax − one-hot) / N.
pub fn cross_entropy(logits: &Array2<f32>, labels: &[usize]) -> (f64, Array2<f32>) {
    let n = labels.len() as f32;
    let mut grad = logits.clone();
    let mut loss = 0.0;
    for (mut row, &label) in grad.rows_mut().into_iter().zip(labels) {
        // e^(z − max) is at most 1, and their sum at least 1.
        let max = row.fold(f32::NEG_INFINITY, |max, &z| max.max(z));
        row -= max;
        let target = f64::from(row[label]);
        row.mapv_inplace(f32::exp);
        let sum = row.sum();
        loss += f64::from(sum).ln() - target;
        row /= sum;
        row[label] -= 1.0;
    }
    grad /= n;
    (loss / f64::from(n), grad)
}

/// How many rows have their largest logit at their label.
pub fn hits(logits: &Array2<f32>, labels: &[usize]) -> usize {
    let mut hits = 0;
    Zip::from(logits.rows()).and(labels).for_each(|row, &label| {
        let others = row.iter().enumerate().filter(|&(class, _)| class != label);
        // A tie is a miss, as is a NaN: a network that says nothing is not right about class 0.
        hits += usize::from(others.fold(true, |hit, (_, &z)| hit && z < row[label]));
    });
    debug_assert_eq!(logits.len_of(Axis(0)), labels.len());
    hits
}
