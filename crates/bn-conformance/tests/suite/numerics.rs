//! What the proof in docs/numerics.md rests on, by trial.

use bn_conformance::data::rng;
use rand::RngExt;

const U: f64 = 1.0 / (1u64 << 24) as f64;

/// A random finite f32: its exponent within `apart` of that of `near`, or anywhere where that is `None`.
fn value(rng: &mut rand_pcg::Pcg64Mcg, near: Option<(f32, i64)>) -> f32 {
    let bits = match near {
        None => rng.random_range(0..0x7f80_0000u32),
        Some((near, apart)) => {
            let exponent = i64::from(near.abs().to_bits() >> 23) + rng.random_range(-apart..=apart);
            let mantissa: u32 = [0, 1, 2, 0x7f_ffff, rng.random_range(0..0x80_0000)][rng.random_range(0..5)];
            (exponent.clamp(0, 254) as u32) << 23 | mantissa
        }
    };
    f32::from_bits(bits) * if rng.random_range(0..2) == 0 { 1.0 } else { -1.0 }
}

/// The smallest |x−k| / |δ| that was seen where x−k is inexact, δ being the largest that rounds to k.
fn least_ratio() -> f64 {
    let mut rng = rng(2);
    let mut least = f64::INFINITY;
    for i in 0..2_000_000 {
        let k = value(&mut rng, None);
        let x = value(&mut rng, Some((k, [1, 2, 30][i % 3])));
        let exact = f64::from(x) - f64::from(k);
        // Sums of two f32 that are far apart are rounded even in f64, and far from what is asked.
        if f64::from(x - k) == exact || !(x - k).is_finite() {
            continue;
        }
        let up = f64::from(f32::from_bits(k.abs().to_bits() + 1)) - f64::from(k.abs());
        least = least.min(exact.abs() / (up / 2.0));
    }
    least
}

#[test]
fn an_inexact_difference_dwarfs_delta() {
    let least = least_ratio();
    assert!(least >= 1.0 / (2.0 * U), "|x−k| came down to {least} |δ|");
    // The lemma has no room: half of it would be wrong.
    assert!(least < 1.01 / (2.0 * U), "|x−k| stayed above {least} |δ|");
}

/// The units of roundoff of each term that the maps lose at most, with |δ| up to κσ; the shares of the terms vary.
fn worst(kappa: f64, count: fn(f64, f64, f64, bool) -> f64) -> f64 {
    let shares = (0..=1000).map(|i| f64::from(i) / 1000.0);
    let of = |share: f64| count(share, 1.0 - share, kappa, true).max(count(share, 1.0 - share, 0.0, false));
    shares.map(of).fold(0.0, f64::max)
}

/// y: g = |γ·x̂|, β = |β|; with x−k exact, |Aδ| is up to κg.
fn y(g: f64, beta: f64, kappa: f64, exact: bool) -> f64 {
    let moved = kappa * g;
    let product = if exact { 2.0 } else { 3.0 } * (g + moved);
    product + (beta + moved) + (g + beta)
}

/// dx: p = |G(dy−M)|, q = |C(x−μ)|.
fn dx(p: f64, q: f64, kappa: f64, exact: bool) -> f64 {
    let moved = kappa * q;
    let products = 3.0 * p + if exact { 2.0 } else { 3.0 } * (q + moved);
    products + (p + q + moved) + moved + (p + q)
}

#[test]
fn the_roundings_add_up_to_the_limits() {
    // Sums of shares are rounded too.
    assert!((worst(0.25, y) - 4.0).abs() < 1e-12 && (worst(0.25, dx) - 5.0).abs() < 1e-12);
    // Beyond a quarter of σ they do not: the bound on δ is needed.
    assert!(worst(0.35, y) > 4.01 && worst(0.26, dx) > 5.01);
    // A δ that is rounded to the type of the map costs one unit of |Cδ| more, which dx has no room for.
    assert!(worst(0.25, |p, q, k, exact| dx(p, q, k, exact) + k * q) > 5.01);
}
