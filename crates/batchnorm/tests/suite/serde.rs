//! A layer keeps every bit through serde, and what cannot be a layer is refused with a reason.

use batchnorm::functions::{Backward, Forward};
use batchnorm::parts::{Moments, Part, PartialSums, Pooled, sum_gradients};
use batchnorm::{
    Affine, BatchNorm, Config, DefaultBackend, Layout, Recalibrate, RunningVar, Saved, Shape, Workspace,
};
use ndarray::{Array2, array};
use serde_json::{Value, json};

fn trained() -> BatchNorm<f32> {
    let config =
        Config::default().momentum(None).running_var(RunningVar::Biased).layout(Layout::ChannelsLast);
    let mut bn = BatchNorm::with_config(3, config).expect("a valid config");
    let x = Array2::from_shape_fn((7, 3), |(i, j)| ((i * 5 + j * 3) % 11) as f32 / 3.0);
    bn.forward(&x).expect("a valid batch");
    bn.weight[1] = 1.0 / 3.0;
    bn.bias[2] = f32::MIN_POSITIVE / 2.0;
    bn
}

fn assert_same(a: &BatchNorm<f32>, b: &BatchNorm<f32>) {
    assert_eq!((a.features(), a.config()), (b.features(), b.config()));
    assert_eq!((&a.weight, &a.bias, &a.running), (&b.weight, &b.bias, &b.running));
}

#[test]
fn a_layer_comes_back_as_it_was() {
    let bn = trained();
    let text = serde_json::to_string(&bn).expect("a layer to JSON");
    assert_same(&bn, &serde_json::from_str(&text).expect("the same layer"));
    let bytes = postcard::to_stdvec(&bn).expect("a layer to bytes");
    assert_same(&bn, &postcard::from_bytes(&bytes).expect("the same layer"));
}

#[test]
fn layers_without_affine_part_or_statistics_come_back() {
    let config = Config::default().affine(false).track_running_stats(false);
    let bn = BatchNorm::<f32>::with_config(4, config).expect("a valid config");
    let bytes = postcard::to_stdvec(&bn).expect("a layer to bytes");
    assert_same(&bn, &postcard::from_bytes(&bytes).expect("the same layer"));
}

/// Earlier versions stored a bool; what is stored now is the name.
#[test]
fn kinds_of_affine_parts_are_names_or_bools() {
    let read = |value: Value| serde_json::from_value::<Config>(json!({ "affine": value }));
    for (affine, value) in [
        (Affine::Both, json!("Both")),
        (Affine::Scale, json!("Scale")),
        (Affine::Shift, json!("Shift")),
        (Affine::None, json!("None")),
    ] {
        let config = Config::default().affine(affine);
        assert_eq!(serde_json::to_value(config).unwrap()["affine"], value);
        assert_eq!(read(value).unwrap(), config);
        assert_eq!(postcard::from_bytes::<Config>(&postcard::to_stdvec(&config).unwrap()).unwrap(), config);
        let bn = BatchNorm::<f32>::with_config(3, config).unwrap();
        let text = serde_json::to_string(&bn).unwrap();
        assert_same(&bn, &serde_json::from_str(&text).unwrap());
    }
    assert_eq!(read(json!(true)).unwrap().affine, Affine::Both);
    assert_eq!(read(json!(false)).unwrap().affine, Affine::None);
    for (value, reason) in [
        (json!("Shear"), "unknown variant `Shear`, expected one of `Both`, `Scale`, `Shift`, `None`"),
        (
            json!(1),
            "invalid type: integer `1`, expected one of `Both`, `Scale`, `Shift`, `None`, `true`, `false` in affine",
        ),
    ] {
        assert!(read(value).unwrap_err().to_string().contains(reason), "{reason}");
    }
}

#[test]
fn what_is_no_layer_is_refused_with_a_reason() {
    let short = json!({ "v": 1, "dim": [2], "data": [1.0, 1.0] });
    let below = json!({ "v": 1, "dim": [3], "data": [1.0, -1.0, 1.0] });
    let cases: [(&str, Value, &str); 14] = [
        ("/weight", short.clone(), "expected 3 elements in weight, got 2"),
        ("/bias", short.clone(), "expected 3 elements in bias, got 2"),
        ("/running/mean", short.clone(), "expected 3 elements in running_mean, got 2"),
        ("/running/var", short, "expected 3 elements in running_var, got 2"),
        ("/features", json!(1_u64 << 40), "expected 1099511627776 elements in weight, got 3"),
        ("/config/eps", json!(-1.0), "expected eps finite and greater than 0, got -1"),
        ("/config/affine", json!(false), "expected 0 elements in weight, got 3"),
        ("/config/affine", json!("Scale"), "expected 0 elements in bias, got 3"),
        ("/config/momentum", json!(1.5), "expected momentum from 0 to 1"),
        ("/config/layout", json!("Sideways"), "unknown variant `Sideways`"),
        ("/running/var", below, "expected numbers of 0 and above in running_var, got -1 for feature 1"),
        (
            "/running/num_batches_tracked",
            json!(-3),
            "expected a count of 0 or above in num_batches_tracked, got -3",
        ),
        ("/running", json!(null), "expected statistics as track_running_stats is true in running, got none"),
        (
            "/config/track_running_stats",
            json!(false),
            "expected none as track_running_stats is false in running, got statistics",
        ),
    ];
    for (at, value, reason) in cases {
        let mut layer = serde_json::to_value(trained()).expect("a layer to JSON");
        *layer.pointer_mut(at).expect("a field of the layer") = value;
        let error = serde_json::from_value::<BatchNorm<f32>>(layer).expect_err(at).to_string();
        assert!(error.contains(reason), "{at}: got {error}");
    }
}

