"""The first members of an ensemble, on the backbone they share with it."""

import copy

import torch

from sksve.training._callbacks import MEMBER_KEYS
from sksve.training._fit import TrainingConfig, make_net
from sksve.training._net import MemberNet

__all__ = ["take_first"]


def take_first(net: MemberNet, n_members: int, config: TrainingConfig) -> MemberNet:
    """Copy a net's first members; what is frozen is shared, not copied.

    Parameters
    ----------
    net : MemberNet
        Trained.
    n_members : int
    config : TrainingConfig
        With the device the net is on.

    Returns
    -------
    MemberNet
    """
    own = {id(t) for t in net.module_.member_tensors()}
    tensors = [*net.module_.parameters(), *net.module_.buffers()]
    # What a deep copy has "copied" already, it takes as it is.
    module = copy.deepcopy(net.module_, {id(t): t for t in tensors if id(t) not in own})
    with torch.no_grad():
        for tensor in module.member_tensors():
            tensor.data = tensor.data[:n_members].clone()
            tensor.grad = None
    for layer in module.modules():
        if "n_members" in vars(layer):
            layer.n_members = n_members
    first = make_net(module, net.member_ids[:n_members], config, None)
    first.initialize()
    first.history = copy.deepcopy(net.history)
    for row in first.history:
        row.update({key: row[key][:n_members] for key in MEMBER_KEYS if key in row})
    return first
