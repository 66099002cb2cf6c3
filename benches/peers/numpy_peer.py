#!/usr/bin/env python3
"""The peer `numpy`: the two strategies of strategies.py. Needs the package numpy; runs on one thread, whatever it may."""

import peer


def implementation(forward, backward):
    class Strategy:
        def __init__(self, case):
            # Channels last is (rows, features) in the same memory: the strategies want the features on axis 1.
            features = case.weight.size
            dims = (-1, features) if case.channels_last() else case.x.shape
            self.x, self.dy = case.x.reshape(dims), case.dy.reshape(dims)
            self.weight, self.bias, self.eps = case.weight, case.bias, case.eps

        def forward(self):
            return forward(self.x, self.weight, self.bias, self.eps)

        def backward(self, saved):
            return backward(self.dy, saved[1])

        def outputs(self, saved, gradients):
            return saved[0], *gradients

    return Strategy


def main():
    say = peer.hello()
    try:
        import numpy

        import strategies
    except ImportError:
        say({"peer": "numpy", "unavailable": "expected the package numpy: pip install numpy"})
        return
    impls = {
        "numpy-graph": implementation(strategies.graph_forward, strategies.graph_backward),
        "numpy-analytic": implementation(strategies.analytic_forward, strategies.analytic_backward),
    }
    peer.serve(say, "numpy", numpy.__version__, impls)


if __name__ == "__main__":
    peer.keep_freed()
    main()
