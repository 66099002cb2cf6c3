#!/usr/bin/env python3
"""The error measure and the reference of hard_torch.py, and that a wrong value is seen. Needs the packages torch and numpy.

    python3 benches/peers/test_hard_torch.py
"""

import json
import struct
import pathlib
import tempfile
import unittest

try:
    import hard_torch as hard
except ImportError:
    hard = None


@unittest.skipIf(hard is None, "expected the packages torch and numpy")
class Measure(unittest.TestCase):
    def case(self, kind, dtype="f32", shape=(64, 3)):
        kind_of = next(k for k in hard.TYPES if k.name == dtype)
        return hard.Case(shape, kind_of, dict(hard.kinds(kind_of))[kind])

    def errors(self, case, got):
        expect, scales = hard.reference(case)
        return {t: hard.error(case.type, t, got[t], expect[t], scales[t]) for t in hard.TENSORS}

    def test_rounded_references_have_a_unit_at_most(self):
        for dtype in ("f32", "f64", "bf16", "f16"):
            for kind in ("plain", "dy_constant", "dy_nan", "dy_infinite", "dy_subnormal"):
                case = self.case(kind, dtype)
                expect, _ = hard.reference(case)
                rounded = {}
                for tensor, values in expect.items():
                    dtype_of = case.type if tensor in ("y", "dx") else case.type.parameters
                    values = hard.torch.from_numpy(values.astype(hard.np.float64)).to(dtype_of.dtype)
                    rounded[tensor] = values.to(hard.torch.float64).numpy().astype(hard.WIDE)
                for tensor, error in self.errors(case, rounded).items():
                    self.assertLessEqual(error, 1.0005, (dtype, kind, tensor))

    def test_a_spoiled_value_is_seen(self):
        case = self.case("plain")
        expect, scales = hard.reference(case)
        for tensor in hard.TENSORS:
            got = {name: values.copy() for name, values in expect.items()}
            got[tensor][1, 0] += 7 * case.type.unit * scales[tensor][1, 0]
            self.assertAlmostEqual(self.errors(case, got)[tensor], 7, places=3)
            for wrong in (hard.np.nan, hard.np.inf):
                got[tensor][1, 0] = wrong
                self.assertEqual(self.errors(case, got)[tensor], float("inf"))

    def test_what_leaves_the_type_is_infinite(self):
        case = self.case("x_1e35")
        expect, _ = hard.reference(case)
        self.assertTrue((expect["var"] > 1e60).all())
        self.assertEqual(self.errors(case, {**expect, "var": expect["var"] * hard.np.inf})["var"], 0)

    def test_torch_is_judged_the_same_on_every_feature(self):
        case = self.case("plain")
        for tensor, error in self.errors(case, case.results()).items():
            self.assertTrue(0 < error < 1000, (tensor, error))

    def test_case_files_tell_their_types(self):
        sizes = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}
        for dtype, (of_x, of_weight) in {
            "f32": ("F32", "F32"),
            "f16": ("F16", "F32"),
            "bf16": ("BF16", "F32"),
            "f64": ("F64", "F64"),
        }.items():
            case = self.case("dy_nan", dtype, shape=(2, 3, 2))
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "a.safetensors"
                hard.write_case(path, case, hard.reference(case)[0])
                data = path.read_bytes()
            (length,) = struct.unpack_from("<Q", data)
            header = json.loads(data[8 : 8 + length])
            self.assertEqual((header["x"]["dtype"], header["weight"]["dtype"]), (of_x, of_weight))
            header.pop("__metadata__")
            for name, tensor in header.items():
                start, end = tensor["data_offsets"]
                count = int(hard.np.prod(tensor["shape"]))
                self.assertEqual(end - start, count * sizes[tensor["dtype"]], (dtype, name))

    def test_case_files_hold_the_tensors(self):
        case = self.case("weight_1e-41", shape=(2, 3, 2))
        expect, _ = hard.reference(case)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a.safetensors"
            hard.write_case(path, case, expect)
            data = path.read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        self.assertEqual(header["x"]["shape"], [2, 3, 2])
        self.assertEqual(header["expect.var"]["shape"], [3])

        def values(name, kind):
            start, end = header[name]["data_offsets"]
            return hard.np.frombuffer(data[8 + length + start : 8 + length + end], kind)

        self.assertTrue((values("x", "<f4") == case.x.numpy().reshape(-1)).all())
        y = values("expect.y", "<f8").reshape(2, 3, 2)
        self.assertTrue((y[1, 2] == expect["y"][2, 2:].astype("f8")).all(), "features are on axis 1")


if __name__ == "__main__":
    unittest.main()
