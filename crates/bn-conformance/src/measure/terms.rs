//! The sizes of terms that scales are made of.

use super::ext::Ext;

/// The weight of what the wide type's own errors are measured against: 2 to this power.
pub(super) const SHARE: i32 = -20;

/// A term, or nothing where it is not finite: then what is finite is held to the other terms.
pub(super) fn finite(term: Ext) -> Ext {
    if term.is_finite() { term } else { Ext::ZERO }
}

/// The largest size; NaN and infinities do not count.
pub(super) fn largest(values: impl Iterator<Item = Ext>) -> Ext {
    values.map(|v| finite(v.abs())).fold(Ext::ZERO, Ext::max)
}

pub(super) fn norm(values: impl Iterator<Item = Ext>) -> Ext {
    finite(values.map(|v| v * v).sum::<Ext>().sqrt())
}
