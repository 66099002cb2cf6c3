#!/usr/bin/env python3
"""Checkpoints that pass between PyTorch and this layer. Needs the packages torch and safetensors.

    python3 benches/peers/checkpoint_torch.py          # loads the committed files, ours among them, strictly
    python3 benches/peers/checkpoint_torch.py --write  # writes torch_*.safetensors anew

The files are in crates/batchnorm/tests/fixtures/. torch_f32, torch_f16 and torch_bf16 hold the state_dict of a small model
after a step of training, in that type. ours.safetensors is the same model as the test
`what_is_written_is_the_committed_file` of crates/batchnorm/tests/suite/checkpoint.rs wrote it. Beside the state each file
has case.NAME.x and case.NAME.y: an input, and what the writer's own evaluation made of it in f32.
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Not the torch.py beside this file.
sys.path = [path for path in sys.path if pathlib.Path(path or ".").resolve() != HERE]

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

FILES = HERE.parents[1] / "crates/batchnorm/tests/fixtures"
CASE = "case."
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# Each layer's name and the sizes of its input.
SIZES = {
    "dense.norm": (4, 5),
    "block.bn": (2, 3, 2, 2),
    "block.plain": (2, 4, 2, 2),
    "untracked": (4, 2),
    "bare": (2, 2, 2, 2),
}


def model():
    """With every combination of affine part and running statistics; the Rust test has the same."""
    return nn.ModuleDict(
        {
            "dense": nn.ModuleDict({"norm": nn.BatchNorm1d(5)}),
            "block": nn.ModuleDict(
                {
                    "bn": nn.BatchNorm2d(3, eps=1e-3, momentum=None),
                    "plain": nn.BatchNorm2d(4, affine=False),
                }
            ),
            "untracked": nn.BatchNorm1d(2, track_running_stats=False),
            "bare": nn.BatchNorm2d(2, affine=False, track_running_stats=False),
        }
    )


def inputs():
    return {name: 5.0 + 3.0 * torch.randn(sizes) for name, sizes in SIZES.items()}


def trained():
    """A model after a step of SGD."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = sum((net.get_submodule(name)(x) * torch.randn(x.shape)).sum() for name, x in inputs().items())
    loss.backward()
    optimizer.step()
    return net


@torch.no_grad()
def evaluated(net, cases):
    """What each layer makes of its input, in evaluation."""
    net.eval()
    return {name: net.get_submodule(name)(x) for name, x in cases.items()}


def write():
    torch.manual_seed(20160212)
    net, cases = trained(), inputs()
    for suffix, dtype in TYPES.items():
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
        net.load_state_dict(state)  # rounded
        tensors = dict(state)
        for name, y in evaluated(net, cases).items():
            tensors |= {f"{CASE}{name}.x": cases[name], f"{CASE}{name}.y": y}
        save_file(tensors, FILES / f"torch_{suffix}.safetensors")


@torch.no_grad()
def difference(layer, x, got, want):
    """The largest |got - want|, in f32's units of roundoff of the terms x·a, μ·a and β. 8 allow 4 for either side."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    wide = x.double()
    mean, var = layer.running_mean, layer.running_var
    if mean is None:
        mean, var = wide.mean(axes), wide.var(axes, unbiased=False)
    column = lambda v: v.double().reshape([-1] + [1] * (x.dim() - 2))  # noqa: E731
    a = (column(var) + layer.eps).rsqrt()
    bias = torch.zeros(()) if layer.bias is None else column(layer.bias)
    a = a if layer.weight is None else a * column(layer.weight)
    size = (wide * a).abs() + (column(mean) * a).abs() + bias.abs()
    return float(((got.double() - want.double()).abs() / size).max()) * 2.0**24


def check(path):
    """Whether a file loads strictly, and evaluation gives the writer's own outputs."""
    tensors = load_file(path)
    net = model()
    net.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(CASE)}, strict=True)
    cases = {name: tensors[f"{CASE}{name}.x"] for name in SIZES}
    good = True
    for name, y in evaluated(net, cases).items():
        off = difference(net.get_submodule(name), cases[name], y, tensors[f"{CASE}{name}.y"])
        good &= off <= 8.0
        print(f"{path.name} {name}: {off:.2f} of at most 8 {'ok' if off <= 8.0 else 'FAIL'}")
    return good


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="write torch_*.safetensors anew")
    if options.parse_args().write:
        write()
    names = [f"torch_{suffix}" for suffix in TYPES] + ["ours"]
    found = [check(FILES / f"{name}.safetensors") for name in names]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
