//! Files that hold no such layer are refused with the tensor's name, and leave the layer as it was, to the bit.

use batchnorm::checkpoint;
use batchnorm::safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use batchnorm::{BatchNorm, Config, Element, Error, Real};
use std::collections::BTreeMap;

/// Of a file's tensors the type, the shape and the bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn trained<T: Element>() -> BatchNorm<T> {
    let mut bn = BatchNorm::<T>::new(3).expect("a layer");
    let number = |v: f64| T::Compute::from_f64(v);
    bn.weight[1] = number(1.0 / 3.0);
    bn.bias[2] = number(-0.0);
    let running = bn.running.as_mut().expect("tracked");
    (running.mean[0], running.var[2], running.num_batches_tracked) = (number(0.1), number(7.0), 11);
    bn
}

/// Everything that a layer holds, NaN and signs of zeros too.
fn bits<T: Element>(bn: &BatchNorm<T>) -> Vec<u64> {
    let running = bn.running.iter().flat_map(|running| running.mean.iter().chain(&running.var));
    let values = bn.weight.iter().chain(&bn.bias).chain(running).map(|v| v.to_f64().to_bits());
    values.chain(bn.running.iter().map(|running| running.num_batches_tracked.cast_unsigned())).collect()
}

fn file(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as its shape asks for"))
    });
    serialize(views, None).expect("a file")
}

fn stored() -> Tensors {
    let tensors = trained::<f32>().state_dict("n.").expect("a layer as it was made");
    let parts = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    tensors.into_iter().map(|(name, tensor)| (name, parts(tensor.view()))).collect()
}

