//! Checkpoints of safetensors: PyTorch's files load and evaluate to PyTorch's outputs, ours are the ones that PyTorch loaded
//! (`benches/peers/checkpoint_torch.py`).

use batchnorm::checkpoint;
use batchnorm::safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use batchnorm::{BatchNorm, Config, Element, Real};
use ndarray::{ArrayD, Axis};
use std::collections::BTreeMap;

/// The file's layers as the script has them, each with the sizes of its input.
fn layers<T: Element>() -> Vec<(&'static str, Vec<usize>, BatchNorm<T>)> {
    let default = Config::default();
    let bare = default.affine(false).track_running_stats(false);
    let layer = |(name, dims, config): (_, &[usize], _)| {
        (name, dims.to_vec(), BatchNorm::with_config(dims[1], config).expect("a valid config"))
    };
    let all: [(_, &[usize], _); 5] = [
        ("dense.norm.", &[4, 5], default),
        ("block.bn.", &[2, 3, 2, 2], default.eps(1e-3).momentum(None)),
        ("block.plain.", &[2, 4, 2, 2], default.affine(false)),
        ("untracked.", &[4, 2], default.track_running_stats(false)),
        ("bare.", &[2, 2, 2, 2], bare),
    ];
    all.into_iter().map(layer).collect()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Of every name in a file what the file has for it.
fn tensors(bytes: &[u8]) -> BTreeMap<String, TensorView<'_>> {
    SafeTensors::deserialize(bytes).expect("a file").tensors().into_iter().collect()
}

fn load<T: Element>(bytes: &[u8]) -> Vec<(&'static str, Vec<usize>, BatchNorm<T>)> {
    let mut layers = layers();
    let pairs = layers.iter_mut().map(|(name, _, layer)| (*name, layer));
    checkpoint::load(bytes, pairs).expect("a file of these layers");
    layers
}

/// An f32 tensor of a case.
fn case<R: Real>(bytes: &[u8], name: &str, which: &str, dims: &[usize]) -> ArrayD<R> {
    let all = tensors(bytes);
    let view = &all[&format!("case.{name}{which}")];
    let values = view.data().as_chunks().0.iter().map(|&v| R::from_f64(f32::from_le_bytes(v).into()));
    ArrayD::from_shape_vec(dims, values.collect()).expect("as many values as the script wrote")
}

/// Our evaluation beside PyTorch's in f32, feature by feature: 4 units of roundoff of each side, of the terms that PyTorch adds.
fn evaluates_as_torch<R: Real>(file: &str) {
    let bytes = fixture(file);
    for (name, dims, layer) in load::<R>(&bytes) {
        let [x, want] = ["x", "y"].map(|which| case::<R>(&bytes, name, which, &dims));
        let (y, saved) = layer.forward_eval_saved(&x).expect("as many features");
        for f in 0..layer.features() {
            let weight = layer.weight.get(f).map_or(1.0, |v| v.to_f64());
            let bias = layer.bias.get(f).map_or(0.0, |v| v.to_f64());
            let (mean, a) = (saved.mean()[f].to_f64(), weight * saved.invstd()[f].to_f64());
            let [x, y, want] = [&x, &y, &want].map(|array| array.index_axis(Axis(1), f));
            for ((x, y), want) in x.iter().zip(&y).zip(&want) {
                let size = (x.to_f64() * a).abs() + (mean * a).abs() + bias.abs();
                let off = (y.to_f64() - want.to_f64()).abs() / size * f64::from(1 << 24);
                assert!(off <= 8.0, "{file} {name} feature {f}: got {y}, want {want}, {off} units apart");
            }
        }
    }
}

#[test]
fn files_of_pytorch_evaluate_to_its_outputs() {
    for file in ["torch_f32", "torch_f16", "torch_bf16"] {
        evaluates_as_torch::<f32>(file);
        evaluates_as_torch::<f64>(file);
    }
}

/// Of a file in f32 nothing is lost, and it is written as PyTorch wrote it.
#[test]
fn what_pytorch_wrote_is_written_again_bit_by_bit() {
    let bytes = fixture("torch_f32");
    let layers = load::<f32>(&bytes);
    let again = checkpoint::serialize(layers.iter().map(|(name, _, layer)| (*name, layer))).unwrap();
    let mut want = tensors(&bytes);
    want.retain(|name, _| !name.starts_with("case."));
    assert_eq!(tensors(&again), want);
    let [count, steps] =
        ["dense.norm.num_batches_tracked", "untracked.running_mean"].map(|name| want.get(name));
    assert_eq!(count.map(|view| (view.dtype(), view.shape())), Some((Dtype::I64, &[][..])));
    assert_eq!(steps, None, "a layer that tracks nothing has no statistics in the file");
    assert_eq!(layers[0].2.running.as_ref().map(|running| running.num_batches_tracked), Some(1));
}

