//! Readers of options, whose errors name what was expected and what came.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A reader of whole numbers within a range.
pub fn whole<N: FromStr + PartialOrd + Display + Clone + Send + Sync>(
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!("expected a whole number from {} to {}, got {text:?}", range.start(), range.end())
        })
    }
}

/// Reads a finite number above zero.
///
/// # Errors
/// On any other text.
pub fn positive(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number: &f32| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a finite number greater than 0, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        let read = whole(2..=1000u32);
        assert_eq!((read("2"), read("1000")), (Ok(2), Ok(1000)));
        for bad in ["1", "1001", "-3", "4.5", "ten", ""] {
            assert_eq!(read(bad), Err(format!("expected a whole number from 2 to 1000, got {bad:?}")));
        }
        assert_eq!(positive("5e-3"), Ok(5e-3));
        for bad in ["0", "-1", "NaN", "inf", "1e-99", "fast", ""] {
            assert_eq!(positive(bad), Err(format!("expected a finite number greater than 0, got {bad:?}")));
        }
    }
}
