use super::*;

const ALL: u16 = 0b1111_1111_1111;

/// Runs steps until nothing is tried any more; `time` says what a candidate takes in step `n`. How many tried something, and
/// what they took together.
fn learn(trials: &Trials, mut time: impl FnMut(usize, u32) -> u32) -> (u32, u64) {
    let (mut steps, mut all) = (0, 0);
    loop {
        let Turn { candidate, tried } = trials.next();
        if trials.is_settled() {
            return (steps, all);
        }
        let took = time(candidate, steps);
        if tried {
            trials.record(candidate, took);
        }
        (steps, all) = (steps + 1, all + u64::from(took));
    }
}

#[test]
fn the_best_is_found_within_64_steps_that_cost_little() {
    for best in 0..MOST {
        // The last one keeps outputs in the caches.
        let trials = Trials::new(ALL, 5, 1 << (MOST - 1));
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
    let trials = Trials::new(0b111, 0, 0);
    let mut tries = [0; 3];
    learn(&trials, |i, _| {
        tries[i] += 1;
        [1000, 1400, 2100][i]
    });
    assert_eq!(tries, [5, 2, 2]);
    assert_eq!(trials.choice(), 0);
}

#[test]
fn bursts_spoil_nothing() {
    const TIMES: [u32; 4] = [1000, 900, 1100, 1200];
    // So many steps of each stretch take three times as long, wherever the first stretch begins.
    for (stretch, burst) in [(9, 3), (20, 8), (64, 20)] {
        for start in 0..stretch {
            let trials = Trials::new(0b1111, 0, 0);
            let disturbed = |step| (step + start) % stretch < burst;
            let time = |i: usize, step| TIMES[i] * if disturbed(step) { 3 } else { 1 };
            learn(&trials, time);
            assert!(
                trials.choice() <= 1,
                "worse than the first guess: {burst} of {stretch} steps, from {start} on"
            );
            // A burst that hid the best one is over some time.
            for step in 0..128 * LOOK_BACK {
                let Turn { candidate, tried } = trials.next();
                if tried {
                    trials.record(candidate, time(candidate, step));
                }
            }
            assert_eq!(trials.choice(), 1, "{burst} of {stretch} steps, from {start} on");
        }
    }
}

#[test]
fn times_that_never_agree_change_nothing() {
    let trials = Trials::new(0b111, 0, 0);
    let mut time = 100_000;
    learn(&trials, |_, _| {
        time = time * 9 / 10;
        time
    });
    assert_eq!(trials.choice(), 0);
}

#[test]
fn what_is_hardly_better_changes_nothing() {
    let trials = Trials::new(0b11, 0, 0);
    learn(&trials, |i, _| [1000, 990][i]);
    assert_eq!(trials.choice(), 0);
}

#[test]
fn steps_that_are_not_timed_end_the_trials_too() {
    let trials = Trials::new(ALL, 3, 0);
    let tried = (0..).take_while(|_| trials.next().tried).count();
    assert!(trials.is_settled() && tried <= usize::from(STEPS), "{tried}");
    assert_eq!(trials.choice(), 3);
}

#[test]
fn looks_back_find_that_the_machine_has_changed() {
    let trials = Trials::new(0b1111, 0, 0);
    learn(&trials, |i, _| [1000, 800, 1500, 1600][i]);
    assert_eq!(trials.choice(), 1);
    let mut others = 0;
    for _ in 0..4 * LOOK_BACK {
        let Turn { candidate, tried } = trials.next();
        if tried {
            others += 1;
            trials.record(candidate, [1000, 900, 1100, 700][candidate]);
        }
    }
    // What was dropped at first has its turn as well.
    assert_eq!(trials.choice(), 3);
    assert!(others <= 2 * 9, "{others}");
}

#[test]
fn one_candidate_is_no_choice_and_a_pinned_one_stays() {
    assert!(!Trials::new(0b100, 2, 0).next().tried);
    let trials = Trials::new(ALL, 0, 0);
    trials.pin(7);
    assert!((0..3 * LOOK_BACK).all(|_| trials.next() == Turn { candidate: 7, tried: false }));
}

#[test]
fn who_keeps_outputs_is_timed_after_its_like() {
    let trials = Trials::new(0b111, 0, 0b100);
    let mut last = 0;
    for _ in 0..64 {
        let Turn { candidate, tried } = trials.next();
        // Past the caches 1000 and 1100, kept 800; one after the other kind of step takes half as long again.
        let time = [1000, 1100, 800][candidate] * if (candidate == 2) == (last == 2) { 2 } else { 3 } / 2;
        if tried {
            trials.record(candidate, time);
        }
        last = candidate;
    }
    assert_eq!((trials.choice(), trials.of(2).1), (2, Some(800)));
}

#[test]
fn a_restart_tries_all_of_them_again() {
    let trials = Trials::new(0b111, 0, 0);
    learn(&trials, |i, _| [1000, 800, 1500][i]);
    trials.restart();
    assert!(!trials.is_settled());
    let (steps, _) = learn(&trials, |i, _| [1000, 800, 600][i]);
    assert!(steps > 6 && trials.choice() == 2, "{steps}");
}

#[test]
fn steps_that_are_too_short_end_the_trials_until_a_restart() {
    let trials = Trials::new(0b11, 0, 0);
    trials.record(1, 500);
    trials.give_up();
    assert_eq!((trials.next(), trials.is_settled()), (Turn { candidate: 0, tried: false }, true));
    assert!(!trials.has_chosen(), "nothing that another run should take");
    trials.restart();
    assert!(trials.next().tried);
    trials.pin(1);
    trials.give_up();
    assert_eq!((trials.pinned(), trials.has_chosen()), (Some(1), true));
}
