#!/usr/bin/env python3
"""The peer `numpy`: the two strategies of strategies.py. Needs the package numpy; runs on one thread, whatever it may.

A residual is added and negative values cut off behind the strategy, in place.
"""

import peer


def implementation(numpy, forward, backward):
    class Strategy:
        def __init__(self, case):
            # Channels last is (rows, features) in the same memory: the strategies want the features on axis 1.
            features = case.weight.size
            dims = (-1, features) if case.channels_last() else case.x.shape
            self.x, self.dy = case.x.reshape(dims), case.dy.reshape(dims)
            self.weight, self.bias, self.eps = case.weight, case.bias, case.eps
            self.has_relu = case.variant != "plain"
            self.residual = None if case.residual is None else case.residual.reshape(dims)

        def forward(self):
            y, cache = forward(self.x, self.weight, self.bias, self.eps)
            if self.residual is not None:
                y += self.residual
            if self.has_relu:
                numpy.maximum(y, 0, out=y)
            return y, cache

        def backward(self, saved):
            y, cache = saved
            dy = self.dy * (y > 0) if self.has_relu else self.dy
            gradients = backward(dy, cache)
            return gradients if self.residual is None else (*gradients, dy)

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
        "numpy-graph": implementation(numpy, strategies.graph_forward, strategies.graph_backward),
        "numpy-analytic": implementation(numpy, strategies.analytic_forward, strategies.analytic_backward),
    }
    peer.serve(say, "numpy", numpy.__version__, impls)


if __name__ == "__main__":
    peer.keep_freed()
    main()
