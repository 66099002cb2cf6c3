//! error(t) of those that were timed, on centred data and a thousand σ from zero.

use super::plan::{Contestant, Kind};
use super::record::Record;
use benches::inputs::{Answer, Inputs, Outputs};
use bn_conformance::case::{Case, Results, Tensor};
use bn_conformance::data::X;
use bn_conformance::measure::check_within;
use bn_conformance::table::expected;
use bn_core::{Config, Mode, Real};

/// The two kinds of data.
pub(crate) const DATA: [X; 2] = [X::Normal, X::LargeMean];

/// The errors of one, by its name and threads: of y and of dx.
pub(crate) type Errors = Vec<(String, usize, [f64; 2])>;

/// Runs a step of everyone on these inputs and compares with the oracle. Who fails is left out: it was told before.
pub(crate) fn errors<T: Real>(
    all: &mut [Contestant<T>],
    inputs: &Inputs<T>,
    outputs: &mut Outputs<T>,
) -> Errors {
    let mut case = Case::<T> {
        name: inputs.named.name.clone(),
        dims: inputs.named.dims.clone(),
        mode: Mode::Train,
        config: Config::default().layout(inputs.named.layout),
        num_batches_tracked: 0,
        x: inputs.x_slice().to_vec(),
        dy: Some(inputs.dy_slice().to_vec()),
        affine: [&inputs.weight, &inputs.bias].map(|param| Some(param.to_vec())),
        ..Case::default()
    };
    case.expect = expected(&case);
    case.expect.keep(&[Tensor::Y, Tensor::Dx]);
    let mut errors = Errors::new();
    // All of ours have the same bits, which was checked.
    let mut ours = None;
    for Contestant { kind, one } in all {
        let known = ours.filter(|_| *kind == Kind::Ours);
        let found = known.or_else(|| match one.answer(inputs, outputs) {
            Ok(Some(answer)) => Some(of(&case, answer)),
            _ => None,
        });
        if *kind == Kind::Ours {
            ours = found;
        }
        errors.extend(found.map(|found| (one.name().to_string(), one.threads(), found)));
    }
    errors
}

fn of<T: Real>(case: &Case<T>, answer: Answer<T>) -> [f64; 2] {
    let wide = |values: &[T]| values.iter().map(|v| v.to_f64()).collect();
    let mut got = Results::default();
    got.insert(Tensor::Y, wide(&answer.y));
    got.insert(Tensor::Dx, wide(&answer.dx));
    let rows = check_within(case, &got, |_| f64::INFINITY);
    let error = |tensor| rows.iter().find(|row| row.tensor == tensor).map_or(f64::NAN, |row| row.error);
    [error(Tensor::Y), error(Tensor::Dx)]
}

/// Writes errors on the data of [`DATA`] beside the steps that they belong to.
pub(crate) fn enter(records: &mut [Record], data: usize, errors: &Errors) {
    for record in records.iter_mut().filter(|record| record.pass == "step") {
        let own = errors
            .iter()
            .find(|(name, threads, _)| *name == record.implementation && *threads == record.threads);
        // An infinity is no JSON: such an error is told as the largest number.
        if let Some(&(_, _, [y, dx])) = own {
            let [y, dx] = [y, dx].map(|error| Some(error.min(f64::MAX)));
            match data {
                0 => (record.error_y, record.error_dx) = (y, dx),
                _ => (record.error_y_far, record.error_dx_far) = (y, dx),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Pools, contestants};
    use super::super::record::tests::record;
    use super::*;
    use benches::shapes::parse;
    use bn_conformance::tolerances::{LIMIT, LIMIT_DX};

    #[test]
    fn errors_tell_the_layer_from_the_textbook() {
        let named = &parse("a NC 64x256").unwrap()[0];
        let pools = Pools::new(true, 2).unwrap();
        let mut records = ["dispatch", "graph"].map(|name| record(name, 1, "step", 1.0));
        for (i, kind) in DATA.into_iter().enumerate() {
            let inputs = Inputs::<f32>::new(named, kind);
            let mut all = contestants(&inputs, &pools, true);
            let errors = errors(&mut all, &inputs, &mut Outputs::new(inputs.x.len()));
            assert_eq!(errors.len(), 3, "two of the layer, and the graph; floors have none: {errors:?}");
            enter(&mut records, i, &errors);
        }
        let [layer, graph] = records;
        assert!(layer.error_y <= Some(LIMIT) && layer.error_dx_far <= Some(LIMIT_DX));
        assert!(layer.error_y > Some(0.0));
        assert!(graph.error_y_far > Some(30.0), "{:?}", graph.error_y_far);
    }
}
