//! The α–β model: a message of m bytes takes α + m·β.
//!
//! ```text
//! gathered     ⌈log₂R⌉·α + (R−1)·m·β      by recursive doubling, as MPI does it for messages of this size; by a ring (R−1)·(α + m·β)
//! along tree   ⌈log₂R⌉·(α + m·β)          what is exchanged has been merged before, and stays one node where shares are equal
//! ```
//!
//! R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH" (2005).

use examples::plot::{Curve, Figure, NEUTRAL, NORMALIZED, PLAIN, Panel, Style};
use examples::scale::Scale;

/// Batch norms of a ResNet-50: how many have so many features.
const LAYERS: [(usize, usize); 6] =
    [(64, 1 + 6), (128, 8), (256, 3 + 1 + 12), (512, 4 + 1 + 6), (1024, 7), (2048, 4)];

/// The layers' own time for an image, forward and backward, in ms: 11.1·10⁶ values at 1.1 ns, see docs/scaling.md.
pub(crate) const LAYERS_MS: f64 = 12.0;
/// The whole network's: 24.6·10⁹ operations at an assumed 10¹¹ per second.
pub(crate) const NETWORK_MS: f64 = 246.0;

/// Words of a header, and of a node beside its sums.
const HEADER: f64 = 64.0;
const BESIDE: f64 = 48.0;

/// What ranks are connected by.
#[derive(Clone, Copy)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) latency_us: f64,
    pub(crate) gigabytes: f64,
}

impl Network {
    /// Processes of one machine, rounded up from what docs/scaling.md has measured.
    pub(crate) const HERE: Self = Self { name: "here", latency_us: 1.0, gigabytes: 10.0 };

    fn message(&self, bytes: f64) -> f64 {
        self.latency_us * 1e-6 + bytes / (self.gigabytes * 1e9)
    }
}

/// How sums come together.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Ring,
    Gathered,
    Tree,
}

fn rounds(ranks: usize) -> f64 {
    f64::from(ranks.next_power_of_two().ilog2())
}

fn collective(network: Network, way: Way, ranks: usize, bytes: f64) -> f64 {
    let others = ranks as f64 - 1.0;
    match way {
        Way::Ring => others * network.message(bytes),
        Way::Gathered => rounds(ranks) * network.message(0.0) + others * bytes / (network.gigabytes * 1e9),
        Way::Tree => rounds(ranks) * network.message(bytes),
    }
}

/// All layers, forward and backward, in seconds; headers in every step.
fn step(network: Network, way: Way, ranks: usize) -> f64 {
    let header = collective(network, Way::Gathered, ranks, HEADER);
    let sums = |features: usize| collective(network, way, ranks, BESIDE + 16.0 * features as f64);
    let layers = LAYERS.iter().map(|&(features, count)| count as f64 * (header + sums(features)));
    2.0 * layers.sum::<f64>()
}

/// From 8 to 4096.
fn sizes() -> impl Iterator<Item = usize> {
    (3..=12).map(|i| 1 << i)
}

const NETWORKS: [Network; 2] = [
    Network { name: "2 µs, 10 GB/s", latency_us: 2.0, gigabytes: 10.0 },
    Network { name: "30 µs, 1 GB/s", latency_us: 30.0, gigabytes: 1.0 },
];

pub(crate) fn table(here: Network, layers_ms: f64, network_ms: f64) {
    println!(
        "{} layers, forward and backward; headers in every step. Times in ms.",
        LAYERS.iter().map(|l| l.1).sum::<usize>()
    );
    println!(
        "Images: of a rank, from which it is under 5 % of {layers_ms} ms for an image, and of {network_ms} ms.\n"
    );
    println!("| network | ranks | ring | gathered | along the tree | images, layers | images, network |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for network in [here].into_iter().chain(NETWORKS) {
        for ranks in sizes().step_by(3) {
            let [ring, gathered, tree] =
                [Way::Ring, Way::Gathered, Way::Tree].map(|way| 1e3 * step(network, way, ranks));
            let images = |of: f64| (gathered.min(tree) / (0.05 * of)).ceil().max(1.0);
            println!(
                "| {} | {ranks} | {ring:.1} | {gathered:.1} | {tree:.1} | {:.0} | {:.0} |",
                network.name,
                images(layers_ms),
                images(network_ms)
            );
        }
    }
}

pub(crate) fn figure(here: Network, layers_ms: f64, network_ms: f64) -> Figure {
    let x = || ("ranks".to_owned(), Scale::log(8.0, 4096.0));
    let curve = |style, of: &dyn Fn(usize) -> f64| Curve {
        style,
        points: sizes().map(|ranks| (ranks as f64, of(ranks))).collect(),
    };
    let panel = |network: Network| {
        let ways = [
            (Way::Gathered, Style::dashed(PLAIN)),
            (Way::Tree, Style::solid(NORMALIZED)),
            (Way::Ring, Style::dashed(NEUTRAL)),
        ];
        let curves: Vec<_> = ways
            .into_iter()
            .map(|(way, style)| curve(style, &|ranks| 1e3 * step(network, way, ranks)))
            .collect();
        let all: Vec<f64> = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).collect();
        Panel {
            title: format!("{:.0} µs, {:.0} GB/s", network.latency_us, network.gigabytes),
            x: x(),
            y: ("sums of a step (ms)".to_owned(), Scale::decades(all)),
            curves,
            notes: Vec::new(),
        }
    };
    Figure {
        title: "Synchronized batch norms of a ResNet-50, by the α–β model".to_owned(),
        caption: format!(
            "53 layers, forward and backward, headers included. The layers themselves take {layers_ms} ms for an image, the network {network_ms} ms."
        ),
        legend: vec![
            ("merged along the tree".to_owned(), Style::solid(NORMALIZED)),
            ("gathered".to_owned(), Style::dashed(PLAIN)),
            ("gathered by a ring".to_owned(), Style::dashed(NEUTRAL)),
        ],
        panels: [here].into_iter().chain(NETWORKS).map(panel).collect(),
    }
}
