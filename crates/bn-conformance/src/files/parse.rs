//! From an opened file to a case: every tensor and key is checked, used or not.

use super::{File, FileError, Loaded, Stored, Unsupported};
use crate::any::AnyCase;
use crate::case::{Case, Cotangents, Tensor};
use bn_core::{Activation, Config, Layout, Mode, RunningVar};
use safetensors::tensor::Dtype;

/// The most features of a tensor without elements: none of the file's bytes vouches for them.
const EMPTY_FEATURES: usize = 1 << 20;

/// The inputs that a file may hold.
const TENSORS: &[&str] = &[
    "x",
    "dy",
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "residual",
    "mask",
    "v.dx",
    "v.dweight",
    "v.dbias",
];

/// The keys that a file may hold.
const KEYS: &[&str] = &[
    "format",
    "mode",
    "layout",
    "eps",
    "momentum",
    "num_batches_tracked",
    "activation",
    "running_var",
    "renorm",
    "rtol",
    "atol",
    "source",
];

impl File<'_> {
    /// The case, and what of it cannot be checked.
    pub(super) fn loaded<T: Stored>(&self, any: fn(Case<T>) -> AnyCase) -> Result<Loaded, FileError>
    where
        T::Compute: Stored,
    {
        self.strangers()?;
        let mut case = self.inputs::<T>()?;
        let unsupported = self.expectations(&mut case)?;
        Ok(Loaded { case: any(case), unsupported })
    }

    /// An input or a setting that this reader does not know may change every result: it is never left out.
    fn strangers(&self) -> Result<(), FileError> {
        let mut names = self.tensors.names();
        names.sort_unstable();
        if let Some(name) =
            names.into_iter().find(|name| !TENSORS.contains(name) && !name.starts_with("expect."))
        {
            return Err(self.wrong(format!("expected tensors of {TENSORS:?} and \"expect.*\", got {name:?}")));
        }
        let mut keys: Vec<&String> = self.keys.keys().collect();
        keys.sort_unstable();
        match keys.into_iter().find(|key| !KEYS.contains(&key.as_str())) {
            Some(key) => Err(self.wrong(format!("expected metadata keys of {KEYS:?}, got {key:?}"))),
            None => Ok(()),
        }
    }

    /// RMAX and DMAX of batch renormalization, which needs running statistics to begin with.
    fn renorm(&self) -> Result<Option<[f64; 2]>, FileError> {
        let Some(value) = self.keys.get("renorm") else { return Ok(None) };
        let numbers: Option<Vec<f64>> = value.split(',').map(|v| v.parse().ok()).collect();
        let numbers = numbers.and_then(|v| <[f64; 2]>::try_from(v).ok());
        let good = |v: &[f64; 2]| v.iter().all(|v| v.is_finite()) && v[0] >= 1.0 && v[1] >= 0.0;
        let Some(numbers) = numbers.filter(good) else {
            let want = "expected RMAX,DMAX with RMAX of 1 or more and DMAX of 0 or more for \"renorm\"";
            return Err(self.wrong(format!("{want}, got {value:?}")));
        };
        match self.has("running_mean") {
            true => Ok(Some(numbers)),
            false => {
                Err(self.wrong("expected a tensor \"running_mean\" beside \"renorm\", found none".into()))
            }
        }
    }

    /// The mask: x without its feature axis, of zeros and ones.
    fn mask<T: Stored>(&self, case: &Case<T>) -> Result<Option<Vec<bool>>, FileError> {
        if !self.has("mask") {
            return Ok(None);
        }
        let mut dims = case.dims.clone();
        dims.remove(case.axis());
        let bytes = self.bytes("mask", Dtype::U8, &dims)?;
        match bytes.iter().find(|v| **v > 1) {
            Some(v) => Err(self.wrong(format!("expected 0 and 1 in tensor \"mask\", got {v}"))),
            None => Ok(Some(bytes.iter().map(|v| *v == 1).collect())),
        }
    }

    fn config(&self) -> Result<Config, FileError> {
        let momentum = match self.key("momentum")? {
            "none" => None,
            _ => Some(self.number("momentum", "", |_| true)?),
        };
        let layouts = [("channels_first", Layout::ChannelsFirst), ("channels_last", Layout::ChannelsLast)];
        let kinds = [("unbiased", RunningVar::Unbiased), ("biased", RunningVar::Biased)];
        let kind = self.keys.get("running_var").map_or("unbiased", String::as_str);
        Ok(Config::default()
            .eps(self.number("eps", " above 0", |v| v > 0.0)?)
            .momentum(momentum)
            .running_var(*self.one_of("running_var", kind, &kinds)?)
            .layout(*self.one_of("layout", self.key("layout")?, &layouts)?))
    }

    /// The activation, and whether a residual is added before.
    fn activation(&self) -> Result<(Activation, bool), FileError> {
        let known = [
            ("none", (Activation::Identity, false)),
            ("relu", (Activation::Relu, false)),
            ("add_relu", (Activation::Relu, true)),
        ];
        self.one_of("activation", self.key("activation")?, &known).copied()
    }

    /// Everything but the expectations.
    fn inputs<T: Stored>(&self) -> Result<Case<T>, FileError>
    where
        T::Compute: Stored,
    {
        let config = self.config()?;
        let dims = self.tensor("x")?.shape().to_vec();
        if dims.len() < 2 {
            return Err(self.wrong(format!("expected 2 dimensions or more of tensor \"x\", got {dims:?}")));
        }
        let modes = [("train", Mode::Train), ("eval", Mode::Eval)];
        let tracked = self.keys.get("num_batches_tracked").map_or("0", String::as_str);
        let mut case = Case {
            name: self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            mode: *self.one_of("mode", self.key("mode")?, &modes)?,
            config,
            num_batches_tracked: tracked.parse().ok().filter(|n| *n >= 0).ok_or_else(|| {
                self.wrong(format!("expected a count for \"num_batches_tracked\", got {tracked:?}"))
            })?,
            x: self.values("x", &dims)?,
            dy: self.optional("dy", &dims)?,
            dims,
            ..Case::default()
        };
        let c = [case.features()];
        if case.x.is_empty() && c[0] > EMPTY_FEATURES {
            let most = format!("expected at most {EMPTY_FEATURES} features in an empty tensor \"x\"");
            return Err(self.wrong(format!("{most}, got the dimensions {:?}", case.dims)));
        }
        case.affine = [self.optional("weight", &c)?, self.optional("bias", &c)?];
        case.running = self.pair::<T::Compute>(["running_mean", "running_var"], &c)?;
        if self.keys.contains_key("rtol") || self.keys.contains_key("atol") {
            let tolerance = |key| self.number(key, " of 0 or more", |v| v >= 0.0);
            case.rounded = Some((tolerance("rtol")?, tolerance("atol")?));
        }
        case.mask = self.mask(&case)?;
        let (activation, added) = self.activation()?;
        let residual = self.optional::<T>("residual", &case.dims)?;
        if residual.is_none() && added {
            return Err(self.wrong(
                "expected a tensor \"residual\" beside the activation \"add_relu\", found none".into(),
            ));
        }
        (case.activation, case.residual) = (activation, residual.filter(|_| added));
        case.renorm = self.renorm()?;
        let cotangents = Cotangents {
            dx: self.optional("v.dx", &case.dims)?,
            dweight: self.optional("v.dweight", &c)?,
            dbias: self.optional("v.dbias", &c)?,
        };
        let Cotangents { dx, dweight, dbias } = &cotangents;
        let any = dx.is_some() || dweight.is_some() || dbias.is_some();
        case.cotangents = (any && case.dy.is_some()).then_some(cotangents);
        Ok(case)
    }

    /// Reads what is expected into the case, but for what it returns.
    fn expectations<T: Stored>(&self, case: &mut Case<T>) -> Result<Vec<Unsupported>, FileError> {
        let (_, added) = self.activation()?;
        let mut names: Vec<&str> =
            self.tensors.names().into_iter().filter_map(|name| name.strip_prefix("expect.")).collect();
        // The order of the format's own list; strangers last.
        names.sort_by_key(|name| {
            (Tensor::ALL.iter().position(|t| t.name() == *name).unwrap_or(Tensor::ALL.len()), *name)
        });
        if names.is_empty() {
            return Err(self.wrong("expected a tensor \"expect.*\" or more, found none".into()));
        }
        let mut unsupported = Vec::new();
        for name in names {
            let full = format!("expect.{name}");
            let tensor = Tensor::ALL.into_iter().find(|t| t.name() == name);
            let Some(tensor) = tensor else {
                unsupported.push(Unsupported { tensor: name.into(), why: "an unknown tensor".into() });
                continue;
            };
            let dims = if tensor.is_whole() { case.dims.clone() } else { vec![case.features()] };
            let values = self.values::<f64>(&full, &dims)?;
            for need in needs(name) {
                if !self.has(need) {
                    return Err(self.wrong(format!("expected a tensor {need:?} beside {full:?}, found none")));
                }
            }
            if name == "dresidual" && !added {
                return Err(self.wrong(format!("expected the activation \"add_relu\" beside {full:?}")));
            }
            case.expect.insert(tensor, values);
        }
        Ok(unsupported)
    }
}

/// The inputs that an expectation follows from.
fn needs(expected: &str) -> &'static [&'static str] {
    match expected {
        "dx" | "dresidual" => &["dy"],
        "dweight" => &["dy", "weight"],
        "dbias" => &["dy", "bias"],
        "running_mean" | "running_var" => &["running_mean"],
        "dd.dy" | "dd.x" => &["dy", "v.dx"],
        "dd.weight" => &["dy", "v.dx", "weight"],
        _ => &[],
    }
}
