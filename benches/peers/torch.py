#!/usr/bin/env python3
"""The peer `torch`: PyTorch's batch normalization on the CPU. Needs the packages torch and numpy.

torch            the operators that F.batch_norm and its autograd end in, without autograd: the forward takes the same
                 time, the backward is 1.3 to 1.5 times faster on small shapes, as fast on large ones
torch-compile    the same operators as torch.compile builds them for the one shape
torch-mkldnn     the same operators on oneDNN's tensors, where torch has them: f32, (N,C,H,W)

With a ReLU, or a residual and a ReLU, `torch` is what its users write: F.batch_norm, then add and relu in place, as in
torchvision's ResNet, differentiated by autograd. The two others have the operators that this ends in, without autograd.

Channels last is permuted to channels first without a copy, which is torch's memory format channels_last. (N,L,C) gets an
axis of 1 for it: there is no such format of three axes, and torch is ten times slower without.
"""

import pathlib
import sys

import peer

# This file would be the package torch to itself, and to the processes that torch.compile starts.
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if pathlib.Path(path).resolve() != HERE]
sys.modules.pop("torch", None)

MOMENTUM = 0.1


def operators(torch):
    """The training forward and its backward, as functions of tensors alone."""

    def forward(x, weight, bias, mean, var, eps):
        return torch.ops.aten._native_batch_norm_legit(x, weight, bias, mean, var, True, MOMENTUM, eps)

    def backward(dy, x, weight, mean, var, batch_mean, batch_invstd, eps):
        every = [True, True, True]
        return torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, batch_mean, batch_invstd, True, eps, every
        )

    return forward, backward


def with_relu(torch, forward, backward, adds):
    """The operators with a ReLU behind them; with a residual before it, and its gradient, where one is added."""

    def forward_relu(x, weight, bias, mean, var, eps, residual=None):
        y, *saved = forward(x, weight, bias, mean, var, eps)
        return torch.relu(y if residual is None else y + residual), *saved

    def backward_relu(dy, y, *others):
        passed = torch.ops.aten.threshold_backward(dy, y, 0)
        gradients = backward(passed, *others)
        return (*gradients, passed) if adds else gradients

    return forward_relu, backward_relu


def implementations(torch):
    plain = operators(torch)
    functions = {
        "plain": plain,
        "relu": with_relu(torch, *plain, adds=False),
        "add_relu": with_relu(torch, *plain, adds=True),
    }

    class Eager:
        def __init__(self, case):
            torch.set_num_threads(case.threads)
            self.has_relu = case.variant != "plain"
            self.functions = functions[case.variant]
            self.eps, self.channels_last = case.eps, case.channels_last()
            self.dims = case.x.shape
            self.x, self.dy = self.taken(case.x), self.taken(case.dy)
            self.residual = None if case.residual is None else self.taken(case.residual)
            self.weight, self.bias = torch.from_numpy(case.weight), torch.from_numpy(case.bias)
            self.mean, self.var = torch.zeros_like(self.weight), torch.ones_like(self.weight)

        def taken(self, array):
            """A tensor with the features on axis 1, in the same memory."""
            tensor = torch.from_numpy(array)
            if tensor.ndim == 3 and self.channels_last:
                tensor = tensor.unsqueeze(2)
            return tensor.movedim(-1, 1) if self.channels_last else tensor

        def given(self, tensor):
            """`taken` undone."""
            tensor = tensor.to_dense() if tensor.is_mkldnn else tensor
            tensor = tensor.movedim(1, -1) if self.channels_last and tensor.ndim > 1 else tensor
            return tensor.contiguous().numpy()

        def forward(self):
            added = () if self.residual is None else (self.residual,)
            return self.functions[0](self.x, self.weight, self.bias, self.mean, self.var, self.eps, *added)

        def backward(self, saved):
            y, mean, invstd = saved
            gate = (y,) if self.has_relu else ()
            return self.functions[1](
                self.dy, *gate, self.x, self.weight, self.mean, self.var, mean, invstd, self.eps
            )

        def outputs(self, saved, gradients):
            return [self.given(tensor) for tensor in (saved[0], *gradients)]

    class Autograd(Eager):
        def __init__(self, case):
            super().__init__(case)
            self.leaves = [self.x, self.weight, self.bias]
            self.leaves += [] if self.residual is None else [self.residual]
            for leaf in self.leaves:
                leaf.requires_grad_()

        def forward(self):
            with torch.enable_grad():
                y = torch.nn.functional.batch_norm(
                    self.x, self.mean, self.var, self.weight, self.bias, True, MOMENTUM, self.eps
                )
                if self.residual is not None:
                    y += self.residual
                return torch.nn.functional.relu(y, inplace=True)

        def backward(self, y):
            # The graph is kept for the next time that the backward alone is timed.
            return torch.autograd.grad(y, self.leaves, self.dy, retain_graph=True)

        def outputs(self, y, gradients):
            return [self.given(tensor.detach()) for tensor in (y, *gradients)]

    def eager(case):
        return Eager(case) if case.variant == "plain" else Autograd(case)

    class Compiled(Eager):
        def __init__(self, case):
            super().__init__(case)
            torch.compiler.reset()
            self.functions = [torch.compile(function, dynamic=False, fullgraph=True) for function in self.functions]
            try:
                self.backward(self.forward())
            except Exception as error:  # a compiler's, or that there is none
                raise peer.Skip(f"expected what torch.compile can build, got {first_line(error)}") from None

    class Mkldnn(Eager):
        def __init__(self, case):
            if case.channels_last():
                raise peer.Skip(f"expected channels first, got {case.layout}: torch would reorder it for oneDNN")
            super().__init__(case)
            try:
                self.x, self.dy = self.x.to_mkldnn(), self.dy.to_mkldnn()
                self.residual = None if self.residual is None else self.residual.to_mkldnn()
                self.backward(self.forward())
            except RuntimeError as error:
                raise peer.Skip(f"expected what torch has in oneDNN, got {first_line(error)}") from None

    return {"torch": eager, "torch-compile": Compiled, "torch-mkldnn": Mkldnn}


def first_line(error):
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def main():
    say = peer.hello()
    try:
        import numpy  # noqa: F401: torch goes without, its arrays do not
        import torch
    except ImportError as error:
        say({"peer": "torch", "unavailable": f"expected the package {error.name}: pip install torch numpy"})
        return
    torch.set_num_interop_threads(1)
    torch.set_grad_enabled(False)
    peer.serve(say, "torch", torch.__version__, implementations(torch))


if __name__ == "__main__":
    peer.keep_freed()
    main()
