"""What the Python peers of `cargo xtask bench` share: requests, raw files, timing. README.md describes the protocol.

`serve` answers for a peer. An implementation is a class that takes a Case and has

    forward()                   the training forward; returns what `backward` and `outputs` need
    backward(saved)             its backward; returns the gradients
    outputs(saved, gradients)   the arrays y, dx, dweight, dbias, and dresidual where there is a residual; y, dx and
                                dresidual in the case's order

of which the first two are timed. Its constructor raises Skip where it cannot take the case.
"""

import dataclasses
import gc
import json
import math
import os
import pathlib
import sys
import time

SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
# The places of the features are those of the letter c.
LAYOUTS = ("nc", "ncl", "nchw", "ncdhw", "nlc", "nhwc", "ndhwc")
DTYPES = {"f32": "<f4", "f64": "<f8"}
VARIANTS = ("plain", "relu", "add_relu")
PASSES = ("forward", "backward", "step")


def waking(threads):
    """As in benches/src/implementation.rs, in seconds."""
    return 0.01 if threads > 1 else 0.001


def keep_freed():
    """Starts the program anew with an allocator that keeps what is freed: see benches/src/memory.rs."""
    settled = any(name in os.environ for name in SETTINGS)
    if not settled and os.environ.get("BENCH_FREED") != "returned" and sys.platform == "linux":
        settings = {name: "64000000000" for name in SETTINGS}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


class Skip(Exception):
    """Why an implementation cannot take a case: expected …, got …."""


class Wrong(Exception):
    """A request that cannot be answered: expected …, got …."""


@dataclasses.dataclass
class Case:
    """What `load` asks for. x, dy and the residual have the layout's dimensions."""

    layout: str
    dtype: str
    threads: int
    eps: float
    x: "numpy.ndarray"
    dy: "numpy.ndarray"
    weight: "numpy.ndarray"
    bias: "numpy.ndarray"
    variant: str = "plain"
    residual: "numpy.ndarray | None" = None

    def channels_last(self):
        return self.layout not in ("nc", "ncl", "nchw", "ncdhw")


def field(request, name, kind, what):
    value = request.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Wrong(f"expected {name} to be {what}, got {json.dumps(value)}")
    return value


def one_of(request, name, values):
    value = request.get(name)
    if value not in values:
        raise Wrong(f"expected {name} to be one of {', '.join(values)}, got {json.dumps(value)}")
    return value


def read_case(request, folder):
    import numpy

    layout = one_of(request, "layout", LAYOUTS)
    dtype = one_of(request, "dtype", tuple(DTYPES))
    variant = one_of({"variant": "plain", **request}, "variant", VARIANTS)
    dims = field(request, "dims", list, "a list of numbers")
    if not all(isinstance(d, int) and not isinstance(d, bool) and d >= 0 for d in dims) or len(dims) != len(layout):
        raise Wrong(f"expected {len(layout)} dimensions for {layout}, got {json.dumps(dims)}")
    threads = field(request, "threads", int, "a number")
    if threads < 1:
        raise Wrong(f"expected a thread or more, got {threads}")

    def read(name, shape):
        path, kind = folder / name, numpy.dtype(DTYPES[dtype])
        expected = math.prod(shape) * kind.itemsize
        try:
            got = path.stat().st_size
        except OSError as error:
            raise Wrong(f"{path}: expected {expected} bytes, got {error.strerror}") from None
        if got != expected:
            raise Wrong(f"{path}: expected {expected} bytes, got {got}")
        return numpy.fromfile(path, kind).reshape(shape)

    features = (dims[layout.index("c")],)
    return Case(
        layout=layout,
        dtype=dtype,
        threads=threads,
        eps=field(request, "eps", (int, float), "a number"),
        x=read("x.bin", dims),
        dy=read("dy.bin", dims),
        weight=read("weight.bin", features),
        bias=read("bias.bin", features),
        variant=variant,
        residual=read("residual.bin", dims) if variant == "add_relu" else None,
    )


def write(folder, case, outputs):
    import numpy

    likes = {"y": case.x, "dx": case.x, "dweight": case.weight, "dbias": case.bias}
    if case.residual is not None:
        likes["dresidual"] = case.residual
    for (name, like), array in zip(likes.items(), outputs, strict=True):
        if array.dtype != like.dtype or array.size != like.size:
            raise Wrong(f"{name}: expected {like.size} {like.dtype}, got {array.size} {array.dtype} from the peer")
        numpy.ascontiguousarray(array).tofile(folder / f"{name}.bin")


def timed(impl, pass_, runs, waking):
    """Nanoseconds of each run, after untimed ones for `waking` seconds. Results are freed outside of what is timed."""
    saved = impl.forward() if pass_ == "backward" else None

    def step():
        saved = impl.forward()
        return saved, impl.backward(saved)

    run = {"forward": impl.forward, "backward": lambda: impl.backward(saved), "step": step}[pass_]
    start = time.perf_counter()
    result = run()
    while time.perf_counter() - start < waking:
        del result
        result = run()
    times = []
    gc.disable()
    try:
        for _ in range(runs):
            del result
            start = time.perf_counter_ns()
            result = run()
            times.append(time.perf_counter_ns() - start)
    finally:
        gc.enable()
    return times


class Server:
    """A peer's implementations, by name, and the case that they have loaded."""

    def __init__(self, impls):
        self.impls, self.loaded, self.case, self.folder = impls, {}, None, None

    def answer(self, request):
        if not isinstance(request, dict):
            raise Wrong(f"expected an object, got {json.dumps(request)}")
        verbs = {"load": self.load, "answer": self.results, "time": self.times}
        return verbs[one_of(request, "do", tuple(verbs))](request)

    def load(self, request):
        # The last case's tensors go first: there may be no room for both.
        self.loaded, self.case = {}, None
        self.folder = pathlib.Path(field(request, "folder", str, "a path"))
        self.case = read_case(request, self.folder)
        said = []
        for name, impl in self.impls.items():
            try:
                self.loaded[name] = impl(self.case)
                said.append({"name": name})
            except Skip as why:
                said.append({"name": name, "skip": str(why)})
        return {"impls": said}

    def find(self, request):
        if self.case is None:
            raise Wrong("expected a case to be loaded first, got none")
        return self.loaded[one_of(request, "impl", tuple(self.loaded))]

    def results(self, request):
        impl = self.find(request)
        saved = impl.forward()
        write(self.folder, self.case, impl.outputs(saved, impl.backward(saved)))
        return {"ok": True}

    def times(self, request):
        impl, pass_ = self.find(request), one_of(request, "pass", PASSES)
        runs = field(request, "runs", int, "a number")
        return {"ns": timed(impl, pass_, runs, waking(self.case.threads))}


def hello():
    """Takes stdout for the answers alone: what libraries print goes to stderr. Returns the function that answers."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer):
        print(json.dumps(answer), file=out, flush=True)

    return say


def serve(say, name, version, impls):
    """Says hello, and answers requests until their end. What goes wrong is an answer as well."""
    say({"peer": name, "version": version, "impls": list(impls), "variants": VARIANTS[1:]})
    server = Server(impls)
    for line in sys.stdin.buffer:
        try:
            say(server.answer(json.loads(line)))
        except json.JSONDecodeError as error:
            say({"error": f"expected a request in JSON, got {error}"})
        except Wrong as error:
            say({"error": str(error)})
        except Exception as error:  # whatever a framework raises
            say({"error": f"{type(error).__name__}: {error}"})
