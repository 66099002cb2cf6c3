//! The rows of a block's map: shared out, or in an order that finds them in cache.

use super::plan::Plan;
use crate::kernel::Executor;
use crate::kernel::schedule::L2_BYTES;
use crate::tensor::StripsMut;
use std::ops::Range;

/// What is mapped in one call of a block that does not stay in L2.
const PIECE_BYTES: usize = 256 << 10;

/// Hands `out` and the range of its rows to `map`, cut into `jobs` ranges of whole phases to be run at once.
pub(super) fn map_rows<T: Copy + Send>(
    exec: &impl Executor,
    plan: &Plan,
    jobs: usize,
    rows: Range<usize>,
    out: StripsMut<'_, T>,
    map: &(impl Fn(Range<usize>, StripsMut<'_, T>) + Sync),
) {
    let groups = rows.len() / plan.phases();
    if jobs < 2 || groups < 2 {
        // Of a part there is no saying whose L2 it was summed in.
        let whole = rows.len() == plan.shape.outer();
        return if whole { backwards(plan, rows, out, map) } else { map(rows, out) };
    }
    let cut = groups / 2 * plan.phases();
    let (head, tail) = out.split_rows(cut);
    let (first, second) = (rows.start..rows.start + cut, rows.start + cut..rows.end);
    exec.join(
        || map_rows(exec, plan, jobs / 2, first, head, map),
        || map_rows(exec, plan, jobs - jobs / 2, second, tail, map),
    );
}

/// Hands `out` and the range of its rows to `map`. What does not stay in L2 goes piece by piece, the last rows first:
/// they were read last and are the likeliest to be still there. Of many times L2 too little is there to be worth it.
fn backwards<T: Copy + Send>(
    plan: &Plan,
    rows: Range<usize>,
    out: StripsMut<'_, T>,
    map: &(impl Fn(Range<usize>, StripsMut<'_, T>) + Sync),
) {
    let row = (out.len() * size_of::<T>()).max(1);
    if !(L2_BYTES / 2..=4 * L2_BYTES).contains(&(rows.len() * row)) {
        return map(rows, out);
    }
    let piece = (PIECE_BYTES / row).max(1).next_multiple_of(plan.phases());
    let (mut out, mut end) = (out, rows.end);
    while end > rows.start + piece {
        let cut = rows.start + (end - rows.start - 1) / piece * piece;
        let (head, tail) = out.split_rows(cut - rows.start);
        map(cut..end, tail);
        (out, end) = (head, cut);
    }
    map(rows.start..end, out);
}
