#!/usr/bin/env python3
"""PyTorch on hard data: its time over its own ordinary pass, and error(t). Needs the packages torch and numpy.

    python3 benches/peers/hard_torch.py --cases target/hard-cases > torch.md

The kinds of data are those of benches/src/hard.rs. error(t) is the one of the case files' README,
limits and all. The reference is computed feature by feature in 80-bit arithmetic. --cases writes
inputs and reference as case files: `cargo xtask replay` judges this project's backends on the very
same values. With

    cargo xtask replay target/hard-cases --backend dispatch > replay.txt
    cargo xtask bench --filter hard --json bench.json
    python3 benches/peers/hard_torch.py --replay replay.txt --bench bench.json

each cell reads `PyTorch / this layer`, and a list names the cells in which PyTorch is better.
"""

import argparse
import importlib.util
import json
import pathlib
import re
import struct
import sys
import time

import peer

HERE = pathlib.Path(__file__).resolve().parent
# The torch.py beside this file takes the folder off the path: first its operators, then the package.
spec = importlib.util.spec_from_file_location("peer_torch", HERE / "torch.py")
peer_torch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer_torch)

import numpy as np  # noqa: E402
import torch  # noqa: E402

EPS = 1e-5
SHAPES = ((8, 64, 28, 28), (1024, 512))
PASSES = ("forward", "backward")
TENSORS = ("y", "dx", "dweight", "dbias", "mean", "var")
RUNS, LEAST, SECONDS = 15, 3, 3.0
WIDE = np.longdouble
TINY_DX = WIDE(2.0) ** -20


class Type:
    """An element type: its torch and safetensors names, unit roundoff, least normal and largest number, and parameters."""

    def __init__(self, name, dtype, tag, digits, least, parameters=None):
        self.name, self.dtype, self.tag = name, dtype, tag
        self.unit, self.least = WIDE(2.0) ** -digits, WIDE(2.0) ** least
        self.largest = WIDE(torch.finfo(dtype).max)
        self.parameters = parameters or self


F32 = Type("f32", torch.float32, "F32", 24, -126)
TYPES = (
    F32,
    Type("f16", torch.float16, "F16", 11, -14, F32),
    Type("bf16", torch.bfloat16, "BF16", 8, -126, F32),
    Type("f64", torch.float64, "F64", 53, -1022),
)


