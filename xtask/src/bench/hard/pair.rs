//! A row's pair: answers checked, turns taken, records.

use super::super::group::Runner;
use super::super::record::{Record, summary};
use super::super::stop;
use super::{Against, Row, Type};
use benches::floor::Stores;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Inputs, Outputs, huge_share};
use benches::layer::Kernels;
use bn_conformance::data::X;
use bn_core::Element;
use half::{bf16, f16};
use std::time::{Duration, Instant};

/// A step of half precision may take so much of f32's time.
const HALF_BAR: f64 = 0.7;

/// A pass over many features may take so many times as long per element as one over few.
const MANY_BAR: f64 = 4.0;

/// Samples of each pass: no more where they have taken [`TIME`], but [`LEAST`].
const MOST: usize = 15;
const LEAST: usize = 3;
const TIME: Duration = Duration::from_secs(2);

/// Those that take turns on the same inputs and buffers: the layer first.
struct Side<T: Element> {
    all: Vec<Box<dyn Implementation<T>>>,
    inputs: Inputs<T>,
    outputs: Outputs<T>,
}

/// Sides of different element types.
trait Turn {
    /// The nanoseconds of a pass of one of them.
    fn time(&mut self, who: usize, pass: Pass) -> Result<f64, String>;
}

impl<T: Element> Turn for Side<T> {
    fn time(&mut self, who: usize, pass: Pass) -> Result<f64, String> {
        let time = self.all[who].time(pass, 1, &self.inputs, &mut self.outputs)?;
        Ok(time.as_nanos() as f64)
    }
}

impl<T: Element> Side<T> {
    /// The dispatched kernels on one thread, found to give the bits of the scalar ones.
    fn layer(inputs: Inputs<T>) -> Result<Self, String> {
        let mut outputs = Outputs::new(inputs.x.len());
        let mut answer = |kernels: Kernels| {
            let mut one = kernels.layer(&inputs, None).ok_or("expected these kernels to run here")?;
            let answer = one.answer(&inputs, &mut outputs)?.ok_or("expected an answer, got none")?;
            Ok::<_, String>((one, answer))
        };
        let (one, got) = answer(Kernels::Dispatch)?;
        got.check_bits(&answer(Kernels::Scalar)?.1)?;
        Ok(Self { all: vec![one], inputs, outputs })
    }

    /// With the floors of the same tensors after it.
    fn with_floors(mut self) -> Self {
        self.all.extend(Stores::ALL.map(|stores| stores.floor(None)));
        self
    }
}

/// The nanoseconds of the passes of `turns`, each one of a side, in the order of `passes`. What was asked
/// to stop returns what it has.
fn rounds(
    sides: &mut [&mut dyn Turn],
    turns: &[(usize, usize)],
    passes: &[Pass],
) -> Result<Vec<Vec<Vec<f64>>>, String> {
    let mut ns = vec![vec![Vec::new(); passes.len()]; turns.len()];
    for (i, &pass) in passes.iter().enumerate() {
        let start = Instant::now();
        for round in 0..MOST {
            if round >= LEAST && start.elapsed() > TIME {
                break;
            }
            for turn in 0..turns.len() {
                if stop::requested() {
                    return Ok(ns);
                }
                let turn = if round % 2 == 0 { turn } else { turns.len() - 1 - turn };
                let (side, who) = turns[turn];
                ns[turn][i].push(sides[side].time(who, pass)?);
            }
        }
    }
    Ok(ns)
}

impl Runner {
    /// Measures a row; where it was asked to stop, what there is of it.
    pub(crate) fn row(&mut self, row: &Row) -> Vec<Record> {
        let start = self.bar.position();
        self.bar.set_message(format!("{} {}", row.variant(), row.dtype.name()));
        self.bar.tick();
        let records = match row.dtype {
            Type::F32 => self.typed_row::<f32>(row),
            Type::F16 => self.typed_row::<f16>(row),
            Type::Bf16 => self.typed_row::<bf16>(row),
            Type::F64 => self.typed_row::<f64>(row),
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

    /// Times the layer on `inputs` and on `other` in turns.
    fn pair<T: Element, U: Element>(
        &self,
        row: &Row,
        against: &str,
        bar: f64,
        inputs: Inputs<T>,
        other: Inputs<U>,
    ) -> Result<Vec<Record>, String> {
        let bytes = size_of::<T>() * inputs.x.len();
        let per_element = inputs.x.len() as f64 / other.x.len() as f64;
        let (mut own, mut other) = (Side::layer(inputs)?.with_floors(), Side::layer(other)?);
        let huge_pages = huge_share(&own.inputs, &own.outputs);
        // The bar of half precision is one of whole steps.
        let (passes, barred): (&[Pass], &[Pass]) = match row.against {
            Against::Single => (&Pass::ALL, &[Pass::Step]),
            _ => (&[Pass::Forward, Pass::Backward], &[Pass::Forward, Pass::Backward]),
        };
        let ns = rounds(&mut [&mut other, &mut own], &[(0, 0), (1, 0), (1, 1), (1, 2)], passes)?;
        let record = |(i, &pass): (usize, &Pass)| {
            let [other_ns, own_ns, floors @ ..] = ns.as_slice() else {
                return None;
            };
            let (median_ns, min_ns, spread) = summary(&own_ns[i])?;
            let (other_median, other_min, _) = summary(&other_ns[i])?;
            let floor = floors.iter().filter_map(|floor| Some(summary(&floor[i])?.0)).reduce(f64::min)?;
            let bytes = (pass.tensors() * bytes) as u64;
            Some(Record {
                name: row.named.name.clone(),
                shape: row.named.shape_text(),
                layout: row.named.layout_name.to_lowercase(),
                dtype: T::NAME.into(),
                pass: pass.name().into(),
                variant: row.variant(),
                implementation: own.all[0].name().into(),
                threads: own.all[0].threads(),
                median_ns,
                min_ns,
                spread,
                samples: own_ns[i].len(),
                bytes,
                gbps: bytes as f64 / median_ns,
                roofline_gbps: bytes as f64 / floor,
                huge_pages,
                against: Some(against.into()),
                against_median_ns: Some(other_median * per_element),
                against_min_ns: Some(other_min * per_element),
                bar: barred.contains(&pass).then_some(bar),
                cpu: self.machine.cpu.clone(),
                rustc: self.machine.rustc.clone(),
                date: self.machine.date.clone(),
                ..Record::default()
            })
        };
        Ok(passes.iter().enumerate().filter_map(record).collect())
    }
}
