//! What is measured: shapes, and who takes part on each.

use super::measure::Budget;
use benches::floor::Stores;
use benches::implementation::Implementation;
use benches::inputs::Inputs;
use benches::layer::Kernels;
use benches::shapes::{self, Named};
use benches::textbook::Strategy;
use benches::threads;
use benches::variant::Variant;
use bn_core::{Element, Real};
use ndarray::NdFloat;
use rayon::ThreadPool;
use std::sync::Arc;
use std::time::Duration;

/// Whose it is: what its answer must be, and how it is reported.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Floor(Stores),
    /// The layer's: the reference's bits.
    Ours,
    Textbook,
    /// Of this version.
    Peer(String),
}

/// One that takes part.
pub(crate) struct Contestant<T: Element> {
    pub(crate) kind: Kind,
    pub(crate) one: Box<dyn Implementation<T>>,
}

/// A shape to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) named: Named,
    /// f32 where not.
    pub(crate) f64: bool,
    pub(crate) variant: Variant,
}

/// The names of shapes whose accuracy is measured: of moderate size, since the oracle is slow.
const ACCURACY: [&str; 3] = ["mlp_1024x512", "stage4_narrow", "stage3_narrow"];

/// Batches that a quick run takes.
const QUICK_BATCHES: [&str; 3] = ["batch_1", "batch_4", "batch_16"];

/// The largest shape on which a quick run takes the graph.
const QUICK_GRAPH: usize = 1 << 22;

/// The shapes that a quick run takes with a ReLU, and a long one on all kernels and with a mask: a layer inside a block, and one
/// at its end.
const VARIED: [&str; 2] = ["stage1_narrow", "stage2_wide"];

/// The shapes that hold `filter` in their variant, name, layout, dimensions or type. None is an error where it is in no row of hard
/// data either.
pub(crate) fn list(quick: bool, filter: Option<&str>, rows: usize) -> Result<Vec<Task>, String> {
    let wanted = filter.unwrap_or_default().to_lowercase();
    let (found, others): (Vec<Task>, Vec<Task>) =
        Task::all(quick)?.into_iter().partition(|task| task.text().to_lowercase().contains(&wanted));
    if found.is_empty() && rows == 0 {
        let plain = others.iter().filter(|task| task.variant == Variant::Plain);
        let names: Vec<&str> = plain.map(|task| task.named.name.as_str()).collect();
        return Err(format!(
            "--filter: expected a part of a shape's name, layout or dimensions, or a variant, got {wanted:?}; there are {}, {}, hard",
            names.join(", "),
            Variant::ALL.map(Variant::name).join(", ")
        ));
    }
    Ok(found)
}

impl Task {
    /// Every shape of the lists, each once; then those that come with a variant.
    fn all(quick: bool) -> Result<Vec<Self>, String> {
        let lists: &[&str] = if quick {
            &["mlp", "resnet50", "batch"]
        } else {
            &["mlp", "resnet50", "edge", "strategies", "batch"]
        };
        let mut tasks: Vec<Self> = Vec::new();
        for &list in lists {
            for named in shapes::load(list).map_err(|error| format!("{list}.txt: {error}"))? {
                let f64 = list == "strategies" && named.name == "post";
                let known =
                    |t: &Self| (&t.named.dims, t.named.layout, t.f64) == (&named.dims, named.layout, f64);
                let left_out = quick && list == "batch" && !QUICK_BATCHES.contains(&named.name.as_str());
                if !tasks.iter().any(known) && !left_out {
                    tasks.push(Self { named, f64, variant: Variant::Plain });
                }
            }
        }
        for named in shapes::load("resnet50").map_err(|error| format!("resnet50.txt: {error}"))? {
            let varied = VARIED.contains(&named.name.as_str());
            let taken = |variant: &Variant| match variant {
                Variant::Plain => false,
                Variant::Relu | Variant::AddRelu => varied || !quick,
                Variant::Mask => varied && !quick,
            };
            let task = |variant| Self { named: named.clone(), f64: false, variant };
            tasks.extend(Variant::ALL.into_iter().filter(taken).map(task));
        }
        Ok(tasks)
    }

    /// What a filter looks through.
    fn text(&self) -> String {
        let Named { name, layout_name, .. } = &self.named;
        let dtype = if self.f64 { "f64" } else { "f32" };
        let (variant, dims, shape) = (self.variant.name(), self.named.dims_text(), self.named.shape_text());
        format!("{variant} {name} {layout_name} {dims} {shape} {dtype}")
    }

