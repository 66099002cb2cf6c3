use super::*;

const ALL: u16 = 0b1111_1111_1111;

/// Runs steps until nothing is tried any more; `time` says what a candidate takes in step `n`. How many tried something, and
/// what they took together.
fn learn(trials: &Trials, mut time: impl FnMut(usize, u32) -> u32) -> (u32, u64) {
    let (mut steps, mut all) = (0, 0);
    loop {
        let Turn { candidate, tried } = trials.next();
        if !tried {
            return (steps, all);
        }
        let took = time(candidate, steps);
        trials.record(candidate, took);
        (steps, all) = (steps + 1, all + u64::from(took));
    }
}

#[test]
fn the_best_is_found_within_64_steps_that_cost_little() {
    for best in 0..MOST {
        let trials = Trials::new(ALL, 5);
        // Eleven that take 1.0 to 1.8 times the first guess's time, and one that takes 0.8 of it.
        let (steps, took) = learn(&trials, |i, _| match i {
            i if i == best => 800,
            5 => 1000,
            i => 1050 + 60 * i as u32,
        });
        assert_eq!(trials.choice(), best);
        assert!(steps <= 64, "{steps} steps");
        let rest = u64::from(64 - steps) * 800;
        assert!(took + rest <= 64 * 1150, "{} of {}", took + rest, 64_000);
    }
}

#[test]
fn what_is_much_slower_is_dropped_after_two_tries() {
    let trials = Trials::new(0b111, 0);
    let mut tries = [0; 3];
    learn(&trials, |i, _| {
        tries[i] += 1;
        [1000, 1400, 2100][i]
    });
    assert_eq!(tries, [5, 2, 2]);
}

#[test]
fn a_burst_spoils_nothing() {
    // Every step of one third of the time takes three times as long.
    let trials = Trials::new(0b1111, 0);
    learn(&trials, |i, step| [1000, 900, 1100, 1200][i] * if step % 9 < 3 { 3 } else { 1 });
    assert_eq!(trials.choice(), 1);
}

#[test]
fn what_is_hardly_better_changes_nothing() {
    let trials = Trials::new(0b11, 0);
    learn(&trials, |i, _| [1000, 990][i]);
    assert_eq!(trials.choice(), 0);
}

#[test]
fn steps_that_are_not_timed_end_the_trials_too() {
    let trials = Trials::new(ALL, 3);
    let tried = (0..1000).filter(|_| trials.next().tried).count();
    assert!(trials.is_settled() && tried <= usize::from(STEPS), "{tried}");
    assert_eq!(trials.choice(), 3);
}

#[test]
fn a_look_back_finds_that_the_machine_has_changed() {
    let trials = Trials::new(0b111, 0);
    learn(&trials, |i, _| [1000, 800, 850][i]);
    assert_eq!(trials.choice(), 1);
    let mut others = 0;
    for _ in 0..2 * LOOK_BACK {
        let Turn { candidate, tried } = trials.next();
        if tried {
            others += 1;
            trials.record(candidate, [1000, 900, 700][candidate]);
        }
    }
    // The one that is much slower now is dropped after two tries.
    assert_eq!((trials.choice(), others), (2, 8));
}

#[test]
fn one_candidate_is_no_choice_and_a_pinned_one_stays() {
    assert!(!Trials::new(0b100, 2).next().tried);
    let trials = Trials::new(ALL, 0);
    trials.pin(7);
    assert!((0..3 * LOOK_BACK).all(|_| trials.next() == Turn { candidate: 7, tried: false }));
}
