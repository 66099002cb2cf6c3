//! One shape: inputs, answers checked, rounds, records.

use super::accuracy;
use super::machine::Machine;
use super::measure::{Samples, rounds, turn};
use super::peer::Peers;
use super::plan::{Contestant, Kind, Pools, Task, contestants};
use super::record::{Record, summary};
use super::stop;
use benches::implementation::{Implementation, Pass};
use benches::inputs::{Answer, Inputs, Outputs, huge_share};
use benches::layer::Kernels;
use benches::tune;
use benches::variant::Variant;
use bn_conformance::data::X;
use bn_core::{Element, Real};
use indicatif::ProgressBar;
use ndarray::NdFloat;
use std::cell::RefCell;

/// What lasts for the whole run.
pub(crate) struct Runner {
    pub(crate) quick: bool,
    pub(crate) pools: Pools,
    pub(crate) peers: Peers,
    pub(crate) machine: Machine,
    pub(crate) bar: ProgressBar,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
    /// Wrong answers of this project's own.
    pub(crate) wrong: usize,
}

impl Runner {
    /// Measures a shape; where it was asked to stop, what there is of it.
    pub(crate) fn run(&mut self, task: &Task) -> Vec<Record> {
        let start = self.bar.position();
        let variant = if task.variant == Variant::Plain { "" } else { task.variant.name() };
        self.bar.set_message(format!("{} {variant}", task.named.name));
        self.bar.tick();
        let records = if task.f64 { self.typed::<f64>(task, start) } else { self.typed::<f32>(task, start) };
        self.bar.set_position(start + task.weight(self.quick));
        records
    }

    fn typed<T: NdFloat + Real>(&mut self, task: &Task, start: u64) -> Vec<Record> {
        let inputs = task.variant.of(Inputs::<T>::new(&task.named, X::Shifted));
        let mut outputs = Outputs::of(&inputs);
        let mut all = contestants(&inputs, &self.pools, self.quick);
        self.with_peers(&mut all, &inputs);
        self.keep_right(&mut all, &inputs, &mut outputs);

        self.settle(&mut all, &inputs, &mut outputs);
        let weight = task.weight(self.quick) as f64;
        let tick = |done: f64| self.bar.set_position(start + (done * weight) as u64);
        let shared = RefCell::new(outputs);
        let mut turns: Vec<_> = all.iter_mut().map(|c| turn(&mut c.one, &inputs, &shared)).collect();
        let samples = rounds(&mut turns, &Pass::ALL, Task::budget(self.quick), &tick);
        drop(turns);
        let mut outputs = shared.into_inner();
        for failed in &samples {
            if let Some(error) = failed.failed.as_ref().filter(|_| !stop::requested()) {
                let (place, pass) = (place(&inputs), failed.pass.name());
                self.notes.push(format!("{error}, at {place} {pass}"));
            }
        }
        let mut records = self.records(&all, &samples, &inputs, huge_share(&inputs, &outputs));
        if task.has_accuracy(self.quick) {
            all.retain(|one| !matches!(one.kind, Kind::Peer(_)));
            for (i, kind) in accuracy::DATA.into_iter().enumerate() {
                if stop::requested() {
                    break;
                }
                let inputs = Inputs::<T>::new(&task.named, kind);
                self.with_peers(&mut all, &inputs);
                let errors = accuracy::errors(&mut all, &inputs, &mut outputs);
                accuracy::enter(&mut records, i, &errors);
                all.retain(|one| !matches!(one.kind, Kind::Peer(_)));
            }
        }
        records
    }

    fn with_peers<T: Real>(&mut self, all: &mut Vec<Contestant<T>>, inputs: &Inputs<T>) {
        let mut notes = Vec::new();
        let loaded = self.peers.load(inputs, &mut |note| notes.push(note));
        all.extend(loaded.into_iter().map(|(one, version)| Contestant { kind: Kind::Peer(version), one }));
        // Inputs of the same shape are refused for the same reason.
        for note in notes {
            if !self.notes.contains(&note) && !stop::requested() {
                self.notes.push(note);
            }
        }
    }

    /// Lets the layer learn its schedules, which is not timed.
    fn settle<T: Real>(&mut self, all: &mut [Contestant<T>], inputs: &Inputs<T>, outputs: &mut Outputs<T>) {
        for one in all.iter_mut().filter(|one| one.kind == Kind::Ours) {
            if let Err(error) = tune::settle(one.one.as_mut(), inputs, outputs) {
                self.notes.push(format!("{}: {error}", one.one.name()));
            }
        }
    }

