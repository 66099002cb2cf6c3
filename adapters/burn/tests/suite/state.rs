//! Records of either side load in the other, and PyTorch's by name.

use crate::{apart, pair, random, values};
use bn_burn::BatchNormConfig;
use burn::config::Config;
use burn::module::Module;
use burn::store::{ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::{DType, Device, Tensor, TensorData};

#[test]
fn records_load_both_ways() {
    let device = Device::default().autodiff();
    let (ours, theirs) = pair(4, DType::F32);
    let x = random(1, [8, 4, 3], 2.0, DType::F32);
    // burn puts the statistics of the last step into a record of the module for validation; else they are one step behind.
    let _ = ours.forward(x.clone());
    let (x, inner) = (x.clone(), x.inner());
    let loaded = burn::nn::BatchNormConfig::new(4).init(&device).load_record(ours.valid().into_record());
    let [own, other] =
        [values(&ours.valid().forward(inner.clone())), values(&loaded.valid().forward(inner.clone()))];
    assert!(apart(&own, &other) < 1e-5);
    let _ = theirs.forward(x);
    let loaded = BatchNormConfig::new(4).init(&device).load_record(theirs.valid().into_record());
    let [own, other] =
        [values(&loaded.valid().forward(inner.clone())), values(&theirs.valid().forward(inner))];
    assert!(apart(&own, &other) < 1e-5);
}

/// A file that PyTorch wrote, and its own evaluation of the layer in it.
#[test]
fn weights_of_pytorch_load_by_name() {
    #[derive(Module, Debug)]
    struct Dense {
        norm: bn_burn::BatchNorm,
    }
    #[derive(Module, Debug)]
    struct Network {
        dense: Dense,
    }
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/batchnorm/tests/fixtures/torch_f32.safetensors");
    let device = Device::default();
    let mut network = Network { dense: Dense { norm: BatchNormConfig::new(5).init(&device) } };
    let mut store =
        SafetensorsStore::from_file(path).with_from_adapter(PyTorchToBurnAdapter).allow_partial(true);
    let loaded = network.load_from(&mut store).expect("a file of PyTorch's");
    assert_eq!(loaded.applied.len(), 4, "{loaded:?}");

    let bytes = std::fs::read(path).expect("the file");
    let file = batchnorm::safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let [x, y] = ["x", "y"].map(|which| {
        let view = file.tensor(&format!("case.dense.norm.{which}")).expect("a case");
        let values = view.data().as_chunks().0.iter().map(|&v| f32::from_le_bytes(v)).collect::<Vec<f32>>();
        Tensor::<2>::from_data(TensorData::new(values, [4, 5]), &device)
    });
    assert!(apart(&values(&network.dense.norm.valid().forward(x)), &values(&y)) < 1e-6);
}

#[test]
#[should_panic(expected = "axis 1 expected 3, got 4")]
fn wrong_shapes_panic_as_burns() {
    let _ = BatchNormConfig::new(3)
        .init(&Device::default())
        .forward(Tensor::<3>::zeros([1, 4, 2], &Device::default()));
}

#[test]
#[should_panic(expected = "epsilon must be finite and positive.")]
fn settings_are_checked_as_burn_does() {
    let _ = BatchNormConfig::new(3).with_epsilon(0.0).init(&Device::default());
}

#[test]
#[should_panic(expected = "batch norm expected parameters of F64 beside an input of F64, got F32")]
fn types_must_go_together() {
    let (ours, _) = pair(3, DType::F32);
    let _ = ours.forward(random(1, [4, 3], 0.0, DType::F64));
}

#[test]
#[should_panic(expected = "batch norm expected a residual of the input's type")]
fn a_residual_has_the_inputs_type() {
    let (ours, _) = pair(3, DType::F64);
    let _ = ours.forward_add_relu(random(1, [4, 3], 0.0, DType::F64), random(2, [4, 3], 0.0, DType::F32));
}

#[test]
fn configs_load_both_ways() {
    let file = std::env::temp_dir().join(format!("bn-burn-{}.json", std::process::id()));
    burn::nn::BatchNormConfig::new(3).with_epsilon(0.5).save(&file).expect("a file");
    let ours = BatchNormConfig::load(&file).expect("burn's config");
    assert_eq!((ours.num_features, ours.epsilon, ours.unbiased), (3, 0.5, None));
    ours.save(&file).expect("a file");
    assert_eq!(burn::nn::BatchNormConfig::load(&file).expect("our config").epsilon, 0.5);
    std::fs::remove_file(&file).expect("the file");
}
