//! The variable BATCHNORM_LEVEL, in processes of their own: a process looks at it once.

use bn_dispatch::{Dispatch, Level};
use std::process::Command;

/// Set in the processes that this test starts.
const INSIDE: &str = "BATCHNORM_LEVEL_TEST";

/// What a process with this value of the variable detects, and what it says that was wanted.
fn with(value: Option<&str>) -> (String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_process_says_its_level", "--nocapture"]).env(INSIDE, "1");
    match value {
        Some(value) => command.env("BATCHNORM_LEVEL", value),
        None => command.env_remove("BATCHNORM_LEVEL"),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{value:?}: {text}");
    let line = |key: &str| {
        let line = text.lines().find_map(|line| line.split_once(key)).map(|(_, rest)| rest.to_string());
        line.unwrap_or_else(|| panic!("{value:?}: {text}"))
    };
    (line("detected="), line("wanted="))
}

#[test]
fn a_process_says_its_level() {
    if std::env::var_os(INSIDE).is_some() {
        let wanted = match Level::wanted() {
            None => "nothing".into(),
            Some(Ok(level)) => level.to_string(),
            Some(Err(error)) => error.to_string(),
        };
        println!("\ndetected={}\nwanted={wanted}", Dispatch::default().level());
    }
}

#[test]
fn the_variable_is_followed_or_reported() {
    let best = Level::ALL.into_iter().rfind(|level| level.is_available()).unwrap().to_string();
    for unset in [None, Some("")] {
        assert_eq!(with(unset), (best.clone(), "nothing".into()));
    }
    for level in Level::ALL {
        let (detected, wanted) = with(Some(level.name()));
        if level.is_available() {
            assert_eq!((detected.as_str(), wanted.as_str()), (level.name(), level.name()));
        } else {
            assert_eq!(detected, best);
            assert!(wanted.starts_with("expected a level that this machine has"), "{wanted}");
        }
    }
    let unknown = "expected a level of baseline, avx2, avx512, got \"avx3\"";
    assert_eq!(with(Some("avx3")), (best, unknown.into()));
}