    /// Whether errors are measured as well.
    pub(crate) fn has_accuracy(&self, quick: bool) -> bool {
        let taken = if quick { &ACCURACY[..2] } else { &ACCURACY };
        self.variant == Variant::Plain && taken.contains(&self.named.name.as_str())
    }

    /// What it may take.
    pub(crate) fn budget(quick: bool) -> Budget {
        match quick {
            true => Budget { time: Duration::from_millis(2200), least: 3, most: 31 },
            false => Budget { time: Duration::from_secs(6), least: 5, most: 61 },
        }
    }

    /// About how long it will take, in milliseconds: time to measure, and to make inputs and compare answers.
    pub(crate) fn weight(&self, quick: bool) -> u64 {
        let len = self.named.shape.len() as u64;
        let full = Self::budget(quick).time.as_millis() as u64;
        // The smallest have all their samples before the time is over.
        full * len.clamp(1 << 14, 1 << 18) / (1 << 18) + len / 50_000
    }
}

/// The pools of threads that a run has, the largest last.
pub(crate) struct Pools(Vec<Arc<ThreadPool>>);

impl Pools {
    /// 1, 2, 4 and so on up to `most` threads; in a quick run 1 and `most`.
    pub(crate) fn new(quick: bool, most: usize) -> Result<Self, String> {
        let mut counts: Vec<usize> =
            std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|n| *n < most).collect();
        if quick {
            counts.truncate(1);
        }
        counts.push(most);
        let pool = |n| {
            threads::pool(Some(n)).map(Arc::new).map_err(|error| format!("cannot start {n} threads: {error}"))
        };
        Ok(Self(counts.into_iter().map(pool).collect::<Result<_, _>>()?))
    }

    /// One thread, and the most; once where that is the same.
    pub(crate) fn ends(&self) -> Vec<usize> {
        let mut ends = vec![1, self.most().current_num_threads()];
        ends.dedup();
        ends
    }

    fn most(&self) -> &Arc<ThreadPool> {
        self.0.last().expect("there is one at least")
    }
}

