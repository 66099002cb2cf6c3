#!/usr/bin/env python3
"""Runs every peer as a process, on a small case of each kind, and compares with a reference in float64.

    python3 benches/peers/test_peers.py [-v]

A peer whose package is missing, or which is not built, is skipped, and so is what a peer refuses; -v shows why.
PEERS_NEEDED="numpy candle" makes that a failure for those named. The Rust peers are taken from target/release, or from
CARGO_TARGET_DIR.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    np = None

HERE = pathlib.Path(__file__).resolve().parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target")) / "release"
COMMANDS = {
    "numpy": [sys.executable, HERE / "numpy_peer.py"],
    "torch": [sys.executable, HERE / "torch.py"],
    "candle": [BUILT / "peer-candle"],
    "burn": [BUILT / "peer-burn"],
}
IMPLS = {
    "numpy": ["numpy-graph", "numpy-analytic"],
    "torch": ["torch", "torch-compile", "torch-mkldnn"],
    "candle": ["candle"],
    "burn": ["burn"],
}
CASES = [
    ("nc", [7, 5], "f32"),
    ("nchw", [3, 4, 5, 2], "f32"),
    ("nhwc", [3, 5, 2, 4], "f32"),
    ("nlc", [3, 5, 4], "f32"),
    ("ncdhw", [2, 3, 2, 3, 2], "f32"),
    ("nc", [7, 5], "f64"),
]
VARIANTS = ("plain", "relu", "add_relu")
EPS = 1e-3  # not the default, which a peer could use unasked
TENSORS = ("y", "dx", "dweight", "dbias", "dresidual")


def inputs(layout, dims, dtype, variant="plain"):
    rng = np.random.default_rng(20160212)
    features = dims[layout.index("c")]
    drawn = (2 * rng.standard_normal(dims) + 3, rng.standard_normal(dims), *rng.standard_normal((2, features)))
    kind = {"f32": "<f4", "f64": "<f8"}[dtype]
    tensors = dict(zip(("x", "dy", "weight", "bias"), (array.astype(kind) for array in drawn)))
    if variant == "add_relu":
        tensors["residual"] = rng.standard_normal(dims).astype(kind)
    return tensors


def reference(layout, x, dy, weight, bias, residual=None, variant="plain", eps=EPS):
    """y, dx, dγ, dβ and, where there is one, dresidual in float64, straight from the formulas."""
    axis = layout.index("c")
    axes = tuple(a for a in range(x.ndim) if a != axis)
    wide = [-1 if a == axis else 1 for a in range(x.ndim)]
    x, dy, weight, bias = (a.astype(np.float64) for a in (x, dy, weight, bias))
    zero = np.zeros_like(x)
    weight, bias, n = weight.reshape(wide), bias.reshape(wide), x.size // weight.size
    invstd = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    xhat = (x - x.mean(axis=axes, keepdims=True)) * invstd
    y = weight * xhat + bias + (zero if residual is None else residual)
    if variant != "plain":
        dy, y = np.where(y > 0, dy, zero), np.maximum(y, 0)
    dbias, dweight = dy.sum(axis=axes, keepdims=True), (dy * xhat).sum(axis=axes, keepdims=True)
    dx = weight * invstd / n * (n * dy - dbias - xhat * dweight)
    gradients = (dx, dweight.ravel(), dbias.ravel(), *([] if residual is None else [dy]))
    return dict(zip(TENSORS, (y, *gradients)))


class Peer:
    """A running peer."""

    def __init__(self, name):
        self.name = name
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(COMMANDS[name], env={**os.environ, "RAYON_NUM_THREADS": "1"}, **pipes)
        self.hello = json.loads(self.process.stdout.readline())

    def ask(self, request):
        line = request if isinstance(request, str) else json.dumps(request)
        print(line, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code


def load(folder, layout, dims, dtype, variant="plain", eps=EPS):
    request = {"do": "load", "dims": dims, "layout": layout, "dtype": dtype, "threads": 1, "eps": eps}
    # A plain case names no variant.
    return {**request, "folder": str(folder), **({} if variant == "plain" else {"variant": variant})}


class Test:
    """What every peer is asked; a subclass names it."""

    name = ""

    def without(self, why):
        if self.name in os.environ.get("PEERS_NEEDED", "").split():
            self.fail(f"{self.name} is needed: {why}")
        self.skipTest(why)

    def setUp(self):
        if np is None:
            self.without("expected the package numpy: pip install numpy")
        if not pathlib.Path(COMMANDS[self.name][0]).exists():
            self.without(f"expected {COMMANDS[self.name][0]}: cargo build --release -p peer-{self.name}")
        self.peer = Peer(self.name)
        self.addCleanup(self.peer.end)
        self.assertEqual(self.peer.hello["peer"], self.name)
        if "unavailable" in self.peer.hello:
            self.assertEqual(self.peer.end(), 0)
            self.without(self.peer.hello["unavailable"])
        self.assertEqual(self.peer.hello["impls"], IMPLS[self.name])
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def loaded(self, layout, dims, dtype, variant="plain"):
        """Writes and loads a case; returns its inputs and the names of the implementations that take it."""
        tensors = inputs(layout, dims, dtype, variant)
        for name, array in tensors.items():
            array.tofile(self.folder / f"{name}.bin")
        impls = self.peer.ask(load(self.folder, layout, dims, dtype, variant))["impls"]
        self.assertEqual([impl["name"] for impl in impls], IMPLS[self.name])
        for impl in impls:
            self.assertRegex(impl.get("skip", "expected, got"), "expected.*, got")
        return tensors, [impl["name"] for impl in impls if "skip" not in impl]

    def test_answers_are_the_references(self):
        self.assertRegex(self.peer.hello["version"], r"^\d+\.\d+")
        answered, known = set(), {"plain", *self.peer.hello.get("variants", [])}
        for (layout, dims, dtype), variant in itertools.product(CASES, VARIANTS):
            if variant not in known:
                says = self.peer.ask(load(self.folder, layout, dims, dtype, variant))
                self.assertRegex(says["error"], f"{variant}.*expected .*plain")
                continue
            tensors, impls = self.loaded(layout, dims, dtype, variant)
            wants = reference(layout, **tensors, variant=variant)
            kind = tensors["x"].dtype
            for impl in impls:
                answered.add((impl, variant))
                self.assertEqual(self.peer.ask({"do": "answer", "impl": impl}), {"ok": True})
                for name, want in wants.items():
                    got = np.fromfile(self.folder / f"{name}.bin", kind).reshape(want.shape)
                    apart, limit = np.abs(got - want).max(), 32 * np.finfo(kind).eps * np.abs(want).max()
                    self.assertLessEqual(apart, limit, f"{impl} {layout} {dims} {dtype} {variant} {name}")
                    (self.folder / f"{name}.bin").unlink()
        if answered != set(itertools.product(IMPLS[self.name], known)):
            self.without(f"answered by {sorted(answered)} alone")

    def test_times_are_as_many_as_asked_for(self):
        for variant in ("plain", *self.peer.hello.get("variants", [])):
            _, impls = self.loaded("nc", [7, 5], "f32", variant)
            for impl, pass_ in itertools.product(impls, ("forward", "backward", "step")):
                times = self.peer.ask({"do": "time", "impl": impl, "pass": pass_, "runs": 3})["ns"]
                self.assertEqual(len(times), 3)
                self.assertTrue(all(isinstance(t, int) and t > 0 for t in times), times)

    def test_what_goes_wrong_is_said_and_the_peer_goes_on(self):
        impl = IMPLS[self.name][0]
        says = lambda request, words: self.assertRegex(self.peer.ask(request)["error"], words)
        says({"do": "answer", "impl": impl}, "expected a case to be loaded first")
        says("{", "expected a request in JSON, got")
        says({"do": "sing"}, "sing")
        self.loaded("nc", [7, 5], "f32")
        says({"do": "answer", "impl": "none"}, "expected .*none")
        says({"do": "time", "impl": impl, "pass": "sideways", "runs": 1}, "sideways")
        says(load(self.folder, "nc", [7, 6], "f32"), "x.bin: expected 168 bytes, got 140")
        says(load(self.folder, "nc", [7, 5, 1], "f32"), "expected 2 dimensions")
        says(load(self.folder, "cn", [7, 5], "f32"), "cn")
        says(load(self.folder, "nc", [7, 5], "f32", "tanh"), "tanh")
        says(load(self.folder / "no", "nc", [7, 5], "f32"), "x.bin: expected 140 bytes, got No such file")
        says({"do": "answer", "impl": impl}, "expected a case to be loaded first")
        self.loaded("nc", [7, 5], "f32")
        self.assertEqual(self.peer.ask({"do": "answer", "impl": impl}), {"ok": True})
        self.assertEqual(self.peer.end(), 0)


class Numpy(Test, unittest.TestCase):
    name = "numpy"


class Torch(Test, unittest.TestCase):
    name = "torch"


class Candle(Test, unittest.TestCase):
    name = "candle"

    def test_threads_are_those_of_the_environment(self):
        self.loaded("nc", [7, 5], "f32")
        said = self.peer.ask({**load(self.folder, "nc", [7, 5], "f32"), "threads": 2})
        self.assertRegex(said["error"], "expected RAYON_NUM_THREADS=2 .*, got 1 threads")


class Burn(Test, unittest.TestCase):
    name = "burn"


class Unavailable(unittest.TestCase):
    """Without its packages a peer says what it needs."""

    def test_the_hint_is_given(self):
        for name, package in (("numpy", "numpy"), ("torch", "numpy")):
            # -S -I: no site packages. The script's folder is not looked at either, so it is put there.
            script = COMMANDS[name][1]
            start = f"import sys, runpy; sys.path.insert(0, {str(HERE)!r}); runpy.run_path({str(script)!r}, run_name='__main__')"
            settled = {**os.environ, "BENCH_FREED": "returned"}
            command = [sys.executable, "-S", "-I", "-c", start]
            done = subprocess.run(command, capture_output=True, text=True, env=settled, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual(said["peer"], name)
            self.assertRegex(said["unavailable"], f"expected the package {package}: pip install")


if __name__ == "__main__":
    unittest.main()
