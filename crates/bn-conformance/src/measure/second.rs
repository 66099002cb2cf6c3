//! The scales of the double backward.

use super::ext::Ext;
use super::terms::{SHARE, finite, largest, norm};
use crate::case::Tensor;

/// What a feature's scales are made of.
pub(super) struct Own<'a> {
    pub(super) from_batch: bool,
    pub(super) invstd: Ext,
    /// |γ|·invstd.
    pub(super) gain: Ext,
    pub(super) xhat: &'a [Ext],
    pub(super) dy: &'a [Ext],
    /// Empty where there is none.
    pub(super) v: Vec<Ext>,
    /// |w| and |z|.
    pub(super) params: [Ext; 2],
}

/// The scales of a feature, without |expect|.
#[derive(Clone, Debug)]
pub(super) struct Second {
    dy: Ext,
    x: Ext,
    /// Beside |expect|, and what comes on top of the larger one.
    weight: [Ext; 2],
}

impl Second {
    pub(super) fn get(&self, tensor: Tensor, expect: Ext) -> Ext {
        match tensor {
            Tensor::DdDy => self.dy,
            Tensor::DdX => self.x,
            _ => expect.max(self.weight[0]) + self.weight[1],
        }
    }

    pub(super) fn of(own: &Own<'_>) -> Self {
        let Own { invstd, gain, xhat, dy, v, params: [w, z], .. } = own;
        let (s, gain, w, z) = (*invstd, *gain, *w, *z);
        let max = |values: &[Ext]| largest(values.iter().copied());
        let (max_xhat, max_v, max_dy) = (max(xhat), max(v), max(dy));
        if !own.from_batch {
            return Self {
                dy: finite(gain * max_v) + finite(w * max_xhat) + finite(z),
                x: finite(w * s * max_dy),
                weight: [finite(s * norm(v.iter().zip(*dy).map(|(v, g)| *v * *g))), Ext::ZERO],
            };
        }
        let n = Ext::new(xhat.len() as f64);
        let centred = |values: &[Ext]| {
            let mean = values.iter().copied().sum::<Ext>() / n;
            values.iter().map(|v| *v - mean).collect::<Vec<Ext>>()
        };
        let mean = |a: &[Ext], b: &[Ext]| a.iter().zip(b).map(|(a, b)| *a * *b).sum::<Ext>() / n;
        let (g, u) = (centred(dy), centred(v));
        let (h, p, q) = (mean(&g, xhat), mean(&u, xhat), mean(&g, &u));
        let (far_g, far_u, hp) = (max(&g), max(&u), (h * p).abs());
        let (share, most, three) = (Ext::power_of_two(SHARE), max_xhat.max(Ext::new(1.0)), Ext::new(3.0));
        let both = share * s * max_v * max_dy;
        Self {
            dy: finite(gain * far_u)
                + finite(gain * max_xhat * p.abs())
                + finite(share * gain * max_v * most)
                + finite(w * max_xhat)
                + finite(z),
            x: finite(gain * s * h.abs() * far_u)
                + finite(gain * s * p.abs() * far_g)
                + finite(gain * s * max_xhat * (q.abs() + three * hp))
                + finite(w * s * far_g)
                + finite(w * s * max_xhat * h.abs())
                + finite(gain * both * most * most)
                + finite(share * w * s * max_dy * most),
            weight: [
                finite(s * norm(u.iter().zip(&g).map(|(u, g)| *u * *g))) + finite(n * s * hp),
                finite(n * both),
            ],
        }
    }
}
