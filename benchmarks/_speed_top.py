"""Leading triplets of large weights: ARPACK with a proof against the whole and against randomised ways."""

import numpy as np
import torch
from _alternate import alternate, machine, ratios
from _record import write
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

from sksve.adapters import decompose
from sksve.adapters._decompose_top import EXTRA, TOLERANCE, _leading, top_pays

# (out, in, rank, rounds, whether PROPACK and the randomised ways run, too)
CASES = [
    (384, 384, 16, 5, True),
    (1536, 384, 16, 5, True),
    (512, 512, 16, 5, False),
    (512, 512, 24, 5, False),
    (768, 768, 16, 3, False),
    (3072, 768, 16, 3, True),
    (3072, 768, 40, 3, False),
    (2048, 2048, 64, 1, False),
    (4096, 4096, 16, 1, False),
]


def weight(o, i, seed=0):
    """Noise and 64 outstanding directions: values fall off quickly, then hardly, as in trained weights."""
    g = torch.Generator().manual_seed(seed)
    slope = 2.0 * 0.9 ** torch.arange(64)
    low = (torch.randn(o, 64, generator=g) * slope / o**0.5) @ torch.randn(64, i, generator=g)
    return torch.randn(o, i, generator=g) / i**0.5 + low / i**0.5


def true_error(found, S):
    k = min(len(found), len(S))
    return float((torch.as_tensor(found.copy())[:k] - S[:k]).abs().max() / S[0])


def top(args):
    """Time and error of every way; the error of the certificate beside the true one."""
    cases = []
    for o, i, rank, rounds, rivals in CASES:
        w = weight(o, i)
        wide = w.double().numpy()
        results = {}

        def keep(name, run, results=results):
            def timed():
                results[name] = run()

            return timed

        contenders = {
            "whole": keep("whole", lambda w=w: decompose(w)),
            "top": keep("top", lambda w=w, r=rank: _leading(w.double(), r, TOLERANCE)),
        }
        if rivals:
            start = np.random.default_rng(0).standard_normal(o)
            how = {"solver": "propack", "v0": start, "tol": 1e-13, "maxiter": 600}
            contenders["PROPACK"] = keep(
                "PROPACK", lambda a=wide, r=rank, how=how: svds(a, r + EXTRA, **how)
            )
            for steps in (4, 20):
                contenders[f"randomised, {steps} steps"] = keep(
                    f"randomised, {steps} steps",
                    lambda a=wide, r=rank, n=steps: randomized_svd(
                        a, r, n_oversamples=r + EXTRA, n_iter=n, random_state=0
                    ),
                )
        seconds = alternate(contenders, args.rounds or rounds, warm_up=int(rounds > 1))
        found = ratios(seconds, "whole")
        S = results["whole"][1]
        errors = {
            name: true_error(np.sort(r[1])[::-1], S)
            for name, r in results.items()
            if name != "whole" and r is not None
        }
        certified = results["top"]
        cases.append(
            {
                "shape": [o, i], "rank": rank, "taken": top_pays(o, i, rank),
                "certified_error": None if certified is None else certified.error,
                "true_errors": errors, **found,
            }
        )  # fmt: skip
        print(
            (o, i, rank), {k: round(v["fastest"], 3) for k, v in found.items()}, errors, flush=True
        )
    question = "leading singular triplets of large weights, and how wrong they are"
    write("speed_top", {"question": question, **machine("cpu"), "cases": cases})
