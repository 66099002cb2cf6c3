//! Peers made of a shell.

use super::*;
use benches::layer::Kernels;
use benches::shapes::parse;
use bn_conformance::data::X;

/// A shell as a peer: greets, then does for each line what `body` says.
fn shell(greeting: &str, body: &str) -> Command {
    let script = format!("echo '{greeting}'\nwhile read -r line; do\ncase \"$line\" in\n{body}\nesac\ndone");
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

const GREETING: &str = r#"{"peer":"fake","version":"1.2","impls":["good","bad"]}"#;

fn inputs() -> Inputs<f32> {
    Inputs::new(&parse("a NC 8x4").unwrap()[0], X::Shifted)
}

/// Starts a peer and loads the inputs; returns what is loaded and what was told.
fn loaded(command: impl Fn() -> Command, threads: &[usize]) -> (Peers, Vec<Loaded<f32>>, Vec<String>) {
    let logs = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let mut tell = |what| told.push(what);
    let mut peers = Peers::none().unwrap();
    peers.add("fake", threads, &command, logs.path(), &mut tell);
    let loaded = peers.load(&inputs(), &mut tell);
    (peers, loaded, told)
}

#[test]
fn a_peer_is_loaded_checked_and_timed() {
    // It knows the answer, because it is put beside its inputs.
    let body = r#"
            *load*) folder=${line#*'"folder":"'}; folder=${folder%%'"'*}
                echo '{"impls":[{"name":"good"},{"name":"odd","skip":"expected nhwc, got nc"}]}' ;;
            *answer*) for t in y dx dweight dbias; do cp "$folder/want-$t.bin" "$folder/$t.bin"; done
                echo '{"ok":true}' ;;
            *time*) echo '{"ns":[10.5,20,30]}' ;;"#;
    let (peers, mut all, told) = loaded(|| shell(GREETING, body), &[1, 2]);
    assert_eq!(told, vec!["odd: skipped a: expected nhwc, got nc"; 2]);
    assert_eq!(all.iter().map(|(one, _)| one.threads()).collect::<Vec<_>>(), [1, 2]);
    let (one, version) = &mut all[0];
    assert_eq!((one.name(), version.as_str()), ("good", "1.2"));

    let inputs = inputs();
    let mut outputs = Outputs::new(32);
    let mut layer = Kernels::Scalar.layer(&inputs, None).unwrap();
    let want = layer.answer(&inputs, &mut outputs).unwrap().unwrap();
    let Answer { y, dx, dweight, dbias, .. } = &want;
    for (name, values) in [("y", y), ("dx", dx), ("dweight", dweight), ("dbias", dbias)] {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(peers.folder.path().join(format!("want-{name}.bin")), bytes).unwrap();
    }
    let got = one.answer(&inputs, &mut outputs).unwrap().unwrap();
    assert_eq!(got.check_bits(&want), Ok(()));
    assert_eq!(one.time(Pass::Step, 3, &inputs, &mut outputs).unwrap(), Duration::from_nanos(60));
    let error = one.time(Pass::Step, 2, &inputs, &mut outputs).unwrap_err();
    assert!(error.contains("expected 2 times above 0"), "{error}");
    std::fs::write(peers.folder.path().join("want-dx.bin"), b"short").unwrap();
    let error = one.answer(&inputs, &mut outputs).unwrap_err();
    assert_eq!(error, "good: dx.bin: expected 128 bytes, got 5");
    let x = std::fs::read(peers.folder.path().join("x.bin")).unwrap();
    assert_eq!(x[..4], inputs.x_slice()[0].to_le_bytes());
}

#[test]
fn a_peer_is_asked_only_for_variants_that_it_has() {
    let greeting = r#"{"peer":"fake","version":"1","impls":["good"],"variants":["add_relu"]}"#;
    // Its answer's name is the request.
    let body = r#"*) echo "$line" | sed -e 's/"/'"'"'/g' -e 's/.*/{"impls":[{"name":"&"}]}/' ;;"#;
    let logs = tempfile::tempdir().unwrap();
    let mut peers = Peers::none().unwrap();
    peers.add("fake", &[1, 2], &|| shell(greeting, body), logs.path(), &mut |what| panic!("{what}"));
    for (variant, says) in [
        (Variant::Plain, None),
        (Variant::AddRelu, Some("'variant':'add_relu'")),
        (Variant::Relu, Some("fake: skipped all rows of relu, which it does not have")),
    ] {
        let mut told = Vec::new();
        let all = peers.load(&variant.of(inputs()), &mut |what| told.push(what));
        let residual = peers.folder.path().join("residual.bin");
        match (variant, says) {
            (Variant::Relu, Some(says)) => assert_eq!((all.len(), told), (0, vec![says.to_string(); 2])),
            (_, says) => {
                assert_eq!((all.len(), told.len()), (2, 0), "{told:?}");
                let request = all[0].0.name();
                assert_eq!(says, says.filter(|says| request.contains(says)), "{request}");
                assert_eq!(request.contains("variant"), says.is_some(), "{request}");
                assert_eq!(residual.exists(), variant == Variant::AddRelu);
            }
        }
    }
}

#[test]
fn a_peer_that_is_not_there_is_a_hint() {
    let gone = r#"{"peer":"fake","unavailable":"expected the package torch: pip install torch"}"#;
    let dies = || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'no such file' >&2"]);
        command
    };
    for (command, says) in [
        (&(|| shell(gone, "*) ;;")) as &dyn Fn() -> Command, "expected the package torch: pip install torch"),
        (&|| shell("hello", "*) ;;"), "expected a line of JSON, got \"hello\""),
        (&|| shell("{}", "*) ;;"), "expected a greeting with impls, got {}"),
        (&dies, "the program ended with \"no such file\""),
        (&|| Command::new("no/such/program"), "expected a program no/such/program, got: No such file"),
    ] {
        let (_, all, told) = loaded(command, &[1, 2]);
        assert_eq!((all.len(), told.len()), (0, 1), "{told:?}");
        assert!(told[0].starts_with("fake: not run: ") && told[0].contains(says), "{told:?}");
    }
}

#[test]
fn a_peer_is_told_its_threads_when_it_starts() {
    let greeting = r#"{"version":"'"$RAYON_NUM_THREADS $OMP_WAIT_POLICY"'","impls":[]}"#;
    let command = || shell(greeting, r#"*) echo '{"impls":[]}' ;;"#);
    let (peers, _, told) = loaded(command, &[1, 2]);
    assert_eq!(told, Vec::<String>::new());
    let versions: Vec<String> = peers.running.iter().map(|peer| peer.borrow().version.clone()).collect();
    assert_eq!(versions, ["1 passive", "2 passive"]);
}

#[test]
fn a_peer_that_fails_is_told() {
    let (_, all, told) = loaded(|| shell(GREETING, r#"*) echo '{"error":"out of memory"}' ;;"#), &[1]);
    assert_eq!((all.len(), told), (0, vec!["fake: out of memory, at a on 1 threads".to_string()]));
    let body = r#"*load*) echo '{"impls":[{"name":"good"}]}' ;; *) exit 3 ;;"#;
    let (_peers, mut all, told) = loaded(|| shell(GREETING, body), &[1]);
    assert_eq!(told, Vec::<String>::new());
    let error = all[0].0.time(Pass::Forward, 1, &inputs(), &mut Outputs::new(32)).unwrap_err();
    assert!(error.starts_with("fake: expected a line, but the program ended"), "{error}");
}
