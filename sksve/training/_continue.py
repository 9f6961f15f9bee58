"""Train members further on new rows, in place, or not at all."""

import copy
from dataclasses import replace

import numpy as np
import torch

from sksve.training._data import MemberDataset
from sksve.training._fit import TrainingConfig, make_net
from sksve.training._inference import compute_features
from sksve.training._net import MemberNet
from sksve.training._trained import TrainedMembers, trained_members, warn_of

__all__ = ["train_further"]


def train_further(
    net: MemberNet,
    history: list[dict[str, np.ndarray]],
    data: MemberDataset,
    config: TrainingConfig,
) -> TrainedMembers:
    """Train the members of a net from where they are; the optimizer starts anew.

    Parameters
    ----------
    net : MemberNet
        Trained before. Its module is trained on, and left as it was if training fails.
    history : list of dict
        Of the epochs before.
    data : MemberDataset
        The output of the frozen part of the backbone is stored in it.
    config : TrainingConfig
        ``part`` tells this training from those before: it has its own order of rows.

    Returns
    -------
    TrainedMembers
        With a new net around the same module, and the history of all epochs.
    """
    module = net.module_
    before = [p.detach().clone() for p in module.member_parameters()]
    further = make_net(module, net.member_ids, config, None)
    further.initialize()  # brings the module to its device
    further.history = copy.deepcopy(net.history)
    n_before = len(further.history)
    try:
        compute_features(module.split, data, device=config.device, autocast=config.autocast)
        further.partial_fit(data, None)
        members = trained_members(further, since=n_before)
        warn_of(members)
    except BaseException:
        with torch.no_grad():
            for p, value in zip(module.member_parameters(), before, strict=True):
                p.copy_(value)
        raise
    return replace(members, history=[*history, *members.history])
