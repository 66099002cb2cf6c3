//! Hard data: what leaves a type's comfortable range against ordinary data, half precision against
//! f32, many features against few.
//!
//! A row is a pair that takes turns, pass by pass, on one thread of the default backend (`pair.rs`).
//! Its figure is the one's time as a multiple of the other's (`text.rs`).

mod pair;
mod text;

pub(super) use text::{figure, heading, line, summary};

use benches::hard::Hard;
use benches::shapes::{self, Named};
use bn_core::Element;
use half::{bf16, f16};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    F32,
    F16,
    Bf16,
    F64,
}

impl Type {
    const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::F64];

    fn name(self) -> &'static str {
        match self {
            Self::F32 => f32::NAME,
            Self::F16 => f16::NAME,
            Self::Bf16 => bf16::NAME,
            Self::F64 => f64::NAME,
        }
    }

    fn kinds(self) -> Vec<Hard> {
        match self {
            Self::F32 => Hard::all::<f32>(),
            Self::F16 => Hard::all::<f16>(),
            Self::Bf16 => Hard::all::<bf16>(),
            Self::F64 => Hard::all::<f64>(),
        }
    }
}

/// What a row is timed against.
#[derive(Clone, Debug)]
enum Against {
    /// The row has hard data, this one ordinary data of the same shape and type.
    Plain(Hard),
    /// The row is of half precision, this one f32.
    Single,
    /// The row has many features, this one few; per element.
    Shape(Named),
}

/// A row to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    named: Named,
    dtype: Type,
    against: Against,
}

impl Row {
    /// Every row that holds `filter` in its variant, or in its shape's name, layout, dimensions or
    /// type. A quick run has few of them.
    pub(crate) fn list(quick: bool, filter: Option<&str>) -> Result<Vec<Self>, String> {
        let load = |list| shapes::load(list).map_err(|error| format!("{list}.txt: {error}"));
        let most = if quick { 1 } else { usize::MAX };
        let mut rows = Vec::new();
        for named in load("hard")?.into_iter().take(most) {
            for dtype in Type::ALL {
                let short = matches!(dtype, Type::F32 | Type::F16);
                let taken = |hard: &Hard| !quick || short && hard.is_common();
                let row = |hard| Self { named: named.clone(), dtype, against: Against::Plain(hard) };
                rows.extend(dtype.kinds().into_iter().filter(taken).map(row));
            }
        }
        for named in load("half")?.into_iter().take(most) {
            let row = |dtype| Self { named: named.clone(), dtype, against: Against::Single };
            rows.extend([Type::F16, Type::Bf16].map(row));
        }
        if let [few, many @ ..] = load("many")?.as_slice() {
            let row = |named: &Named| {
                let against = Against::Shape(few.clone());
                Self { named: named.clone(), dtype: Type::F32, against }
            };
            rows.extend(many.iter().take(most).map(row));
        }
        let wanted = filter.unwrap_or_default().to_lowercase();
        rows.retain(|row| row.text().to_lowercase().contains(&wanted));
        Ok(rows)
    }

    /// What a filter looks through.
    fn text(&self) -> String {
        let Named { name, layout_name, .. } = &self.named;
        let (dims, shape) = (self.named.dims_text(), self.named.shape_text());
        format!("{} {name} {layout_name} {dims} {shape} {}", self.variant(), self.dtype.name())
    }

    /// `hard:NAME`, or `plain`.
    fn variant(&self) -> String {
        match self.against {
            Against::Plain(hard) => format!("hard:{}", hard.name()),
            Against::Single | Against::Shape(_) => "plain".into(),
        }
    }

    /// About how long it will take, in milliseconds, where nothing is slow.
    pub(crate) fn weight(&self) -> u64 {
        200 + self.named.shape.len() as u64 / 8_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_names() {
        let texts = |quick, filter| -> Vec<String> {
            Row::list(quick, filter).unwrap().iter().map(Row::text).collect()
        };
        let all = texts(false, None);
        assert_eq!(texts(false, Some("hard")), all, "every row is one of hard data");
        let kinds: usize = Type::ALL.iter().map(|dtype| dtype.kinds().len()).sum();
        assert_eq!(all.len(), 3 * kinds + 2 * 2 + 2);
        assert_eq!(texts(false, Some("HARD:DY_NAN")).len(), 3 * 4);
        assert_eq!(texts(false, Some("1024x512 f64")).len(), Type::F64.kinds().len());
        assert_eq!(texts(false, Some("one_of_64")).len(), 3 * (2 + 2 + 2 + 1));
        assert_eq!(texts(false, Some("hard_many")).len(), 2);
        assert_eq!(texts(false, Some("resnet51")), [""; 0]);
        let quick = texts(true, Some("hard"));
        assert!(quick.len() < 10 && quick.iter().all(|row| all.contains(row)), "{quick:?}");
        for part in ["hard:weight_1e-33 ", "hard:dy_nan", " f16", "hard_half", "hard_many"] {
            assert!(quick.iter().any(|row| row.contains(part)), "{part} in {quick:?}");
        }
    }
}
