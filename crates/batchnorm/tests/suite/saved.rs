//! What a forward saves: its statistics as slices, and the same bits after serde.

use batchnorm::{BatchNorm, Config, Element, Mode, Options, Real, Renorm, Saved, Shape};
use ndarray::{Array2, array};
use serde_json::{Value, json};

fn bits<R: Real>(values: &[R]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// Of a training forward, of an evaluation, of a frozen layer without statistics, of an empty batch, and of none; with values far
/// from zero, a NaN, an infinity and what is huge.
fn all<T: Element>() -> Vec<Saved<T>> {
    let number = |v: f64| T::from_compute(T::Compute::from_f64(v));
    let x = Array2::from_shape_fn((7, 6), |(n, c)| {
        let ordinary = ((n * 5 + c * 3) % 11) as f64 / 3.0;
        number(match (n, c) {
            (3, 1) => f64::NAN,
            (3, 2) => f64::INFINITY,
            (_, 3) => 1000.0 + ordinary,
            (_, 4) => 1e200 * ordinary,
            (_, 5) => -0.0,
            _ => ordinary,
        })
    });
    let mut bn = BatchNorm::<T>::new(6).unwrap();
    let untracked = Config::default().track_running_stats(false);
    let untracked = BatchNorm::<T>::with_config(6, untracked).unwrap();
    let empty = Array2::from_elem((0, 6), T::default());
    vec![
        bn.forward(&x).unwrap().1,
        bn.forward_with(&x, Options::default().renorm(Renorm { r_max: 3.0, d_max: 5.0 })).unwrap().1,
        bn.forward_with(&x, Options::default().ghost(3)).unwrap().1,
        bn.forward_eval_saved(&x).unwrap().1,
        untracked.forward_eval_saved(&x).unwrap().1,
        bn.forward(&empty).unwrap().1,
        bn.forward_eval_saved(&empty).unwrap().1,
        Saved::default(),
    ]
}

fn comes_back<T: Element>() {
    let gradients = |saved: &Saved<T>| {
        let bn = BatchNorm::<T>::new(6).unwrap();
        let x = Array2::from_shape_fn((7, 6), |(n, c)| T::from_compute(T::Compute::from_f64((n + c) as f64)));
        match saved.mode() {
            Mode::Train => bn.backward(saved, &x, &x),
            Mode::Eval => bn.backward_eval(saved, &x, &x),
        }
        .map(|g| {
            let dx: Vec<T::Compute> = g.dx.iter().map(|v| v.to_compute()).collect();
            [bits(&dx), bits(&g.dweight.to_vec()), bits(&g.dbias.to_vec())]
        })
        .map_err(|error| error.to_string())
    };
    for saved in all::<T>() {
        let text = serde_json::to_string(&saved).unwrap();
        let of_json: Saved<T> = serde_json::from_str(&text).unwrap();
        let of_bytes: Saved<T> = postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
        for back in [&of_json, &of_bytes] {
            assert_eq!((back.shape(), back.mode()), (saved.shape(), saved.mode()));
            assert_eq!(serde_json::to_string(back).unwrap(), text, "every bit that is stored");
            for (own, own_back) in
                [(saved.mean(), back.mean()), (saved.var(), back.var()), (saved.invstd(), back.invstd())]
            {
                assert_eq!(bits(own), bits(own_back), "{}", T::NAME);
            }
            match (gradients(&saved), gradients(back)) {
                // A message no longer knows the array's dimensions.
                (Err(_), Err(_)) => {}
                (own, own_back) => assert_eq!(own, own_back, "{}", T::NAME),
            }
        }
    }
}

/// A rest of −0, whose sign the sum of its parts would lose.
fn minus_zero_comes_back<T: Element>() {
    let saved = &all::<T>()[3];
    let mut stored = serde_json::to_value(saved).unwrap();
    for part in stored["rest"].as_array_mut().unwrap() {
        *part = json!((-0.0f64).to_bits());
    }
    let back: Saved<T> = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(back).unwrap(), stored, "{}", T::NAME);
}

#[test]
fn a_state_comes_back_with_every_bit() {
    minus_zero_comes_back::<f32>();
    minus_zero_comes_back::<f64>();
    comes_back::<f32>();
    comes_back::<f64>();
    comes_back::<half::f16>();
    comes_back::<half::bf16>();
}

