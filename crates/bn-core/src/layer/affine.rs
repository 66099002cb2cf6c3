//! Which of γ and β a layer has.

/// Which parameters a layer has. Keras calls γ `scale` and β `center`, Flax `use_scale` and `use_bias`, PyTorch has both or none.
///
/// A parameter that the layer does not have is an array of length 0, and so is its gradient; the formulas then take 1 for γ and 0
/// for β. `true` and `false` are [`Both`](Self::Both) and [`None`](Self::None).
///
/// ```
/// use batchnorm::{Affine, BatchNorm, Config};
///
/// let config = Config::default().affine(Affine::Shift); // ReLU comes next: the layer behind it scales as well
/// let bn = BatchNorm::<f32>::with_config(64, config)?;
/// assert_eq!((bn.weight.len(), bn.bias.len()), (0, 64));
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// With the feature `serde` it is stored as its name; formats with types of their own, such as JSON, read a bool as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(remote = "Self"))]
pub enum Affine {
    /// y = γ·x̂ + β.
    #[default]
    Both,
    /// y = γ·x̂.
    Scale,
    /// y = x̂ + β.
    Shift,
    /// y = x̂.
    None,
}

impl Affine {
    /// Whether there is a γ.
    ///
    /// ```
    /// use batchnorm::Affine;
    ///
    /// assert!(Affine::Scale.scales() && !Affine::Shift.scales());
    /// ```
    #[must_use]
    pub fn scales(self) -> bool {
        matches!(self, Self::Both | Self::Scale)
    }

    /// Whether there is a β.
    ///
    /// ```
    /// use batchnorm::Affine;
    ///
    /// assert!(Affine::Shift.shifts() && !Affine::Scale.shifts());
    /// ```
    #[must_use]
    pub fn shifts(self) -> bool {
        matches!(self, Self::Both | Self::Shift)
    }

    /// As a layer prints it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Both => "true",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::None => "false",
        }
    }
}

impl From<bool> for Affine {
    fn from(both: bool) -> Self {
        if both { Self::Both } else { Self::None }
    }
}

#[cfg(feature = "serde")]
mod stored {
    use super::Affine;
    use serde::de::value::EnumAccessDeserializer;
    use serde::de::{EnumAccess, Error, IntoDeserializer, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt;

    impl Serialize for Affine {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            Self::serialize(self, to)
        }
    }

    impl<'de> Deserialize<'de> for Affine {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            if from.is_human_readable() { from.deserialize_any(NameOrBool) } else { Self::deserialize(from) }
        }
    }

    /// Earlier versions stored whether there are both.
    struct NameOrBool;

    impl<'de> Visitor<'de> for NameOrBool {
        type Value = Affine;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one of `Both`, `Scale`, `Shift`, `None`, `true`, `false` in affine")
        }

        fn visit_bool<E: Error>(self, both: bool) -> Result<Affine, E> {
            Ok(both.into())
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<Affine, E> {
            Affine::deserialize(name.into_deserializer())
        }

        fn visit_enum<A: EnumAccess<'de>>(self, name: A) -> Result<Affine, A::Error> {
            Affine::deserialize(EnumAccessDeserializer::new(name))
        }
    }
}
