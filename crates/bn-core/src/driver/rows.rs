//! The rows of a block's map: shared out, or in an order that finds them in cache.

use super::cut::Cut;
use super::pass::join;
use super::plan::Plan;
use super::target::Target;
use crate::kernel::Executor;
use crate::num::Element;
use std::ops::Range;

/// Hands `out` and the range of its rows to `map`, cut into `jobs` ranges of whole phases to be run at once.
pub(super) fn map_rows<T: Element>(
    exec: &dyn Executor,
    (plan, cut): (&Plan, &Cut),
    jobs: usize,
    rows: Range<usize>,
    out: Target<'_, T>,
    map: &(dyn Fn(Range<usize>, Target<'_, T>) + Sync),
) {
    let groups = rows.len() / plan.phases();
    if jobs < 2 || groups < 2 {
        // Of a part there is no saying whose L2 it was summed in.
        let whole = rows.len() == plan.shape.outer();
        let piece = cut.schedule.from_end;
        return if whole && piece > 0 { from_end(plan, piece, rows, out, map) } else { map(rows, out) };
    }
    let middle = groups / 2 * plan.phases();
    let (head, tail) = out.split_rows(middle);
    let (first, second) = (rows.start..rows.start + middle, rows.start + middle..rows.end);
    join(
        exec,
        || map_rows(exec, (plan, cut), jobs / 2, first, head, map),
        || map_rows(exec, (plan, cut), jobs - jobs / 2, second, tail, map),
    );
}

/// Hands `out` and the range of its rows to `map` in pieces of so many bytes, the last rows first: they were read last and are
/// the likeliest to be still in a cache.
fn from_end<T: Element>(
    plan: &Plan,
    piece: usize,
    rows: Range<usize>,
    out: Target<'_, T>,
    map: &(dyn Fn(Range<usize>, Target<'_, T>) + Sync),
) {
    let row = (out.len() * size_of::<T>()).max(1);
    let piece = (piece / row).max(1).next_multiple_of(plan.phases());
    let (mut out, mut end) = (out, rows.end);
    while end > rows.start + piece {
        let cut = rows.start + (end - rows.start - 1) / piece * piece;
        let (head, tail) = out.split_rows(cut - rows.start);
        map(cut..end, tail);
        (out, end) = (head, cut);
    }
    map(rows.start..end, out);
}