#[test]
fn statistics_are_slices_of_one_value_per_feature() {
    let mut bn = BatchNorm::<f64>::with_config(2, Config::default().eps(3.0)).unwrap();
    let (_, saved) = bn.forward(&array![[1.0, 0.0], [3.0, 2.0]]).unwrap();
    assert_eq!((saved.mean(), saved.var(), saved.invstd()), (&[2.0, 1.0][..], &[1.0; 2][..], &[0.5; 2][..]));
    // Those of the next forward, not those that were asked for before.
    let mut again = saved.clone();
    let shape = Shape::nc(2, 1).unwrap();
    let mut bn = BatchNorm::<f64>::with_config(1, Config::default().eps(12.0)).unwrap();
    bn.forward_into(shape, &[1.0, 5.0], &mut [0.0; 2], &mut again, &mut Default::default()).unwrap();
    assert_eq!((again.mean(), again.var(), again.invstd()), (&[3.0][..], &[4.0][..], &[0.25][..]));
    assert_eq!(saved.var(), [1.0; 2]);
    // The running ones in evaluation, and none without a forward.
    let (_, saved) = bn.forward_eval_saved(&array![[7.0]]).unwrap();
    let running = bn.running.unwrap();
    assert_eq!((saved.mean(), saved.var()), (&running.mean.to_vec()[..], &running.var.to_vec()[..]));
    assert_eq!(Saved::<f64>::default().invstd(), [0.0; 0]);
}

#[test]
fn what_no_forward_leaves_is_refused_with_the_fields_name() {
    let mut bn = BatchNorm::<f64>::new(2).unwrap();
    let (_, saved) = bn.forward(&array![[1.0, 0.0], [3.0, 2.0]]).unwrap();
    let (_, frozen) = bn.forward_eval_saved(&array![[1.0, 0.0], [3.0, 2.0]]).unwrap();
    let empty = bn.forward(&Array2::zeros((0, 2))).unwrap().1;
    let number = |v: f64| json!(v.to_bits());
    let numbers = |v: f64| json!([v.to_bits(), 0, v.to_bits(), 0]);
    let two = json!({ "outer": 4, "features": 2, "inner": 1 });
    let vast = json!({ "outer": u64::MAX, "features": 2, "inner": 2 });
    let cases: [(&Saved<f64>, &str, Value, &str); 15] = [
        (&saved, "/element", json!("f32"), "expected f64 in element, got f32"),
        (&saved, "/shape", vast, "expected at most 9223372036854775807 elements"),
        (&saved, "/shape/features", json!(3), "expected 1 for each of 3 features in mean, got 2"),
        (&saved, "/shape", two, "expected the 4 values per feature of the shape in count, got 2"),
        (&saved, "/mode", json!("Nap"), "unknown variant `Nap`"),
        (&saved, "/count", json!(1), "expected the 2 values per feature of the shape in count, got 1"),
        (&frozen, "/count", json!(3), "expected the 2 values per feature of the shape in count, got 3"),
        (&saved, "/eps", json!([]), "expected 1 number in eps, got 0"),
        (&saved, "/eps/0", number(-1.0), "expected eps finite and greater than 0, got -1"),
        (&saved, "/eps/0", number(0.0), "expected eps finite and greater than 0, got 0"),
        (&saved, "/mean", json!([0]), "expected 1 for each of 2 features in mean, got 1"),
        (&saved, "/rest", json!([0, 0]), "expected 2 for each of 2 features in rest, got 2"),
        (&saved, "/var", numbers(-1.0), "expected numbers of 0 and above in var, got -1"),
        (&saved, "/invstd", numbers(0.5), "expected 1/√(var + eps) = 9.9999"),
        (&empty, "/mean/0", number(1.0), "expected zeros after an empty batch in mean"),
    ];
    for (of, at, value, reason) in cases {
        let mut stored = serde_json::to_value(of).unwrap();
        *stored.pointer_mut(at).expect("a field of the state") = value;
        let error = serde_json::from_value::<Saved<f64>>(stored).expect_err(at).to_string();
        assert!(error.contains(reason), "{at}: got {error}");
    }
    // Of f32, a mean that is none.
    let (_, saved) = BatchNorm::<f32>::new(1).unwrap().forward(&array![[1.0], [3.0]]).unwrap();
    let mut stored = serde_json::to_value(&saved).unwrap();
    stored["mean"] = json!([0.1f64.to_bits()]);
    let error = serde_json::from_value::<Saved<f32>>(stored).unwrap_err().to_string();
    assert!(error.contains("expected values of f32 in mean, got 0.1"), "{error}");
    let mut stored = serde_json::to_value(&saved).unwrap();
    stored["gate"] = json!(1);
    let error = serde_json::from_value::<Saved<f32>>(stored).unwrap_err().to_string();
    assert!(error.contains("unknown field `gate`"), "{error}");
}

#[test]
fn a_shape_comes_back_and_one_that_is_none_is_refused() {
    let shape = Shape::nchw(8, 64, 28, 28).unwrap();
    let text = serde_json::to_string(&shape).unwrap();
    assert_eq!(text, r#"{"outer":8,"features":64,"inner":784}"#);
    assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
    let error = serde_json::from_value::<Shape>(json!({ "outer": 1, "features": 1 })).unwrap_err();
    assert!(error.to_string().contains("missing field `inner`"), "{error}");
}
