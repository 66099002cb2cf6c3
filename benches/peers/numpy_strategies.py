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
import pathlib
import statistics
import sys
import time

import numpy as np

from peer import keep_freed
from strategies import analytic_backward, analytic_forward, graph_backward, graph_forward

HERE = pathlib.Path(__file__).resolve().parent
RANK = {"NC": 2, "NCHW": 4}


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
