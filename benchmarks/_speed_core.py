"""A layer with a core a member: one operation with a backward pass of its own, or a graph of single ones?"""

from itertools import product

import torch
from _alternate import alternate, machine, ratios
from _record import write
from torch.nn import functional as F

from sksve.adapters._core_product import (
    _coordinates,
    _Core,
    _Merged,
    _times,
    core_product,
    merging_pays,
)


def graph(x, weight, U, core, Vh, bias):
    """The same product as autograd would have it."""
    turned = x @ Vh.mT @ core.mT
    return F.linear(x, weight, bias) + turned @ U.mT


def core(args, r=34, rows=432):
    """Forward and backward of a layer of MiniLM, members' rows stacked, beside one full member."""
    cases = []
    for own_directions, (o, i) in product((False, True), ((384, 384), (1536, 384), (384, 1536))):
        weight, bias = torch.randn(o, i) / i**0.5, torch.randn(o)
        U, _, Vh = torch.linalg.svd(weight, full_matrices=False)
        frozen = {"U": U[:, :r].contiguous(), "Vh": Vh[:r].contiguous(), "bias": bias}
        if own_directions:  # of each member, out of the leading ones
            drawn = torch.stack([torch.randperm(64)[:r] for _ in range(args.members)])
            frozen |= {"U": U[:, drawn].movedim(1, 0).contiguous(), "Vh": Vh[drawn]}
        x = torch.randn(args.members, rows, i, requires_grad=True)
        cores = torch.randn(args.members, r, r).mul_(0.01).requires_grad_()
        gy = torch.randn(args.members, rows, o)
        own = {"x": x.detach()[0].clone().requires_grad_(), "weight": weight.clone()}
        own["weight"].requires_grad_()

        def ours(layer, x=x, weight=weight, cores=cores, frozen=frozen, gy=gy):
            x.grad = cores.grad = None
            layer(x=x, weight=weight, core=cores, **frozen).backward(gy)

        def plain(own=own, bias=bias, gy=gy):
            own["x"].grad = own["weight"].grad = None
            F.linear(own["x"], own["weight"], bias).backward(gy[0])

        contenders = {
            "graph": lambda ours=ours: ours(graph),
            "one operation": lambda ours=ours: ours(core_product),
            "one full member": plain,
        }
        found = ratios(alternate(contenders, args.rounds or 25), "graph")
        share = found["one operation"]["ratio_to_graph"]
        full = found["one full member"]["ratio_to_graph"]
        cases.append(
            {
                "shape": [o, i], "rank": r, "own_directions": own_directions,
                "members": args.members, "rows_a_member": rows,
                "one_operation_to_graph": share, "one_full_member_to_graph": full,
            }
        )  # fmt: skip
        print(cases[-1], flush=True)
    narrow = coordinates(args, rows)
    question = "a layer with a core a member: one operation against the graph, a training step"
    write("speed_core", {"question": question, **machine("cpu"), "cases": cases, "narrow": narrow})


def merged(args, r=42):
    """A training step through each member's matrix beside small products, for more and more rows."""
    found = []
    for (o, i), rows in product(((384, 384), (1536, 384), (384, 1536)), (192, 300, 432, 600, 768)):
        weight, bias = torch.randn(o, i) / i**0.5, torch.randn(o)
        U, Vh = torch.randn(args.members, o, r), torch.randn(args.members, r, i)
        x = torch.randn(args.members, rows, i, requires_grad=True)
        cores = torch.randn(args.members, r, r).mul_(0.01).requires_grad_()
        gy = torch.randn(args.members, rows, o)

        def step(way, given=(x, weight, U, cores, Vh, bias), wanted=(x, cores), gy=gy):
            torch.autograd.grad(way.apply(*given), wanted, gy)

        contenders = {
            "small products": lambda step=step: step(_Core),
            "merged": lambda step=step: step(_Merged),
        }
        ratio = ratios(alternate(contenders, args.rounds or 15), "small products")["merged"]
        found.append(
            {
                "shape": [o, i], "rank": r, "members": args.members, "rows_a_member": rows,
                "merged_to_small_products": ratio["ratio_to_small products"],
                "chosen": merging_pays(o, i, rows, True),
            }
        )  # fmt: skip
        print(found[-1], flush=True)
    question = (
        "a layer with a core a member: each member's matrix or small products, a training step"
    )
    write("speed_merged", {"question": question, **machine("cpu"), "cases": found})


def coordinates(args, rows):
    """Rows in the coordinates of each member's r directions: as they stand, and turned."""
    found = []
    for width, r in product((384, 1536), (8, 24, 30, 34, 42, 48)):
        x, directions = (torch.randn(args.members, n, width) for n in (rows, r))

        def run(way, x=x, directions=directions):
            for _ in range(10):
                way(x, directions.mT)

        contenders = {
            "as they stand": lambda run=run: run(_times),
            "turned": lambda run=run: run(_coordinates),
        }
        ratio = ratios(alternate(contenders, args.rounds or 25), "as they stand")["turned"]
        found.append(
            {"width": width, "rank": r, "turned_to_as_they_stand": ratio["ratio_to_as they stand"]}
        )
        print(found[-1], flush=True)
    return found
