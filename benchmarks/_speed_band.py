"""The band of a core: diagonal by diagonal, or as a dense matrix?"""

import torch
from _alternate import alternate, machine, ratios
from _record import write

from sksve.adapters import _band, apply_band, band_size


def band(args):
    """Forward and backward of both ways, for several cores and numbers of rows."""
    cases = []
    for rows in (200, 600):
        for r in (16, 64, 128, 384):
            for d in (1, 2, 4, 8):
                h = torch.randn(args.members, rows, r, requires_grad=True)
                entries = torch.randn(args.members, band_size(r, d), requires_grad=True)

                def way(dense_below, h=h, entries=entries, r=r, d=d):
                    def run():
                        h.grad = entries.grad = None
                        _band.DENSE_BELOW = dense_below
                        apply_band(h, entries, r, d).sum().backward()

                    return run

                chosen = _band.DENSE_BELOW
                contenders = {"diagonals": way(0), "dense": way(10**9)}
                try:
                    seconds = alternate(contenders, args.rounds or 15)
                finally:
                    _band.DENSE_BELOW = chosen
                found = ratios(seconds, "diagonals")["dense"]
                cases.append(
                    {
                        "rows_a_member": rows, "r": r, "off_diagonals": d,
                        "chosen": "dense" if r <= chosen * d else "diagonals",
                        "dense_to_diagonals": found["ratio_to_diagonals"],
                    }
                )  # fmt: skip
                print(cases[-1], flush=True)
    question = "a band as a dense core against diagonal by diagonal: a training step's product"
    write("speed_band", {"question": question, **machine("cpu"), "cases": cases})
