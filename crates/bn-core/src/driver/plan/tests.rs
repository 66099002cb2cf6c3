//! What the plan promises: whole cover, leaves that no number of samples moves, short sums.

use super::*;

fn plan(outer: usize, features: usize, inner: usize) -> Plan {
    Plan::new(Shape::new(outer, features, inner).unwrap())
}

/// Every row of the walked shape is in one unit, in order, or is a run of which all pieces are.
#[test]
fn units_cover_the_rows_once() {
    for (outer, features, inner) in [
        (400_000, 1, 1),
        (3, 1, 300_000),
        (2000, 1, 77),
        (100_352, 3, 1),
        (5, 3, 50_176),
        (7, 5, 3),
        (300, 2, 300),
        (0, 4, 1),
    ] {
        let plan = plan(outer, features, inner);
        let (mut row, mut at) = (0, 0);
        for unit in (0..plan.tree.leaves)
            .flat_map(|leaf| (0..plan.tree.pieces).map(move |piece| plan.unit(leaf, piece)))
        {
            assert_eq!(unit.rows.start, row, "{plan:?}");
            assert!(!unit.rows.is_empty());
            let Some(run) = unit.run else {
                row = unit.rows.end;
                continue;
            };
            assert_eq!((run.start, unit.rows.len()), (at, 1), "{plan:?}");
            assert!(!run.is_empty() && run.len() <= PIECE);
            at = if run.end == inner { 0 } else { run.end };
            row += usize::from(at == 0);
        }
        assert_eq!((row, at), (plan.shape.outer(), 0), "{plan:?}");
    }
}

/// Which leaf a sample is in follows from features and inner alone.
#[test]
fn the_number_of_samples_moves_no_leaf() {
    for (features, inner) in
        [(1, 1), (1, 300), (1, 1 << 20), (3, 1), (64, 1), (2048, 49), (64, 3136), (3, 50_176)]
    {
        let long = plan(5000 / inner.min(50), features, inner);
        for outer in 1..20 {
            let short = plan(outer, features, inner);
            assert_eq!((short.spread, short.leaf, short.piece), (long.spread, long.leaf, long.piece));
            assert_eq!(short.tree.pieces, long.tree.pieces);
        }
    }
}

/// What docs/numerics.md rests on: a value of up to 2³¹ goes through so many additions in a row, to its lane, in the folding of the lanes,
/// and in the tree.
#[test]
fn sums_are_shallow() {
    let features_and_inner =
        [1, 2, 3, 16, 17, 31, 49, 64, 255, 256, 257, 511, 8192, 8193, 12_800, 12_801, 50_176]
            .into_iter()
            .flat_map(|inner| [1, 2, 3, 50, 64, 300, 1024, 2048].map(|features| (features, inner)));
    for (features, inner) in features_and_inner {
        let plan = plan((1usize << 31).div_ceil(inner), features, inner);
        for piece in [0, plan.tree.pieces - 1] {
            let Unit { rows, run } = plan.unit(0, piece);
            let (terms, lanes) = match plan.spread {
                Spread::Run => {
                    (rows.len() * run.map_or(inner, |run| run.len()).div_ceil(f32::LANES), f32::LANES)
                }
                Spread::Phases(phases) => (rows.len().div_ceil(phases), phases),
                Spread::Positions(n) => (rows.len(), n),
            };
            let depth = terms + lanes.next_power_of_two().ilog2() as usize + plan.tree.levels() as usize;
            assert!(depth <= 426, "({features}, {inner}): {depth}");
        }
    }
}

#[test]
fn few_features_get_phases() {
    let one = plan(400_000, 1, 1);
    assert_eq!((one.spread, one.tree.leaves), (Spread::Phases(256), 25));
    assert_eq!(plan(32, 1, 12_544).shape, Shape::new(32 * 12_544, 1, 1).unwrap());
    assert_eq!(plan(4, 5, 1).spread, Spread::Phases(32));
    assert_eq!(plan(4, 300, 1).spread, Spread::Phases(3));
    assert_eq!(plan(4096, 1024, 1).spread, Spread::Phases(1));
    assert_eq!(plan(32, 2048, 49).spread, Spread::Positions(49));
    assert_eq!(plan(32, 64, 12_544).spread, Spread::Run);
}

/// What batches that are spread over machines have: leaves enough to be split at.
#[test]
fn batches_have_leaves_to_split_at() {
    for (outer, features, inner, least) in [
        (32, 64, 3136, 16),
        (64, 3, 50_176, 16),
        (100_352, 64, 1, 16),
        (4096, 1024, 1, 16),
        (32, 2048, 49, 1),
    ] {
        let leaves = plan(outer, features, inner).tree.leaves;
        println!(
            "({outer}, {features}, {inner}): {leaves} leaves of {} samples",
            leaf_samples(features, inner)
        );
        assert!(leaves >= least, "({outer}, {features}, {inner}): {leaves}");
    }
}

#[test]
fn parts_cover_a_block_once_and_keep_its_coefficients() {
    for (outer, features, inner) in
        [(4096, 1024, 1), (70, 16, 1), (3, 1024, 1), (2, 16, 1), (9, 8, 49), (9, 8, 300), (5, 0, 1)]
    {
        let plan = plan(outer, features, inner);
        let len = features * inner;
        for shift in if plan.spread == Spread::Run { 0..1 } else { 0..16.min(len + 1) } {
            let (row, mut at) = ((len * plan.phases()).max(1), 0);
            for part in plan.parts(outer, len, shift) {
                for _ in 0..part.rows {
                    // The row of coefficients is rotated by as much as the rows are shifted.
                    assert!(part.len <= row && (part.start + shift) % row == at % row, "{part:?}");
                    at += part.len;
                }
            }
            assert_eq!(at, outer * len, "{plan:?}, {shift}");
        }
    }
}

#[test]
fn values_are_spread_as_lanes_are() {
    let mut plan = plan(4, 3, 2);
    let mut row = [0; 6];
    plan.spread_over(&[1, 2, 3], &mut row);
    assert_eq!(row, [1, 1, 2, 2, 3, 3]);
    plan.spread = Spread::Phases(2);
    plan.spread_over(&[1, 2, 3], &mut row);
    assert_eq!(row, [1, 2, 3, 1, 2, 3]);
    plan.spread = Spread::Run;
    plan.spread_over(&[1, 2, 3], &mut row[..3]);
    assert_eq!(row[..3], [1, 2, 3]);
}
