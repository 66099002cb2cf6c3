#!/usr/bin/env python3
"""The two strategies of crates/bn-textbook in NumPy, timed on the shapes of benches/shapes/strategies.txt.

    python3 benches/peers/numpy_strategies.py [--rounds N] [--filter TEXT] [LIST.txt]

Prints a JSON list of objects: name, shape, layout, dtype, pass ("step", which is forward and backward, or "backward"),
impl ("numpy_graph", "numpy_analytic"), threads (1: nothing here calls a BLAS), median_ns, min_ns. Before a shape is
timed the two answers are compared. NC and NCHW; (N,C,H,W) is reduced over the axes 0, 2 and 3, as the Rust code does it.
Freed memory is kept by the allocator, as benches/src/memory.rs does it; BENCH_FREED=returned leaves it as it is.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import numpy as np

EPS = 1e-5
HERE = pathlib.Path(__file__).resolve().parent
RANK = {"NC": 2, "NCHW": 4}


SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed():
    """Starts the program anew with an allocator that keeps what is freed: see benches/src/memory.rs."""
    settled = any(name in os.environ for name in SETTINGS)
    if not settled and os.environ.get("BENCH_FREED") != "returned" and sys.platform == "linux":
        settings = {name: "64000000000" for name in SETTINGS}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


def per_feature(ndim):
    """The axes that are summed over, and the shape that broadcasts one value per feature."""
    return (0,) + tuple(range(2, ndim)), (1, -1) + (1,) * (ndim - 2)


def graph_forward(x, weight, bias):
    axes, wide = per_feature(x.ndim)
    n = x.dtype.type(x.size // x.shape[1])
    weight, bias = weight.reshape(wide), bias.reshape(wide)
    mean = x.sum(axis=axes, keepdims=True) / n
    centred = x - mean
    squared = centred * centred
    var = squared.sum(axis=axes, keepdims=True) / n
    std = np.sqrt(var + x.dtype.type(EPS))
    inverse = 1 / std
    normalized = centred * inverse
    scaled = normalized * weight
    shifted = scaled + bias
    return shifted, (centred, normalized, std, inverse, weight, n)


def graph_backward(dy, cache):
    centred, normalized, std, inverse, weight, n = cache
    axes, _ = per_feature(dy.ndim)
    dbias = dy.sum(axis=axes)
    dscaled = dy
    dweight = (dscaled * normalized).sum(axis=axes)
    dnormalized = dscaled * weight
    dinverse = (dnormalized * centred).sum(axis=axes, keepdims=True)
    dcentred_direct = dnormalized * inverse
    dstd = -dinverse / (std * std)
    dvar = dstd / (2 * std)
    # The post writes 1/N * np.ones(...) * dvar; this is the same array in one write.
    dsquared = np.broadcast_to(dvar / n, dy.shape).copy()
    dcentred_squared = centred * 2 * dsquared
    dcentred = dcentred_direct + dcentred_squared
    dmean = -dcentred.sum(axis=axes, keepdims=True)
    dx_mean = np.broadcast_to(dmean / n, dy.shape).copy()
    dx = dcentred + dx_mean
    return dx, dweight, dbias


def analytic_forward(x, weight, bias):
    axes, wide = per_feature(x.ndim)
    n = x.dtype.type(x.size // x.shape[1])
    weight, bias = weight.reshape(wide), bias.reshape(wide)
    mean = x.sum(axis=axes, keepdims=True) / n
    centred = x - mean
    var = (centred * centred).sum(axis=axes, keepdims=True) / n
    invstd = 1 / np.sqrt(var + x.dtype.type(EPS))
    xhat = centred
    xhat *= invstd
    return xhat * weight + bias, (xhat, invstd, weight, n)


def analytic_backward(dy, cache):
    xhat, invstd, weight, n = cache
    axes, wide = per_feature(dy.ndim)
    dbias = dy.sum(axis=axes)
    dweight = (xhat * dy).sum(axis=axes)
    dx = (weight * invstd / n) * (n * dy - xhat * dweight.reshape(wide) - dbias.reshape(wide))
    return dx, dweight, dbias


def graph(x, dy, weight, bias):
    y, cache = graph_forward(x, weight, bias)
    return (y, *graph_backward(dy, cache))


def analytic(x, dy, weight, bias):
    y, cache = analytic_forward(x, weight, bias)
    return (y, *analytic_backward(dy, cache))


def shapes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != 3 or fields[1] not in RANK:
            sys.exit(f"{path}:{number}: expected NAME, NC or NCHW, and DIMS, got {line!r}")
        name, layout, dims = fields
        dims = tuple(int(d) for d in dims.split("x"))
        if len(dims) != RANK[layout]:
            sys.exit(f"{path}:{number}: expected {RANK[layout]} dimensions, got {len(dims)}")
        yield name, layout, dims


def timed(functions, rounds, seconds=0.2):
    """Nanoseconds per call: the functions take turns, `rounds` times for some `seconds` each."""
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, list_ in zip(functions, times):
            function()
            until = time.perf_counter_ns() + seconds * 1e9
            while True:
                start = time.perf_counter_ns()
                function()
                end = time.perf_counter_ns()
                list_.append(end - start)
                if end > until:
                    break
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filter", default="")
    parser.add_argument("list", nargs="?", type=pathlib.Path, default=HERE.parent / "shapes" / "strategies.txt")
    args = parser.parse_args()
    records = []
    for name, layout, dims in shapes(args.list):
        if args.filter not in name:
            continue
        dtype = np.float64 if name == "post" else np.float32
        rng = np.random.default_rng(20160212)
        x = (5 * rng.standard_normal(dims) + 12).astype(dtype)
        dy = rng.standard_normal(dims).astype(dtype)
        weight = (1 + 0.1 * rng.standard_normal(dims[1])).astype(dtype)
        bias = (0.1 * rng.standard_normal(dims[1])).astype(dtype)
        inputs = (x, dy, weight, bias)
        for tensor, a, b in zip(("y", "dx", "dweight", "dbias"), graph(*inputs), analytic(*inputs)):
            if a.dtype != dtype or b.dtype != dtype:
                sys.exit(f"{name} {tensor}: expected {np.dtype(dtype)}, got {a.dtype} and {b.dtype}")
            limit = 4096 * np.finfo(dtype).eps * max(1, np.abs(a).max())
            apart = np.abs(a - b).max()
            if not apart <= limit:
                sys.exit(f"{name} {tensor}: graph and analytic form are {apart} apart, limit {limit}")
        _, graph_cache = graph_forward(x, weight, bias)
        _, analytic_cache = analytic_forward(x, weight, bias)
        functions = {
            ("step", "numpy_graph"): lambda: graph(*inputs),
            ("step", "numpy_analytic"): lambda: analytic(*inputs),
            ("backward", "numpy_graph"): lambda: graph_backward(dy, graph_cache),
            ("backward", "numpy_analytic"): lambda: analytic_backward(dy, analytic_cache),
        }
        for (pass_, impl), times in zip(functions, timed(functions.values(), args.rounds)):
            records.append({
                "name": name,
                "shape": "x".join(map(str, dims)),
                "layout": layout.lower(),
                "dtype": {"float64": "f64", "float32": "f32"}[np.dtype(dtype).name],
                "pass": pass_,
                "impl": impl,
                "threads": 1,
                "median_ns": int(statistics.median(times)),
                "min_ns": min(times),
            })
    json.dump(records, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    keep_freed()
    main()