fn f32s(values: &[f32]) -> (Dtype, Vec<usize>, Vec<u8>) {
    (Dtype::F32, vec![values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn f64s(values: &[f64]) -> (Dtype, Vec<usize>, Vec<u8>) {
    (Dtype::F64, vec![values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// What a layer says to a file whose tensors `change` has changed; it must be as it was.
fn said_by(mut bn: BatchNorm<f32>, change: impl FnOnce(&mut Tensors)) -> String {
    let (before, mut tensors) = (bits(&bn), stored());
    change(&mut tensors);
    let bytes = file(&tensors);
    let error = bn.load_state_dict(&SafeTensors::deserialize(&bytes).expect("a file"), "n.");
    let text = error.expect_err("a file that is refused").to_string();
    assert_eq!(bits(&bn), before, "{text}");
    text
}

fn other() -> BatchNorm<f32> {
    BatchNorm::new(3).expect("a layer")
}

fn said(name: &str, tensor: (Dtype, Vec<usize>, Vec<u8>)) -> String {
    said_by(other(), |tensors| {
        tensors.insert(format!("n.{name}"), tensor);
    })
}

#[test]
fn values_that_no_layer_has_are_refused_by_the_tensors_name() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for name in ["weight", "bias", "running_mean"] {
        let want = format!("expected numbers in the tensor \"n.{name}\", got NaN for feature 1");
        assert_eq!(said(name, f32s(&[0.0, nan, inf])), want);
    }
    let var = "expected numbers of 0 and above in the tensor \"n.running_var\", got";
    assert_eq!(said("running_var", f32s(&[1.0, 1.0, nan])), format!("{var} NaN for feature 2"));
    assert_eq!(said("running_var", f32s(&[-0.5, 1.0, 1.0])), format!("{var} -0.5 for feature 0"));
    // As an f32 it would be −0.
    assert_eq!(said("running_var", f64s(&[1.0, -1e-300, 1.0])), format!("{var} -{} for feature 1", 1e-300));
    let too_large = "expected numbers that f32 holds in the tensor \"n.bias\", got 1e300 for feature 2";
    assert_eq!(said("bias", f64s(&[0.0, f64::INFINITY, 1e300])), too_large);
}

#[test]
fn tensors_of_another_shape_or_type_are_refused() {
    let shape = |got: &str| format!("expected the shape [3] in the tensor \"n.weight\", got {got}");
    assert_eq!(said("weight", f32s(&[1.0; 4])), shape("[4]"));
    assert_eq!(said("weight", f32s(&[])), shape("[0]"));
    let mut column = f32s(&[1.0; 3]);
    column.1 = vec![1, 3];
    assert_eq!(said("weight", column), shape("[1, 3]"));
    let whole = (Dtype::I32, vec![3], vec![0; 12]);
    let want = "expected values in F16, BF16, F32 or F64 in the tensor \"n.bias\", got I32";
    assert_eq!(said("bias", whole), want);

    let count = |dtype, bytes: &[u8]| said("num_batches_tracked", (dtype, vec![], bytes.to_vec()));
    let expected = "in the tensor \"n.num_batches_tracked\", got";
    assert_eq!(
        count(Dtype::I64, &(-2_i64).to_le_bytes()),
        format!("expected a count of 0 or above {expected} -2")
    );
    assert_eq!(
        count(Dtype::F32, &(-2_f32).to_le_bytes()),
        format!("expected a count of 0 or above {expected} -2")
    );
    assert_eq!(count(Dtype::F32, &1.5_f32.to_le_bytes()), format!("expected a count in I64 {expected} 1.5"));
    assert_eq!(
        count(Dtype::F64, &2f64.powi(63).to_le_bytes()),
        format!("expected a count in I64 {expected} 9223372036854776000")
    );
    assert_eq!(count(Dtype::F32, &f32::NAN.to_le_bytes()), format!("expected a count in I64 {expected} NaN"));
    assert_eq!(count(Dtype::U8, &[1]), format!("expected a count in I64 {expected} U8"));
    let two = (Dtype::I64, vec![2], vec![0; 16]);
    assert_eq!(said("num_batches_tracked", two), format!("expected the shape [] {expected} [2]"));
}

#[test]
fn a_missing_tensor_is_named_and_so_is_what_may_have_been_meant() {
    for name in ["weight", "bias", "running_mean", "running_var"] {
        let text = said_by(other(), |tensors| _ = tensors.remove(&format!("n.{name}")));
        assert_eq!(text, format!("expected the shape [3] in the tensor \"n.{name}\", got no such tensor"));
        let text = said_by(other(), |tensors| {
            let tensor = tensors.remove(&format!("n.{name}")).expect("a tensor of the layer");
            tensors.insert(format!("module.n.{name}"), tensor.clone());
            tensors.insert(format!("another.{name}"), tensor);
        });
        assert!(text.ends_with(&format!("no such tensor: the file has \"module.n.{name}\"")), "{text}");
    }
}

/// Strict: values that the layer would not use mean that it is another layer's file.
#[test]
fn tensors_that_the_layer_has_no_use_for_are_refused() {
    let with = |config| BatchNorm::with_config(3, config).expect("a layer");
    let bare = said_by(with(Config::default().affine(false)), |_| ());
    let want =
        "expected nothing, as the layer has no weight, in the tensor \"n.weight\", got one of the shape [3]";
    assert_eq!(bare, want);
    let still = said_by(with(Config::default().track_running_stats(false)), |_| ());
    assert!(
        still.contains("the layer has no running statistics, in the tensor \"n.running_mean\""),
        "{still}"
    );
    let count = said_by(with(Config::default().track_running_stats(false)), |tensors| {
        tensors.retain(|name, _| !name.contains("running"));
    });
    assert!(count.contains("in the tensor \"n.num_batches_tracked\", got one of the shape []"), "{count}");
}

fn loaded(change: impl FnOnce(&mut Tensors)) -> BatchNorm<f32> {
    let (mut bn, mut tensors) = (other(), stored());
    bn.running.as_mut().expect("tracked").num_batches_tracked = 5;
    change(&mut tensors);
    let bytes = file(&tensors);
    bn.load_state_dict(&SafeTensors::deserialize(&bytes).expect("a file"), "n.").expect("a layer's file");
    bn
}

#[test]
fn a_file_without_a_count_has_counted_nothing() {
    let bn = loaded(|tensors| _ = tensors.remove("n.num_batches_tracked"));
    let running = bn.running.expect("tracked");
    assert_eq!((running.num_batches_tracked, running.var[2]), (0, 7.0));
}

#[test]
fn counts_in_other_types_and_other_names_are_taken() {
    let count = |dtype, shape: &[usize], bytes: &[u8]| {
        let tensor = (dtype, shape.to_vec(), bytes.to_vec());
        let bn = loaded(|tensors| _ = tensors.insert("n.num_batches_tracked".into(), tensor));
        bn.running.expect("tracked").num_batches_tracked
    };
    assert_eq!(count(Dtype::I64, &[1], &i64::MAX.to_le_bytes()), i64::MAX);
    assert_eq!(count(Dtype::I32, &[], &7_i32.to_le_bytes()), 7);
    assert_eq!(count(Dtype::F16, &[], &half::f16::from_f32(2048.0).to_le_bytes()), 2048);
    let bn = loaded(|tensors| {
        tensors.insert("n.gamma".into(), f32s(&[f32::NAN]));
        tensors.insert("weight".into(), f32s(&[f32::NAN]));
    });
    assert_eq!(bits(&bn), bits(&trained::<f32>()));
}

/// f64 values are rounded to the nearest f32, those of f32 are f64 values; an infinity stays one.
#[test]
fn values_of_another_type_are_rounded_once() {
    let bn = loaded(|tensors| {
        tensors.insert("n.weight".into(), f64s(&[0.1, f64::INFINITY, 1e-60]));
        tensors
            .insert("n.bias".into(), f64s(&[f64::from(f32::MAX) * (1.0 + 1e-9), -0.0, 1.0 + 2f64.powi(-24)]));
    });
    assert_eq!(bn.weight.to_vec(), [0.1, f32::INFINITY, 0.0]);
    assert_eq!(bn.bias.to_vec(), [f32::MAX, -0.0, 1.0]);
    let (mut wide, narrow) = (BatchNorm::<f64>::new(3).unwrap(), trained::<f32>());
    checkpoint::load(&file(&stored()), [("n.", &mut wide)]).unwrap();
    assert_eq!(bits(&wide), bits(&narrow));
}

/// Where one of several layers is refused, none is written.
#[test]
fn several_layers_load_together_or_not_at_all() {
    let bytes = checkpoint::serialize([("a.", &trained::<f32>()), ("b.", &trained())]).unwrap();
    let (mut a, mut b) = (other(), BatchNorm::new(4).unwrap());
    let before = (bits(&a), bits(&b));
    let error = checkpoint::load(&bytes, [("a.", &mut a), ("b.", &mut b)]).unwrap_err().to_string();
    assert_eq!(error, "expected the shape [4] in the tensor \"b.weight\", got [3]");
    assert_eq!((bits(&a), bits(&b)), before);
}

/// A file cut short anywhere is no file; one with any byte changed is refused, or is another layer.
#[test]
fn no_damage_panics_and_none_is_half_loaded() {
    let whole = file(&stored());
    let mut cut = 0;
    for len in 0..whole.len() {
        let mut bn = other();
        let error = checkpoint::load(&whole[..len], [("n.", &mut bn)]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("expected a whole safetensors file in the bytes, got {len} of them: ")),
            "{text}"
        );
        assert_eq!(bits(&bn), bits(&other()));
        cut += 1;
    }
    assert_eq!(cut, whole.len());
    let mut refused = 0;
    for at in 0..whole.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let (mut bytes, mut bn) = (whole.clone(), other());
            bytes[at] ^= flip;
            if checkpoint::load(&bytes, [("n.", &mut bn)]).is_err() {
                refused += 1;
                assert_eq!(bits(&bn), bits(&other()), "byte {at} with {flip:#x}");
            }
        }
    }
    assert!(refused > whole.len(), "expected most of the header's damage to be found, got {refused}");
}

/// A layer whose arrays were replaced by others says so, and is neither stored nor loaded.
#[test]
fn a_layer_that_is_broken_itself_is_not_written() {
    let mut bn = other();
    bn.weight = ndarray::Array1::ones(2);
    let length = Error::Length { what: "weight", expected: 3, got: 2 };
    assert_eq!(bn.state_dict("n.").unwrap_err(), length);
    assert_eq!(checkpoint::load(&file(&stored()), [("n.", &mut bn)]), Err(length));
    assert_eq!(bn.weight.len(), 2);
}
