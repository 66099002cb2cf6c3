//! Settings that are chained, set later and printed; running statistics that begin anew.

use batchnorm::backend::Scalar;
use batchnorm::{Affine, BatchNorm, Config, Error, Frozen, Layout, NonFinite, OneValue, RunningVar};
use ndarray::{Array1, array};

#[test]
fn settings_are_chained_and_each_keeps_to_its_field() {
    let config = Config::default();
    let defaults = (config.eps, config.momentum, config.affine, config.track_running_stats);
    assert_eq!(defaults, (1e-5, Some(0.1), Affine::Both, true));
    assert_eq!((config.running_var, config.layout), (RunningVar::Unbiased, Layout::ChannelsFirst));
    assert_eq!((config.one_value, config.frozen), (OneValue::Refused, Frozen::Nothing));
    let all = config
        .eps(1e-3)
        .momentum(None)
        .affine(false)
        .track_running_stats(false)
        .running_var(RunningVar::Biased)
        .one_value(OneValue::Bias)
        .non_finite(NonFinite::LeftOut)
        .frozen(Frozen::Parameters)
        .layout(Layout::ChannelsLast);
    let mut by_hand = Config::default();
    (by_hand.eps, by_hand.momentum, by_hand.affine) = (1e-3, None, Affine::None);
    (by_hand.track_running_stats, by_hand.running_var) = (false, RunningVar::Biased);
    by_hand.non_finite = NonFinite::LeftOut;
    (by_hand.one_value, by_hand.frozen) = (OneValue::Bias, Frozen::Parameters);
    by_hand.layout = Layout::ChannelsLast;
    assert_eq!(all, by_hand);
}

#[test]
fn momentum_and_eps_can_be_set_later_and_are_checked() {
    let mut bn = BatchNorm::<f64>::new(1).unwrap();
    let x = array![[1.0], [3.0]];
    for momentum in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
        let text = bn.set_momentum(Some(momentum)).unwrap_err().to_string();
        let want = "expected momentum from 0 to 1, or None for the cumulative average, got ";
        assert_eq!(text, format!("{want}{momentum}"));
    }
    for eps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(bn.set_eps(eps), Err(Error::Eps { .. })), "{eps}");
    }
    assert_eq!(bn.config(), &Config::default(), "what is refused changes nothing");

    for momentum in [Some(0.0), Some(1.0), None] {
        bn.set_momentum(momentum).unwrap();
        assert_eq!(bn.config().momentum, momentum);
    }
    bn.set_momentum(Some(0.5)).unwrap();
    bn.forward(&x).unwrap();
    assert_eq!(bn.running.as_ref().unwrap().mean, array![1.0]);
    bn.set_eps(3.0).unwrap();
    let (y, saved) = bn.forward(&x).unwrap();
    assert_eq!((y, saved.invstd()), (array![[-0.5], [0.5]], &[0.5][..]));
}

#[test]
fn running_statistics_begin_anew() {
    let fresh = BatchNorm::<f32>::new(2).unwrap();
    let mut bn = fresh.clone();
    bn.forward(&array![[1.0, -2.0], [3.0, 0.5]]).unwrap();
    bn.weight.fill(3.0);
    assert_ne!(bn.running, fresh.running);
    bn.reset_running_stats();
    assert_eq!((&bn.running, bn.weight[0]), (&fresh.running, 3.0));

    let config = Config::default().track_running_stats(false);
    let mut untracked = BatchNorm::<f32>::with_config(2, config).unwrap();
    untracked.reset_running_stats();
    assert_eq!(untracked.running, None);
}

#[test]
fn a_layer_prints_its_settings_and_its_backend() {
    let bn = BatchNorm::<f32, Scalar>::new(64).unwrap();
    let text = "BatchNorm<f32>(64, eps=1e-5, momentum=0.1, affine=true, track_running_stats=true) on scalar";
    assert_eq!(bn.to_string(), text);
    let config = Config::default()
        .eps(0.001)
        .momentum(None)
        .affine(false)
        .running_var(RunningVar::Biased)
        .one_value(OneValue::Bias)
        .non_finite(NonFinite::LeftOut)
        .frozen(Frozen::All)
        .layout(Layout::ChannelsLast);
    let bn = BatchNorm::<f64, Scalar>::with_config(3, config).unwrap();
    let text = "BatchNorm<f64>(3, eps=1e-3, momentum=None, affine=false, track_running_stats=true, \
                running_var=Biased, one_value=Bias, non_finite=LeftOut, frozen=All, layout=ChannelsLast) on scalar";
    assert_eq!(bn.to_string(), text);
    for (affine, name) in [(Affine::Scale, "affine=scale,"), (Affine::Shift, "affine=shift,")] {
        let bn = BatchNorm::<f32>::with_config(3, Config::default().affine(affine)).unwrap();
        assert!(bn.to_string().contains(name), "{bn}");
    }
}

#[test]
fn layers_of_too_many_features_are_refused() {
    let text = BatchNorm::<f32>::new(usize::MAX).unwrap_err().to_string();
    let want = format!("expected as many features as memory holds, got {}: ", usize::MAX);
    assert_eq!(text, want + "is it the number of all elements?");
    assert_eq!(BatchNorm::<f32>::new(0).unwrap().weight, Array1::<f32>::zeros(0));
}