    /// Leaves out whose answer is not the scalar kernels'.
    fn keep_right<T: Real>(
        &mut self,
        all: &mut Vec<Contestant<T>>,
        inputs: &Inputs<T>,
        outputs: &mut Outputs<T>,
    ) {
        let reference = Kernels::Scalar.layer(inputs, None);
        let Some(Ok(Some(want))) = reference.map(|mut reference| reference.answer(inputs, outputs)) else {
            unreachable!("the scalar kernels run anywhere and have an answer");
        };
        all.retain_mut(|one| {
            if stop::requested() {
                return false;
            }
            match check(one, &want, inputs, outputs) {
                Ok(()) => true,
                // A peer that was interrupted gave no wrong answer.
                Err(_) if stop::requested() && matches!(one.kind, Kind::Peer(_)) => false,
                Err(error) => {
                    let (name, threads) = (one.one.name(), one.one.threads());
                    let place = format!("{} on {threads} threads", place(inputs));
                    self.notes.push(format!("{name}: not timed at {place}: {error}"));
                    self.wrong += usize::from(!matches!(one.kind, Kind::Peer(_)));
                    false
                }
            }
        });
    }

    fn records<T: Real>(
        &self,
        all: &[Contestant<T>],
        samples: &[Samples],
        inputs: &Inputs<T>,
        huge_share: Option<f64>,
    ) -> Vec<Record> {
        // The fastest of the floors that `counts` takes by their threads.
        let fastest = |of: &Samples, counts: &dyn Fn(usize) -> bool| {
            let floors = samples.iter().filter(|s| matches!(all[s.who].kind, Kind::Floor(_)));
            let same = floors.filter(|s| s.pass == of.pass && counts(all[s.who].one.threads()));
            same.filter_map(|s| Some((s.who, s.median()?))).min_by(|a, b| a.1.total_cmp(&b.1))
        };
        // The median of the default kernels on so many threads.
        let ours = |pass, threads: usize| {
            let one = all.iter().position(|c| {
                let name = Kernels::Dispatch.name(threads > 1);
                c.kind == Kind::Ours && c.one.threads() == threads && c.one.name() == name
            })?;
            samples.iter().find(|s| s.who == one && s.pass == pass)?.median()
        };
        let record = |s: &Samples| {
            let Contestant { kind, one } = &all[s.who];
            let own = one.threads();
            let (floor, _) = fastest(s, &|threads| threads == own)?;
            // Threads may be left idle: where a second one only costs, one thread's floor counts.
            let (_, floor_ns) = fastest(s, &|threads| threads <= own)?;
            let detail = match kind {
                Kind::Floor(_) if floor != s.who => return None,
                Kind::Floor(stores) => stores.name().to_string(),
                Kind::Peer(version) => version.clone(),
                Kind::Ours | Kind::Textbook => String::new(),
            };
            // Whoever allocates does so as its allocator has it.
            let huge_pages = huge_share.filter(|_| matches!(kind, Kind::Floor(_) | Kind::Ours));
            let over_ours = match kind {
                Kind::Textbook | Kind::Peer(_) => ours(s.pass, own).and_then(|ours| Some(s.median()? / ours)),
                Kind::Floor(_) | Kind::Ours => None,
            };
            // The floor copies the tensors of a plain pass, whatever the variant.
            let variant = if matches!(kind, Kind::Floor(_)) { Variant::Plain } else { inputs.variant };
            let bytes = (s.pass.tensors_of(variant) * size_of_val(inputs.x_slice())) as u64;
            let record = self.record(inputs, one.as_ref(), s, floor_ns)?;
            Some(Record { detail, huge_pages, over_ours, bytes, gbps: bytes as f64 / s.median()?, ..record })
        };
        samples.iter().filter_map(record).collect()
    }

    /// What any record has, with the traffic of a plain pass; `None` where there are no samples.
    pub(crate) fn record<T: Element>(
        &self,
        inputs: &Inputs<T>,
        one: &dyn Implementation<T>,
        samples: &Samples,
        floor_ns: f64,
    ) -> Option<Record> {
        let (median_ns, min_ns, spread) = summary(&samples.ns)?;
        let bytes = (samples.pass.tensors() * size_of_val(inputs.x_slice())) as u64;
        let Machine { cpu, rustc, date, .. } = self.machine.clone();
        Some(Record {
            name: inputs.named.name.clone(),
            shape: inputs.named.shape_text(),
            layout: inputs.named.layout_name.to_lowercase(),
            dtype: T::NAME.into(),
            pass: samples.pass.name().into(),
            variant: inputs.variant.name().into(),
            implementation: one.name().into(),
            threads: one.threads(),
            median_ns,
            min_ns,
            spread,
            samples: samples.ns.len(),
            bytes,
            gbps: bytes as f64 / median_ns,
            roofline_gbps: bytes as f64 / floor_ns,
            cpu,
            rustc,
            date,
            ..Record::default()
        })
    }
}

