"""Weight decay that pulls parameters to where training found them."""

from typing import Any

import torch

__all__ = ["decay_to_start"]


def decay_to_start(optimizer: torch.optim.AdamW) -> None:
    r"""Let weight decay pull to the parameters' present values instead of to zero.

    A step of AdamW takes :math:`\eta \lambda p` off a parameter; what is given back after it, :math:`\eta
    \lambda p_0`, makes that :math:`\eta \lambda (p - p_0)`. Groups without decay are left alone.

    Parameters
    ----------
    optimizer : torch.optim.AdamW
        Changed: it has a hook more, which keeps a copy of the parameters.

    References
    ----------
    .. [1] Pearce, Leibfried, Brintrup, Zaki and Neely (2020), "Uncertainty in neural networks:
       approximately Bayesian ensembling", https://arxiv.org/abs/1810.05546
    """
    starts = [
        [(p, p.detach().clone()) for p in group["params"]] if group["weight_decay"] else []
        for group in optimizer.param_groups
    ]

    @torch.no_grad()
    def give_back(stepped: Any, *_: Any) -> None:
        for group, pairs in zip(stepped.param_groups, starts, strict=True):
            for p, start in pairs:
                if p.grad is not None:  # else the step has passed it over, decay and all
                    p.add_(start, alpha=group["lr"] * group["weight_decay"])

    optimizer.register_step_post_hook(give_back)