/// Half types are widened exactly; into a layer of half tensors as well, whose parameters are f32.
#[test]
fn values_in_half_types_load_into_f32() {
    let (half, brain) = (fixture("torch_f16"), fixture("torch_bf16"));
    let of = |bytes: &[u8], name: &str| tensors(bytes)[name].data().to_vec();
    let bits =
        |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|&v| u16::from_le_bytes(v)).collect::<Vec<_>>();
    let f16 = bits(of(&half, "dense.norm.running_var")).into_iter().map(|v| half::f16::from_bits(v).to_f32());
    assert_eq!(load::<f32>(&half)[0].2.running.as_ref().unwrap().var.to_vec(), f16.collect::<Vec<_>>());
    let bf16 = bits(of(&brain, "dense.norm.weight")).into_iter().map(|v| half::bf16::from_bits(v).to_f32());
    assert_eq!(load::<half::f16>(&brain)[0].2.weight.to_vec(), bf16.collect::<Vec<_>>());
}

/// Layers with values of their own, and what each makes of its input.
fn ours() -> Vec<u8> {
    let mut all = Vec::new();
    for (name, dims, mut layer) in layers::<f32>() {
        layer.weight.iter_mut().enumerate().for_each(|(f, v)| *v = 1.5 - f as f32 / 3.0);
        layer.bias.iter_mut().enumerate().for_each(|(f, v)| *v = f as f32 / 7.0 - 0.25);
        if let Some(running) = &mut layer.running {
            running.mean.iter_mut().enumerate().for_each(|(f, v)| *v = 5.0 - 0.1 * f as f32);
            running.var.iter_mut().enumerate().for_each(|(f, v)| *v = 9.0 / (f + 1) as f32);
            running.num_batches_tracked = (1 << 40) + 1;
        }
        let values = (0..dims.iter().product()).map(|i| (i * 37 % 23) as f32 / 3.0);
        let x = ArrayD::from_shape_vec(&*dims, values.collect()).expect("as many values");
        let y = layer.forward_eval(&x).expect("as many features");
        for (name, tensor) in layer.state_dict(name).expect("a layer as it was made") {
            let view = tensor.view();
            all.push((name, view.dtype(), view.shape().to_vec(), view.data().to_vec()));
        }
        for (which, array) in [("x", &x), ("y", &y)] {
            let bytes = array.iter().flat_map(|v| v.to_le_bytes()).collect();
            all.push((format!("case.{name}{which}"), Dtype::F32, dims.clone(), bytes));
        }
    }
    let views = all.iter().map(|(name, dtype, dims, bytes)| {
        (name, TensorView::new(*dtype, dims.clone(), bytes).expect("as many bytes"))
    });
    serialize(views, None).expect("a file")
}

/// PyTorch loads this file strictly: the script says so. `BATCHNORM_FIXTURE=write` writes it anew.
#[test]
fn what_is_written_is_the_committed_file() {
    let (path, bytes) = (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ours.safetensors"), ours());
    if std::env::var("BATCHNORM_FIXTURE").is_ok_and(|wish| wish == "write") {
        std::fs::write(path, &bytes).expect("a folder to write to");
    }
    assert!(bytes == fixture("ours"), "expected the bytes of {path}, got others");
    evaluates_as_torch::<f32>("ours");
}

#[test]
fn a_layer_comes_back_from_its_file() {
    let bytes = ours();
    for (name, _, layer) in load::<f32>(&bytes) {
        let again = checkpoint::serialize([(name, &layer)]).unwrap();
        assert!(tensors(&again).iter().all(|(name, view)| tensors(&bytes)[name] == *view), "{name}");
    }
    let same = [("a.", &BatchNorm::<f32>::new(2).unwrap()), ("a.", &BatchNorm::new(3).unwrap())];
    let error = checkpoint::serialize(same).unwrap_err().to_string();
    let want = "expected one layer's values in the tensor \"a.weight\", got that of two layers: each needs a prefix of its own";
    assert_eq!(error, want);
}
