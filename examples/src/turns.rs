//! Times in turns: every contender once a round, so that what else the machine does meets all of them.

use std::time::{Duration, Instant};

/// The median times of each contender over so many rounds, after one that is not counted.
pub fn medians(rounds: usize, contenders: &mut [&mut dyn FnMut()]) -> Vec<Duration> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            contender();
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    times.into_iter().map(median).collect()
}

/// The middle of some times; zero of none.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_is_not_counted() {
        let (mut first, mut second) = (0, 0);
        let times = medians(3, &mut [&mut || first += 1, &mut || second += 1]);
        assert_eq!((first, second, times.len()), (4, 4, 2));
        assert_eq!(median([5, 1, 9].map(Duration::from_secs).to_vec()), Duration::from_secs(5));
    }
}