/// A setting that an older version did not write has its default, one that this version does not know is named.
#[test]
fn settings_may_be_missing_but_not_unknown() {
    let config: Config = serde_json::from_value(json!({ "eps": 1e-3 })).unwrap();
    assert_eq!(config, Config::default().eps(1e-3));
    let error = serde_json::from_value::<Config>(json!({ "epsilon": 1e-3 })).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `epsilon`, expected one of `eps`, `momentum`"), "{error}");
    let mut layer = serde_json::to_value(trained()).expect("a layer to JSON");
    layer["gamma"] = json!(1.0);
    let error = serde_json::from_value::<BatchNorm<f32>>(layer).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `gamma`"), "{error}");
}

/// Statistics that a caller took away, or gave, are what is stored.
#[test]
fn a_layer_is_stored_as_it_tracks() {
    let mut bn = trained();
    let running = bn.running.take();
    let mut back: BatchNorm<f32> = postcard::from_bytes(&postcard::to_stdvec(&bn).unwrap()).unwrap();
    assert_eq!((back.running.as_ref(), back.config().track_running_stats), (None, false));
    back.running = running.clone();
    let back: BatchNorm<f32> = postcard::from_bytes(&postcard::to_stdvec(&back).unwrap()).unwrap();
    assert_eq!((&back.running, back.config()), (&running, trained().config()));
}

/// Sums of parts come through, and merge there to what they merge to here.
#[test]
fn sums_of_parts_can_be_sent() {
    let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
    let pooled = Pooled::<f64>::new(3, 1e-5).unwrap();
    let shape = Shape::nc(8192, 3).unwrap();
    let x: Vec<f64> = (0..shape.len()).map(|i| (i * 7919 % 4099) as f64 / 2049.5 - 1.0).collect();
    let mut sum = |first| pooled.sum(&backend, Part::new(shape, &x), first, &mut workspace).unwrap();
    let (mut here, other) = (sum(0), sum(8192));
    let bytes = postcard::to_stdvec(&(&here, &other)).unwrap();
    let (mut there, sent): (PartialSums<f64>, PartialSums<f64>) = postcard::from_bytes(&bytes).unwrap();
    let text = serde_json::to_string(&here).unwrap();
    assert_eq!(serde_json::from_str::<PartialSums<f64>>(&text).unwrap(), here);
    here.merge(other).unwrap();
    there.merge(sent).unwrap();
    assert_eq!(here, there);
    assert_eq!(there.samples(), 16_384);
}

/// Moments, and what a forward with them saves, keep every bit, NaN and what f64 does not hold included.
#[test]
fn moments_can_be_sent() {
    let (backend, mut workspace) = (DefaultBackend::default(), Workspace::default());
    let (shape, x) = (Shape::nc(2, 4).unwrap(), [1e300, 0.1, f64::NAN, 1e-310, -3e300, 0.3, 1.0, 2e-310]);
    let moments = Moments::of(&backend, Part::new(shape, &x), &mut workspace).unwrap();
    let pooled = Pooled::<f64>::of(&moments, 1e-5).unwrap();
    let (mut y, mut saved) = ([0.0; 8], Saved::default());
    let step = Forward::new(shape, &x, &mut y[..]);
    pooled.forward(&backend, step, &mut saved, &mut workspace).unwrap();
    let dy = [1e-300, f64::INFINITY, 1.0, 1e-300, 1.0, 2.0, 3.0, 1e-310];
    let sums = sum_gradients(&backend, &Backward::new(&x, &dy), 0, &saved, &mut workspace).unwrap();
    let text = serde_json::to_string(&(&moments, &sums)).unwrap();
    let (there, sent): (Moments<f64>, PartialSums<f64>) = serde_json::from_str(&text).unwrap();
    assert_eq!(there, moments);
    assert_eq!(serde_json::to_string(&(there, sent)).unwrap(), text);
    let text = serde_json::to_string(&saved).unwrap();
    let back: Saved<f64> = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    let mut other = serde_json::to_value(&saved).unwrap();
    other["moments"]["unit"][0] = json!(3);
    let error = serde_json::from_value::<Saved<f64>>(other).unwrap_err().to_string();
    assert!(error.contains("expected those of the statistics in moments, got others"), "{error}");
}

#[test]
fn what_are_no_moments_is_refused_with_a_reason() {
    let moments = Moments::<f32>::new(2, &[0.5, 1.0], &[1.0, 2.0]).unwrap();
    let bits = |v: f64| json!(v.to_bits());
    for (at, value, reason) in [
        ("/statistics", json!("f64"), "expected moments for statistics of f32, got f64"),
        (
            "/unit",
            json!([0]),
            "expected 2 numbers of rest and var and a unit for each of 2 means, got 4, 4 and 1",
        ),
        ("/unit/0", json!(3), "got mean 0.5, variance 1 and unit 3"),
        ("/var/0", bits(-1.0), "got mean 0.5, variance -1 and unit 0"),
        ("/mean/0", bits(0.1), "got mean 0.1, variance 1 and unit 0"),
    ] {
        let mut stored = serde_json::to_value(&moments).unwrap();
        *stored.pointer_mut(at).expect("a field of moments") = value;
        let error = serde_json::from_value::<Moments<f32>>(stored).expect_err(at).to_string();
        assert!(error.contains(reason), "{at}: got {error}");
    }
    let mut recalibrate = Recalibrate::default();
    let bn = BatchNorm::<f32>::new(1).unwrap();
    recalibrate.add(&bn.forward_uncommitted(&array![[1.0], [0.1]]).unwrap().1).unwrap();
    let bytes = postcard::to_stdvec(&recalibrate).unwrap();
    assert_eq!(postcard::from_bytes::<Recalibrate<f32>>(&bytes).unwrap(), recalibrate);
}