/// Who takes part of what runs in this program: the floors, the layer's combinations, the textbook.
pub(crate) fn contestants<T: NdFloat + Real>(
    inputs: &Inputs<T>,
    pools: &Pools,
    quick: bool,
) -> Vec<Contestant<T>> {
    let mut all = Vec::new();
    let mut add = |kind: Kind, one| all.push(Contestant { kind, one });
    for pool in &pools.0 {
        // One thread needs no pool.
        let pool = (pool.current_num_threads() > 1).then_some(pool);
        Stores::ALL.into_iter().for_each(|stores| add(Kind::Floor(stores), stores.floor(pool)));
    }
    let varied = inputs.variant != Variant::Plain && !VARIED.contains(&inputs.named.name.as_str());
    let kernels = Kernels::ALL.into_iter().filter(|kernels| match quick || varied {
        true => *kernels == Kernels::Dispatch,
        false => !kernels.are_dispatchs(),
    });
    for kernels in kernels {
        // Threads are followed on the best kernels; a quick run has one pool.
        let own =
            if kernels == Kernels::Dispatch && !quick { &pools.0[..] } else { &pools.0[pools.0.len() - 1..] };
        for pool in [None].into_iter().chain(own.iter().map(Some)) {
            if let Some(one) = kernels.layer(inputs, pool) {
                add(Kind::Ours, one);
            }
        }
    }
    if !quick || inputs.x.len() <= QUICK_GRAPH {
        let strategies = if quick { &Strategy::ALL[..1] } else { &Strategy::ALL };
        for strategy in strategies {
            if let Some(one) = strategy.implementation(inputs) {
                add(Kind::Textbook, one);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use bn_conformance::data::X;
    use std::collections::BTreeSet;

    #[test]
    fn shapes_are_listed_once_and_filtered() {
        let names = |quick, filter| -> Vec<String> {
            let plain = |t: &Task| t.variant == Variant::Plain;
            list(quick, filter, 1).unwrap().into_iter().filter(plain).map(|t| t.named.name).collect()
        };
        let all = names(false, None);
        assert!(
            all.contains(&"post".into()) && all.contains(&"pair".into()) && !all.contains(&"conv".into())
        );
        let quick = names(true, None);
        for list in ["mlp", "resnet50"] {
            assert!(shapes::load(list).unwrap().iter().all(|named| quick.contains(&named.name)), "{list}");
        }
        assert_eq!(names(true, Some("STEM")), ["stem"]);
        assert_eq!(names(true, Some("nhwc")), ["stage1_wide_last"]);
        assert_eq!(names(true, Some("32x56x56x256")), names(true, Some("nhwc")));
        assert_eq!(names(false, Some("f64")), ["post"]);
        assert_eq!(names(false, Some("hard")), [""; 0], "only rows have it");
        assert_eq!(names(true, Some("relu")), [""; 0]);
        let error = list(true, Some("resnet51"), 0).unwrap_err();
        assert!(error.contains("expected a part of") && error.contains("got \"resnet51\""), "{error}");
        assert!(error.contains("stem, stage1_narrow"), "{error}");
        assert!(error.ends_with("batch_16, plain, relu, add_relu, mask, hard"), "{error}");
    }

    #[test]
    fn variants_have_rows_of_their_own_after_the_plain_ones() {
        let texts = |quick, filter| -> Vec<String> {
            list(quick, filter, 1).unwrap().iter().map(Task::text).collect()
        };
        let all = texts(false, None);
        assert!(
            all[..40].iter().all(|text| text.starts_with("plain "))
                && all.is_sorted_by_key(|text| !text.starts_with("plain"))
        );
        for named in shapes::load("resnet50").unwrap() {
            for variant in ["relu", "add_relu"] {
                let text = format!("{variant} {} ", named.name);
                assert_eq!(all.iter().filter(|t| t.starts_with(&text)).count(), 1, "{text}");
            }
        }
        assert_eq!(texts(false, Some("relu")).len(), 26, "add_relu as well");
        assert_eq!(texts(false, Some("add_relu stage1_wide_last")).len(), 1);
        assert_eq!(texts(false, Some("mask")).len(), VARIED.len());
        assert_eq!(texts(true, Some("relu")).len(), 2 * VARIED.len());
        let quick = list(true, Some("relu"), 0).unwrap();
        assert!(
            quick.iter().map(|task| task.weight(true)).sum::<u64>() < 12_000,
            "the whole has two minutes"
        );
        assert!(quick.iter().all(|task| !task.has_accuracy(true)));
    }

    #[test]
    fn every_backend_is_measured() {
        let inputs = Inputs::<f32>::new(&shapes::parse("a NC 8x4").unwrap()[0], X::Normal);
        let measured = |quick, threads| -> BTreeSet<String> {
            let all = contestants(&inputs, &Pools::new(quick, threads).unwrap(), quick);
            all.iter().map(|c| format!("{} {}", c.one.name(), c.one.threads())).collect()
        };
        let all = measured(false, 3);
        for (kernels, on_rayon) in Kernels::ALL.into_iter().flat_map(|k| [(k, false), (k, true)]) {
            let one = format!("{} {}", kernels.name(on_rayon), if on_rayon { 3 } else { 1 });
            let here = kernels.layer(&inputs, None).is_some() && !kernels.are_dispatchs();
            assert_eq!(all.contains(&one), here, "{one}");
        }
        for one in
            ["floor 1", "floor 2", "floor 3", "rayon+dispatch 1", "rayon+dispatch 2", "graph 1", "analytic 1"]
        {
            assert!(all.contains(one), "{one}");
        }
        let quick: Vec<String> = measured(true, 2).into_iter().collect();
        assert_eq!(quick, ["dispatch 1", "floor 1", "floor 2", "graph 1", "rayon+dispatch 2"]);
        assert_eq!(Pools::new(true, 1).unwrap().ends(), [1]);

        let of_relu = |name: &str| -> BTreeSet<String> {
            let mut inputs = Variant::Relu.of(inputs.clone());
            inputs.named.name = name.into();
            let all = contestants(&inputs, &Pools::new(false, 2).unwrap(), false);
            all.iter().map(|c| c.one.name().into()).filter(|name| name != "floor").collect()
        };
        assert_eq!(of_relu("stem").into_iter().collect::<Vec<_>>(), ["dispatch", "rayon+dispatch"]);
        assert!(of_relu(VARIED[0]).contains("rayon+scalar"), "but not the graph: {:?}", of_relu(VARIED[0]));
        assert!(!of_relu(VARIED[0]).contains("graph"));
    }
}
