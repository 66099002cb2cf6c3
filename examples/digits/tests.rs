use super::*;
use examples::data::Split;
use examples::stopwatch::Stopwatch;
use std::fs;

const SETTINGS: Settings = Settings { seed: 7, layers: 7, init: Init::He, batch: 128, learning_rate: 5e-3 };

fn split() -> Split {
    data::load(SETTINGS.seed).expect("the digits")
}

fn trained(epochs: usize) -> Run {
    let (split, mut run) = (split(), Run::new(SETTINGS).expect("a run"));
    (0..epochs).for_each(|_| run.epoch(&split).expect("an epoch"));
    run
}

/// All of a run but the clocks.
fn bits(mut run: Run) -> Vec<u8> {
    run.contenders_mut().into_iter().for_each(|contender| contender.watch = Stopwatch::default());
    postcard::to_stdvec(&run).expect("a run to bytes")
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new/state");
    let split = split();
    let whole = bits(trained(4));
    for interrupted in 1..4 {
        checkpoint::save(&file, &trained(interrupted)).expect("saved");
        let mut run = checkpoint::load(&file, SETTINGS).expect("loaded");
        assert_eq!(run.epochs(), interrupted);
        while run.epochs() < 4 {
            run.epoch(&split).expect("an epoch");
        }
        assert!(bits(run) == whole, "interrupted after epoch {interrupted}");
    }
    assert_eq!(
        fs::read_dir(folder.path().join("new")).expect("a folder").count(),
        1,
        "no temporary file is left"
    );
}

/// The message that loading `bytes` fails with.
fn refusal(bytes: &[u8], settings: Settings) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state");
    fs::write(&file, bytes).expect("written");
    let Err(error) = checkpoint::load(&file, settings) else { panic!("expected a refusal") };
    assert_eq!(fs::read(&file).expect("still there"), bytes);
    error.to_string()
}

fn saved() -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    checkpoint::save(file.path(), &trained(1)).expect("saved");
    fs::read(file.path()).expect("read")
}

#[test]
fn a_damaged_file_is_refused() {
    let good = saved();
    for at in [12, 13, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let error = refusal(&bad, SETTINGS);
        assert!(error.contains("expected the checksum") && error.contains("damaged"), "byte {at}: {error}");
    }
    for len in [0, 1, 8, 11] {
        assert!(refusal(&good[..len], SETTINGS).contains(&format!("expected at least 12 bytes, got {len}")));
    }
    for len in [12, 100, good.len() - 1] {
        assert!(refusal(&good[..len], SETTINGS).contains("damaged"));
    }
    let longer = [&good[..], &[0]].concat();
    assert!(refusal(&longer, SETTINGS).contains("damaged"));
}

#[test]
fn another_kind_of_file_is_refused() {
    let mut other = saved();
    other[7] = 9;
    assert!(refusal(&other, SETTINGS).contains("expected a state of version 2, got version 9"));
    assert!(refusal(b"<svg xmlns='http://www.w3.org/2000/svg'/>", SETTINGS).contains("another kind of file"));
}

/// Whatever stands behind a right checksum is decoded without a panic.
#[test]
fn a_made_up_state_is_refused() {
    let header = |body: &[u8]| [b"digits\0\x02", &crc32fast::hash(body).to_le_bytes()[..], body].concat();
    assert!(refusal(&header(&[0xff; 300]), SETTINGS).contains("expected the state of a run"));
    let body = saved().split_off(12);
    let longer = [&body[..], &[0]].concat();
    assert!(refusal(&header(&longer), SETTINGS).contains("expected nothing after the state, got 1"));
    for at in (0..body.len()).step_by(body.len() / 300) {
        let mut body = body.clone();
        body[at] = body[at].wrapping_add(1);
        // A changed weight is still a state; anything else must be an error.
        if let Ok(mut run) = checkpoint::decode(&header(&body), SETTINGS) {
            let mut fresh = Run::new(SETTINGS).expect("a run");
            for (a, b) in run.contenders_mut().into_iter().zip(fresh.contenders_mut()) {
                assert_eq!(checkpoint::dims(&mut a.trainer), checkpoint::dims(&mut b.trainer));
            }
        }
    }
}

#[test]
fn the_state_of_another_run_is_refused() {
    let good = saved();
    for (settings, expected) in [
        (
            Settings { seed: 8, ..SETTINGS },
            "expected the state of a run with 7 hidden layers, He's initialization, seed 8, batch 128 and learning rate 0.005",
        ),
        (
            Settings { batch: 64, ..SETTINGS },
            "expected the state of a run with 7 hidden layers, He's initialization, seed 7, batch 64 and learning rate 0.005",
        ),
        (Settings { layers: 8, ..SETTINGS }, "with 8 hidden layers, He's initialization, seed 7"),
        (
            Settings { init: Init::PyTorch, ..SETTINGS },
            "with 7 hidden layers, PyTorch's default initialization",
        ),
        (
            Settings { learning_rate: 0.5, ..SETTINGS },
            "initialization, seed 7, batch 128 and learning rate 0.5",
        ),
    ] {
        let error = refusal(&good, settings);
        assert!(
            error.contains(expected)
                && error.contains(
                    "got one with 7 hidden layers, He's initialization, seed 7, batch 128 and learning rate 0.005"
                ),
            "{error}"
        );
    }
}

#[test]
fn the_program_goes_on_and_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (state, svg) = (path("state"), path("digits.svg"));
    let run = |options: &[&str]| {
        let args = ["digits", "--svg", &svg].into_iter().chain(options.iter().copied());
        train(&Args::try_parse_from(args).expect("valid options"))
    };
    run(&["--epochs", "1", "--save", &state]).expect("trained");
    run(&["--quick", "--save", &state, "--load", &state]).expect("trained");
    assert!(fs::read_to_string(&svg).expect("a picture").starts_with("<svg"));

    let before = fs::read(&state).expect("a state");
    let error = run(&["--seed", "2", "--save", &state, "--load", &state]).expect_err("another seed");
    assert!(error.to_string().contains("PyTorch's default initialization, seed 1"), "{error}");
    assert_eq!(fs::read(&state).expect("the same state"), before);
    let error = run(&["--load", &path("nothing")]).expect_err("no file");
    assert!(error.to_string().contains("cannot load the state from"), "{error}");
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (option, bad, expected) in [
        ("--batch", "1", "expected a whole number from 2 to 1348, got \"1\""),
        ("--batch", "1349", "expected a whole number from 2 to 1348, got \"1349\""),
        ("--layers", "0", "expected a whole number from 1 to 200, got \"0\""),
        ("--epochs", "many", "expected a whole number from 1 to 1000000, got \"many\""),
        ("--learning-rate", "NaN", "expected a finite number greater than 0, got \"NaN\""),
        ("--init", "xavier", "expected pytorch or he, got \"xavier\""),
    ] {
        let Err(error) = Args::try_parse_from(["digits", option, bad]) else { panic!("expected a refusal") };
        assert!(error.to_string().contains(expected), "{error}");
    }
}