/// The shape's name, and its variant where it has one.
fn place<T: Element>(inputs: &Inputs<T>) -> String {
    match inputs.variant {
        Variant::Plain => inputs.named.name.clone(),
        variant => format!("{} {}", inputs.named.name, variant.name()),
    }
}

/// Ours must have the bits, others all but roundings.
fn check<T: Real>(
    contestant: &mut Contestant<T>,
    want: &Answer<T>,
    inputs: &Inputs<T>,
    outputs: &mut Outputs<T>,
) -> Result<(), String> {
    match (contestant.one.answer(inputs, outputs)?, &contestant.kind) {
        (None, Kind::Floor(_)) => Ok(()),
        (None, _) => Err("expected an answer, got none".into()),
        (Some(got), Kind::Ours) => got.check_bits(want),
        (Some(got), _) => got.check_close(want),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use benches::shapes::parse;
    use std::time::Duration;

    /// The layer, a bit off in one place.
    struct Off(Box<dyn Implementation<f32>>, fn(&mut Answer<f32>));

    impl Implementation<f32> for Off {
        fn name(&self) -> &str {
            "off"
        }
        fn threads(&self) -> usize {
            1
        }
        fn time(
            &mut self,
            _: Pass,
            _: u32,
            _: &Inputs<f32>,
            _: &mut Outputs<f32>,
        ) -> Result<Duration, String> {
            Err("not to be timed".into())
        }
        fn answer(
            &mut self,
            inputs: &Inputs<f32>,
            outputs: &mut Outputs<f32>,
        ) -> Result<Option<Answer<f32>>, String> {
            let answer = self.0.answer(inputs, outputs)?;
            Ok(answer.map(|mut answer| {
                (self.1)(&mut answer);
                answer
            }))
        }
    }

    #[test]
    fn a_wrong_answer_is_told_and_not_timed() {
        let pools = Pools::new(true, 1).unwrap();
        let peers = Peers::start(&[], &[1], &mut |_| ()).unwrap();
        let machine = Machine::here();
        let bar = ProgressBar::hidden();
        let mut runner = Runner { quick: true, pools, peers, machine, bar, notes: vec![], wrong: 0 };
        let inputs = Inputs::<f32>::new(&parse("a NC 8x4").unwrap()[0], X::Shifted);
        let mut outputs = Outputs::new(inputs.x.len());
        let bit: fn(&mut Answer<f32>) = |a| a.dx[7] = f32::from_bits(a.dx[7].to_bits() ^ 1);
        let lost: fn(&mut Answer<f32>) = |a| a.dbias[1] *= 1.01;
        let kinds = [
            (Kind::Ours, bit, true),
            (Kind::Textbook, bit, false),
            (Kind::Textbook, lost, true),
            (Kind::Peer("1".into()), lost, true),
        ];
        for (i, (kind, spoil, is_wrong)) in kinds.into_iter().enumerate() {
            let layer = Kernels::Dispatch.layer(&inputs, None).unwrap();
            let mut all = vec![Contestant { kind, one: Box::new(Off(layer, spoil)) as Box<_> }];
            runner.notes.clear();
            runner.keep_right(&mut all, &inputs, &mut outputs);
            assert_eq!((all.is_empty(), runner.notes.len()), (is_wrong, usize::from(is_wrong)), "{i}");
        }
        assert_eq!(runner.wrong, 2, "a peer's wrong answer is not this project's");
        assert!(runner.notes[0].starts_with("off: not timed at a on 1 threads: dbias[1]: expected"));

        let inputs = Variant::AddRelu.of(inputs);
        let mut outputs = Outputs::of(&inputs);
        let gate: fn(&mut Answer<f32>) = |a| a.dresidual[3] += 1.0;
        let layer = Kernels::Dispatch.layer(&inputs, None).unwrap();
        let one = Box::new(Off(layer, gate)) as Box<_>;
        let mut all = vec![Contestant { kind: Kind::Peer("1".into()), one }];
        runner.notes.clear();
        runner.keep_right(&mut all, &inputs, &mut outputs);
        let says = "off: not timed at a add_relu on 1 threads: dresidual[3]: expected";
        assert!(all.is_empty() && runner.notes[0].starts_with(says), "{:?}", runner.notes);
    }
}