def kinds(kind_of):
    """Name and recipe of each kind that the type holds, as in benches/src/hard.rs."""
    name = kind_of.name

    def weight(value, step):
        def recipe(x, dy, weight):
            weight[step // 3 :: step] = value

        return recipe

    def scaled(of, factor):
        def recipe(x, dy, weight):
            (x if of == "x" else dy)[...] *= factor

        return recipe

    def constant(x, dy, weight):
        x[...] = (x - 12.0) / 5.0 * 1e4
        dy[...] = 1e-6

    def nan(x, dy, weight):
        dy.reshape(-1)[::9973] = np.nan

    def infinite(x, dy, weight):
        dy[...] = np.inf

    def one_infinite(x, dy, weight):
        dy[0].reshape(dy.shape[1], -1)[:, 0] = np.inf

    yield "plain", lambda x, dy, weight: None
    for value in (1e-290,) if name == "f64" else (1e-33, 1e-41):
        text = f"weight_{value:g}"
        yield text, weight(value, 1)
        yield f"{text}_one_of_64", weight(value, 64)
    by_size = {"f64": (1e305, 1e-140, 1e-290), "f16": ()}.get(name, (1e35, 1e-36, 1e-31))
    if by_size:
        large, small, gradient = (f"{value:.0e}".replace("+", "") for value in by_size)
        yield f"x_{large}", scaled("x", by_size[0] / 12.0)
        yield f"x_{small}", scaled("x", by_size[1] / 12.0)
        yield f"dy_{gradient}", scaled("dy", by_size[2])
    yield "dy_subnormal", scaled("dy", float(kind_of.least / 8))
    yield "dy_constant", constant
    yield "dy_nan", nan
    yield "dy_infinite", infinite
    yield "dy_one_infinite", one_infinite


class Case:
    """Inputs as torch tensors of the type, and as 80-bit numbers with the features as rows."""

    def __init__(self, shape, kind_of, recipe):
        rng = np.random.default_rng(20160212)
        self.shape, self.type = shape, kind_of
        weight, bias = 1.0 + 0.1 * rng.standard_normal(shape[1]), 0.1 * rng.standard_normal(shape[1])
        x, dy = 12.0 + 5.0 * rng.standard_normal(shape), rng.standard_normal(shape)
        recipe(x, dy, weight)
        self.x, self.dy = (torch.from_numpy(array).to(kind_of.dtype) for array in (x, dy))
        self.weight, self.bias = (torch.from_numpy(array).to(kind_of.parameters.dtype) for array in (weight, bias))
        self.mean, self.var = torch.zeros_like(self.weight), torch.ones_like(self.weight)
        self.functions = peer_torch.operators(torch)
        self.saved = None

    def rows(self, tensor):
        """A tensor as 80-bit numbers, a feature a row."""
        array = tensor.detach().to(torch.float64).numpy()
        return np.moveaxis(array, 1, 0).reshape(self.shape[1], -1).astype(WIDE)

    def forward(self):
        self.saved = self.functions[0](self.x, self.weight, self.bias, self.mean, self.var, EPS)
        return self.saved

    def backward(self):
        _, mean, invstd = self.saved
        return self.functions[1](self.dy, self.x, self.weight, self.mean, self.var, mean, invstd, EPS)

    def results(self):
        """What torch makes of it, a feature a row; the variance by way of a running one that takes all of the new."""
        y, mean, _ = self.forward()
        dx, dweight, dbias = self.backward()
        running = [torch.zeros_like(self.weight), torch.zeros_like(self.weight)]
        torch.ops.aten._native_batch_norm_legit(self.x, self.weight, self.bias, *running, True, 1.0, EPS)
        n = WIDE(self.x.numel() // self.shape[1])
        column = lambda tensor: tensor.to(torch.float64).numpy().astype(WIDE)[:, None]  # noqa: E731
        found = (self.rows(y), self.rows(dx), column(dweight), column(dbias), column(mean))
        return dict(zip(TENSORS, (*found, column(running[1]) * ((n - 1) / n))))


def reference(case):
    """What is right, and the scales of the error measure, in 80-bit arithmetic."""
    x, dy = case.rows(case.x), case.rows(case.dy)
    weight, bias = (t.to(torch.float64).numpy().astype(WIDE)[:, None] for t in (case.weight, case.bias))
    n = WIDE(x.shape[1])
    total = lambda values: values.sum(axis=1, keepdims=True)  # noqa: E731
    most = lambda values: np.abs(np.where(np.isfinite(values), values, 0)).max(axis=1, keepdims=True)  # noqa: E731
    mean = total(x) / n
    # A second time around the first one takes what the sum rounded.
    mean = mean + total(x - mean) / n
    var = total((x - mean) ** 2) / n
    invstd = 1 / np.sqrt(var + WIDE(EPS))
    xhat = (x - mean) * invstd
    dbias, dweight = total(dy), total(dy * xhat)
    m, h, gain = dbias / n, dweight / n, np.abs(weight) * invstd
    expect = (weight * xhat + bias, weight * invstd * (dy - m - xhat * h), dweight, dbias, mean, var)
    norm = lambda values: np.sqrt(total(values**2))  # noqa: E731
    scales = (
        np.abs(weight) * most(xhat) + np.abs(bias),
        gain * (most(dy - m) + most(xhat) * np.abs(h) + TINY_DX * most(dy) * np.maximum(1, most(xhat))),
        np.maximum(np.abs(dweight), norm(dy * xhat)) + TINY_DX * total(np.abs(dy)),
        np.maximum(np.abs(dbias), norm(dy)),
        np.maximum(np.abs(mean), np.sqrt(var)),
        np.abs(var),
    )
    return dict(zip(TENSORS, expect)), dict(zip(TENSORS, scales))


def limit(kind_of, tensor):
    if kind_of.parameters is not kind_of and tensor in ("y", "dx"):
        return 1.001
    return (5.01 if tensor == "dx" else 4.01) + (1 if kind_of.name == "f64" else 0)


def error(kind_of, tensor, got, expect, scale):
    """error(t): infinite where a value is not of the right class."""
    kind_of = kind_of if tensor in ("y", "dx") else kind_of.parameters
    slack = kind_of.unit * np.maximum(scale, kind_of.least)
    off = np.abs(got - expect) / slack
    reach = limit(kind_of, tensor) * slack
    over = np.abs(expect) + reach >= kind_of.largest * (1 + kind_of.unit / 2)
    same = (np.isnan(got) & np.isnan(expect)) | (np.isinf(got) & over & (np.sign(got) == np.sign(expect)))
    finite_scale = np.broadcast_to(np.isfinite(scale), got.shape)
    same |= ~finite_scale & np.isfinite(got) & np.isfinite(expect)
    off = np.where(same, 0, np.where(np.isfinite(got) & np.isfinite(expect), off, np.inf))
    return float(off.max())


def times(plain, hard):
    """The least time of each pass over the ordinary one's, and the ordinary one's nanoseconds."""
    found = {}
    for pass_ in PASSES:
        ns = {plain: [], hard: []}
        plain.forward(), hard.forward()
        start = time.perf_counter()
        for run in range(RUNS):
            if run >= LEAST and time.perf_counter() - start > SECONDS:
                break
            for case in (plain, hard) if run % 2 == 0 else (hard, plain):
                ns[case].append(min(peer.timed(case_of(case), pass_, 1, peer.waking(1))))
        found[pass_] = (min(ns[hard]) / min(ns[plain]), min(ns[plain]))
    return found


def case_of(case):
    """A case as `peer.timed` wants it."""

    class Of:
        forward = staticmethod(case.forward)
        backward = staticmethod(lambda _: case.backward())

    return Of


def write_case(path, case, expect):
    """A case file: a safetensors file as its README describes."""
    tensors = [(name, getattr(case, name)) for name in ("x", "dy", "weight", "bias")]
    tags = {kind_of.dtype: kind_of.tag for kind_of in TYPES}
    flat = lambda t: t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()  # noqa: E731
    parts = [(name, tags[t.dtype], list(t.shape), flat(t)) for name, t in tensors]
    for name, values in expect.items():
        values = values.astype(np.float64)
        if name in ("y", "dx"):
            n, c, *rest = case.shape
            values = np.moveaxis(values.reshape(c, n, *rest), 0, 1)
            parts.append((f"expect.{name}", "F64", list(case.shape), np.ascontiguousarray(values).tobytes()))
        else:
            parts.append((f"expect.{name}", "F64", [case.shape[1]], values.tobytes()))
    header = {
        "__metadata__": {
            "format": "batchnorm-case-1",
            "mode": "train",
            "layout": "channels_first",
            "eps": repr(EPS),
            "momentum": "0.1",
            "activation": "none",
            "source": "benches/peers/hard_torch.py: 80-bit arithmetic",
        }
    }
    at = 0
    for name, dtype, shape, data in parts:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([struct.pack("<Q", len(text)), text, *(data for *_, data in parts)]))


def ours(args):
    """The figures of this layer by (case, column), from `replay`'s lines and the bench's JSON."""
    found = {}
    if args.replay:
        for line in args.replay.read_text().splitlines():
            match = re.match(r"(\S+) \S+ (\S+) error=(\S+)", line)
            if match:
                key = match[1], match[2]
                found[key] = max(found.get(key, 0.0), float(match[3]))
    if args.bench:
        for row in json.loads(args.bench.read_text()):
            if row["variant"].startswith("hard:"):
                name = case_name(row["shape"], row["dtype"], row["variant"].removeprefix("hard:"))
                found[name, row["pass"]] = row["min_ns"] / row["against_min_ns"]
    return found


def case_name(shape, dtype, kind):
    return f"hard_{shape}_{dtype}_{kind}"


def figure(value):
    if value != value or value in (float("inf"), -float("inf")):
        return "wrong class"
    return f"{value:.2f}" if value < 100 else f"{value:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=pathlib.Path, help="folder for the case files")
    parser.add_argument("--replay", type=pathlib.Path, help="what `cargo xtask replay` printed on them")
    parser.add_argument("--bench", type=pathlib.Path, help="the JSON of `cargo xtask bench --filter hard`")
    parser.add_argument("--untimed", action="store_true", help="errors and case files alone")
    parser.add_argument("--filter", default="", help="only cases with this in their name")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    np.seterr(all="ignore")
    if args.cases:
        args.cases.mkdir(parents=True, exist_ok=True)
    beside, better = ours(args), []
    print(f"PyTorch {torch.__version__}, NumPy {np.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread")
    columns = TENSORS if args.untimed else (*PASSES, *TENSORS)
    for shape in SHAPES:
        dims = "x".join(map(str, shape))
        print(f"\n({dims}): time over an ordinary pass's, and error(t)\n")
        print(f"| data | type | {' | '.join(columns)} |\n| --- | --- |{' --- |' * len(columns)}")
        ordinary = {}
        for kind_of in TYPES:
            plain = Case(shape, kind_of, lambda x, dy, weight: None)
            for kind, recipe in kinds(kind_of):
                name = case_name(dims, kind_of.name, kind)
                if args.filter not in name:
                    continue
                case = Case(shape, kind_of, recipe)
                expect, scales = reference(case)
                if args.cases:
                    write_case(args.cases / f"{name}.safetensors", case, expect)
                got = case.results()
                row = {tensor: error(kind_of, tensor, got[tensor], expect[tensor], scales[tensor]) for tensor in TENSORS}
                for pass_, (ratio, ns) in ({} if args.untimed else times(plain, case)).items():
                    row[pass_] = ratio
                    ordinary[kind_of.name, pass_] = min(ns, ordinary.get((kind_of.name, pass_), ns))
                cells = []
                for column in columns:
                    mine = beside.get((name, column))
                    cells.append(figure(row[column]) + ("" if mine is None else f" / {figure(mine)}"))
                    if mine is not None and row[column] < 0.95 * mine:
                        better.append(f"{name} {column}: {figure(row[column])} against {figure(mine)}")
                print(f"| {kind} | {kind_of.name} | {' | '.join(cells)} |", flush=True)
        if args.untimed:
            continue
        told = (f"{name} {pass_} {ns / 1e6:.3g}" for (name, pass_), ns in ordinary.items())
        print(f"\nOrdinary passes, ms: {', '.join(told)}.")
    if beside:
        print("\nWhere PyTorch is better:\n")
        print("\n".join(f"- {line}" for line in better) or "- nowhere")


if __name__ == "__main__":
    peer.keep_freed()
    main()
