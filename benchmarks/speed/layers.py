"""The parts: one layer's training step against rebuilt dense members, and the decomposition, cold and cached.

python -m benchmarks.speed.layers layer   # about 2 minutes
python -m benchmarks.speed.layers svd     # 3 minutes
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

from benchmarks.common.results import write
from benchmarks.common.timing import alternate, machine, quartiles, ratios
from sksve.adapters import SVDLinear, decompose
from sksve.backbones import fetch_backbone, load_backbone, plan_adaptation, resolve_backbone

# (name, out, in, bar at 8 rows a member, bar at 1 row)
LAYERS = [
    ("384 wide", 384, 384, 0.65, 0.35),
    ("768 wide", 768, 768, 0.5, 0.25),
    ("768 to 3072", 3072, 768, 0.4, 0.15),
]


class RebuiltMembers(nn.Module):
    """What the published code does: dense weights of every member, at every step, all at once."""

    def __init__(self, linear, n_members):
        super().__init__()
        U, S, Vh = torch.linalg.svd(linear.weight.detach(), full_matrices=False)
        self.register_buffer("U", U)
        self.register_buffer("Vh", Vh)
        noise = 1.0 + 0.01 * torch.randn(n_members, len(S))
        self.s = nn.Parameter((S * noise).clamp(min=0))
        self.bias = nn.Parameter(linear.bias.detach().repeat(n_members, 1))

    def forward(self, x):
        weight = torch.einsum("ok,mk,ki->moi", self.U, self.s.clamp(min=0), self.Vh)
        return torch.baddbmm(self.bias[:, None, :], x, weight.transpose(1, 2))


def _step(layer, x, gy, *, stacked):
    def run():
        for p in layer.parameters():
            p.grad = None
        x.grad = None
        y = layer(x.flatten(0, 1)).reshape(gy.shape) if stacked else layer(x)
        y.backward(gy)

    return run


def layer(args):
    members, cases = args.members, []
    for name, o, i, many, one in LAYERS:
        linear = nn.Linear(i, o)
        ours = SVDLinear.from_linear(linear, members, init_scale=0.01)
        theirs = RebuiltMembers(linear, members)
        for rows, bar in ((8, many), (1, one)):
            x = torch.randn(members, rows * 32, i, requires_grad=True)
            gy = torch.randn(members, rows * 32, o)
            contenders = {
                "rebuilt": _step(theirs, x, gy, stacked=False),
                "ours": _step(ours, x, gy, stacked=True),
            }
            found = ratios(alternate(contenders, args.rounds or 40, warm_up=3), "rebuilt")
            cases.append({"layer": name, "rows": rows, "tokens": 32, "bar": bar, **found})
            print(name, rows, "rows:", found["ours"]["ratio_to_rebuilt"], "bar", bar, flush=True)
    content = {"question": "training step of a layer, against rebuilding dense members"}
    write("speed", {**content, **machine("cpu"), "members": members, "cases": cases}, "layer")


FIRST_FIT = """
import sys, time
from sksve.adapters import svd_cache
from sksve.backbones import load_backbone, plan_adaptation, resolve_backbone
b = load_backbone(resolve_backbone(sys.argv[1]))
linears = [b.model.get_submodule(n) for n in plan_adaptation(b.model).targets]
for _ in range(2):
    start = time.perf_counter()
    for linear in linears:
        svd_cache.get(linear.weight)
    print(time.perf_counter() - start)
"""


def svd(args):
    """Decompositions in both precisions; of a first and a second fit, cold and with the disk's cache."""
    folder = str(fetch_backbone("all-MiniLM-L6-v2"))
    model = load_backbone(resolve_backbone(folder)).model
    cases = []
    for name in [n for n in plan_adaptation(model).targets if ".layer.3." in n]:
        w = model.get_submodule(name).weight.detach()
        contenders = {
            "float64": lambda w=w: decompose(w),
            "float32": lambda w=w: torch.linalg.svd(w, full_matrices=False),
        }
        found = ratios(alternate(contenders, args.rounds or 3), "float64")
        wrong = {}
        for precision, run in contenders.items():
            U, S, Vh = run()
            rebuilt = (U * S) @ Vh - w.to(U.dtype)
            wrong[f"reconstruction_{precision}"] = float(rebuilt.norm() / w.norm())
        cases.append({"weight": name, "shape": list(w.shape), **found, **wrong})
        print(name, {k: v["seconds"][1] for k, v in found.items()}, flush=True)
    rounds = []
    for _ in range(args.rounds or 3):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm disk"):
                start = time.perf_counter()
                out = subprocess.run(
                    [sys.executable, "-c", FIRST_FIT, folder],
                    env=os.environ | {"SKSVE_CACHE": cache},
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                first, second = map(float, out.stdout.split())
                took = {"first_fit": first, "second_fit": second}
                rounds.append({"state": state, **took, "process": time.perf_counter() - start})
    cold, warm = ([r for r in rounds if r["state"] == s] for s in ("cold", "warm disk"))
    summary = {
        "warm_disk_over_cold": quartiles(
            [w["first_fit"] / c["first_fit"] for w, c in zip(warm, cold)]
        ),
        "memory_over_cold": quartiles([c["second_fit"] / c["first_fit"] for c in cold]),
        "bar": 0.05,
    }
    print(summary)
    question = "which decomposition, and what do the caches save?"
    content = {"question": question, **machine("cpu"), "cases": cases, "processes": rounds}
    write("speed", {**content, **summary}, "svd")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["layer", "svd"])
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    {"layer": layer, "svd": svd}[args.command](args)


if __name__ == "__main__":
    main()
