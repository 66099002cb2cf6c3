//! Hard data: what leaves a type's comfortable range against ordinary data, half precision against f32, many features
//! against few.
//!
//! A row is a pair that takes turns, pass by pass, on one thread of the default backend. Its figure is the one's time as a
//! multiple of the other's.

use super::group::Runner;
use super::measure::{Budget, Samples, rounds, turn};
use super::record::{Record, summary};
use benches::floor::Stores;
use benches::hard::Hard;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs, huge_share};
use benches::layer::Kernels;
use benches::shapes::{self, Named};
use bn_conformance::data::X;
use bn_core::Element;
use half::{bf16, f16};
use std::cell::RefCell;
use std::time::Duration;

/// A step of half precision may take so much of f32's time.
const HALF_BAR: f64 = 0.7;

/// A pass over many features may take so many times as long per element as one over few.
const MANY_BAR: f64 = 4.0;

/// What a row may take.
const BUDGET: Budget = Budget { time: Duration::from_secs(4), least: 3, most: 15 };

/// A type's kinds of hard data.
type Kinds = fn() -> Vec<Hard>;

/// The element types.
const TYPES: [(&str, Kinds); 4] = [
    (f32::NAME, Hard::all::<f32>),
    (f16::NAME, Hard::all::<f16>),
    (bf16::NAME, Hard::all::<bf16>),
    (f64::NAME, Hard::all::<f64>),
];

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
    dtype: &'static str,
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
            for (dtype, kinds) in TYPES {
                let taken = |hard: &Hard| !quick || ["f32", "f16"].contains(&dtype) && hard.is_common();
                let row = |hard| Self { named: named.clone(), dtype, against: Against::Plain(hard) };
                rows.extend(kinds().into_iter().filter(taken).map(row));
            }
        }
        for named in load("half")?.into_iter().take(most) {
            let row = |dtype| Self { named: named.clone(), dtype, against: Against::Single };
            rows.extend([f16::NAME, bf16::NAME].map(row));
        }
        if let [few, many @ ..] = load("many")?.as_slice() {
            let against = || Against::Shape(few.clone());
            let row = |named: &Named| Self { named: named.clone(), dtype: f32::NAME, against: against() };
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
        format!("{} {name} {layout_name} {dims} {shape} {}", self.variant(), self.dtype)
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

/// The dispatched kernels on one thread, found to give the bits of the scalar ones, with what they work on.
struct Side<T: Element> {
    layer: Box<dyn Implementation<T>>,
    inputs: Inputs<T>,
    outputs: RefCell<Outputs<T>>,
}

impl<T: Element> Side<T> {
    fn new(inputs: Inputs<T>) -> Result<Self, String> {
        let mut outputs = Outputs::new(inputs.x.len());
        let mut answer = |kernels: Kernels| {
            let mut one = kernels.layer(&inputs, None).ok_or("expected these kernels to run here")?;
            let answer = one.answer(&inputs, &mut outputs)?.ok_or("expected an answer, got none")?;
            Ok::<_, String>((one, answer))
        };
        let (layer, got) = answer(Kernels::Dispatch)?;
        got.check_bits(&answer(Kernels::Scalar)?.1)?;
        Ok(Self { layer, inputs, outputs: RefCell::new(outputs) })
    }
}

impl Runner {
    /// Measures a row; where it was asked to stop, what there is of it.
    pub(crate) fn row(&mut self, row: &Row) -> Vec<Record> {
        let start = self.bar.position();
        self.bar.set_message(format!("{} {}", row.variant(), row.dtype));
        self.bar.tick();
        let records = match row.dtype {
            "f64" => self.typed_row::<f64>(row),
            "f16" => self.typed_row::<f16>(row),
            "bf16" => self.typed_row::<bf16>(row),
            _ => self.typed_row::<f32>(row),
        };
        self.bar.set_position(start + row.weight());
        records.unwrap_or_else(|error| {
            self.notes.push(format!("dispatch: not timed at {}: {error}", row.text()));
            self.wrong += 1;
            vec![]
        })
    }

    fn typed_row<T: Element>(&self, row: &Row) -> Result<Vec<Record>, String> {
        let inputs = Inputs::<T>::new(&row.named, X::Shifted);
        match &row.against {
            Against::Plain(hard) => self.pair(row, "plain", hard.bar::<T>(), hard.of(&inputs), inputs),
            Against::Single => {
                let single = Inputs::<f32>::new(&row.named, X::Shifted);
                self.pair(row, f32::NAME, HALF_BAR, inputs, single)
            }
            Against::Shape(few) => {
                self.pair(row, &few.shape_text(), MANY_BAR, inputs, Inputs::<T>::new(few, X::Shifted))
            }
        }
    }

    /// Times the layer on `inputs` and on `other` in turns, with the floors of the former.
    fn pair<T: Element, U: Element>(
        &self,
        row: &Row,
        against: &str,
        bar: f64,
        inputs: Inputs<T>,
        other: Inputs<U>,
    ) -> Result<Vec<Record>, String> {
        let per_element = inputs.x.len() as f64 / other.x.len() as f64;
        let (mut own, mut other) = (Side::new(inputs)?, Side::new(other)?);
        let huge_pages = huge_share(&own.inputs, &own.outputs.borrow());
        // The bar of half precision is one of whole steps.
        let (passes, barred): (&[Pass], &[Pass]) = match row.against {
            Against::Single => (&Pass::ALL, &[Pass::Step]),
            _ => (&[Pass::Forward, Pass::Backward], &[Pass::Forward, Pass::Backward]),
        };
        let mut floors = Stores::ALL.map(|stores| stores.floor::<T>(None));
        let mut turns = vec![
            turn(&mut other.layer, &other.inputs, &other.outputs),
            turn(&mut own.layer, &own.inputs, &own.outputs),
        ];
        turns.extend(floors.iter_mut().map(|floor| turn(floor, &own.inputs, &own.outputs)));
        let samples = rounds(&mut turns, passes, BUDGET, &|_| ());
        drop(turns);
        if let Some(error) = samples.iter().find_map(|samples| samples.failed.clone()) {
            return Err(error);
        }
        let record = |s: &Samples| {
            let same = |who| samples.iter().find(|other| other.who == who && other.pass == s.pass);
            let (other_median, other_min, _) = summary(&same(0)?.ns)?;
            let floor = [2, 3].into_iter().filter_map(|who| same(who)?.median()).reduce(f64::min)?;
            Some(Record {
                variant: row.variant(),
                huge_pages,
                against: Some(against.into()),
                against_median_ns: Some(other_median * per_element),
                against_min_ns: Some(other_min * per_element),
                bar: barred.contains(&s.pass).then_some(bar),
                ..self.record(&own.inputs, own.layer.as_ref(), s, floor)?
            })
        };
        Ok(samples.iter().filter(|s| s.who == 1).filter_map(record).collect())
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
        let kinds: usize = TYPES.iter().map(|(_, kinds)| kinds().len()).sum();
        assert_eq!(all.len(), 3 * kinds + 2 * 2 + 2);
        assert_eq!(texts(false, Some("HARD:DY_NAN")).len(), 3 * 4);
        assert_eq!(texts(false, Some("1024x512 f64")).len(), Hard::all::<f64>().len());
        assert_eq!(texts(false, Some("hard_many")).len(), 2);
        assert_eq!(texts(false, Some("resnet51")), [""; 0]);
        let quick = texts(true, Some("hard"));
        assert!(quick.len() < 10 && quick.iter().all(|row| all.contains(row)), "{quick:?}");
        for part in ["hard:weight_1e-33 ", "hard:dy_nan", " f16", "hard_half", "hard_many"] {
            assert!(quick.iter().any(|row| row.contains(part)), "{part} in {quick:?}");
        }
    }
}
