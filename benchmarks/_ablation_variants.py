"""The ablations' variants of SVE."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from _sve_variants import (
    Anchored,
    DepthScaled,
    FisherSpread,
    Freeze,
    MemberScales,
    MirroredStart,
    OrthogonalStart,
    SharedHead,
    WeightAverage,
)

from sksve import RANDOM_SUBSPACES

__all__ = ["VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """One change of the base: parameters of SVEClassifier, and callbacks that act on members."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    callbacks: Callable[[], list[Any]] = list
    more: str = ""  # what the name does not say


#: A core of the last four blocks, at a rate between those that trials of it chose for the two data sets.
CORE: dict[str, Any] = {
    "adapt_blocks": 4, "rank": 34, "off_diagonals": 33, "init_scale": 0.02,
    "lr": 3e-3,
}  # fmt: skip

#: A core of all blocks without noise and biases, at rates and epochs between those of the two data sets.
SUBSPACES: dict[str, Any] = {
    "rank": 34, "off_diagonals": 33, "init_scale": 0.0, "train_bias": False, "lr": 6e-3, "max_epochs": 3,
}  # fmt: skip

#: What the evidence is about, at learning rates of its own.
PRESET: dict[str, Any] = dict(RANDOM_SUBSPACES)

#: The cheapest and most telling first. All blocks are adapted, unless the name says otherwise.
VARIANTS = (
    Variant("base", more="noise 0.1 at all six blocks, biases, a head a member, batches of its own"),
    Variant("one_head", {}, lambda: [SharedHead()], "one head for all members"),
    Variant("frozen_heads", {}, lambda: [Freeze("heads")], "they stay random"),
    Variant("frozen_biases", {}, lambda: [Freeze("bias_delta")], "they stay random"),
    Variant("frozen_values", {}, lambda: [Freeze("values")], "singular values stay random"),
    Variant("one_head_noise_0", {"init_scale": 0.0}, lambda: [SharedHead()],
            "only the batches differ"),
    Variant("one_head_shared_batches", {"member_batches": "shared"}, lambda: [SharedHead()],
            "only the noise differs"),
    Variant("shared_batches", {"member_batches": "shared"}),
    Variant("no_bias", {"train_bias": False}),
    Variant("noise_0", {"init_scale": 0.0}),
    Variant("noise_0_no_bias", {"init_scale": 0.0, "train_bias": False},
            more="values and heads learn; biases stay at the pretrained ones"),
    Variant("noise_0_frozen_values", {"init_scale": 0.0}, lambda: [Freeze("values")],
            "biases and heads learn; values stay at the pretrained ones"),
    Variant("noise_0.03", {"init_scale": 0.03}),
    Variant("noise_0.2", {"init_scale": 0.2}),
    Variant("noise_0.3", {"init_scale": 0.3}),
    Variant("last_3_blocks", {"adapt_blocks": 3}),
    Variant("core", CORE, more="of the last four blocks"),
    Variant("core_one_head", CORE, lambda: [SharedHead()], "the same, one head for all members"),
    Variant("core_noise_0", {**CORE, "init_scale": 0.0}),
    Variant("core_noise_0.05", {**CORE, "init_scale": 0.05}),
    Variant("core_last_3_blocks", {**CORE, "adapt_blocks": 3}),
    Variant("core_all_blocks", {**CORE, "adapt_blocks": None}),
    Variant("core_all_blocks_no_bias", {**CORE, "adapt_blocks": None, "init_scale": 0.0,
            "train_bias": False}, more="and no noise"),
    Variant("leading_3_epochs", SUBSPACES, more="core of the leading 34 directions, all blocks"),
    Variant("subspaces_64", {**SUBSPACES, "direction_pool": 64}, more="34 of 64, each member its own"),
    Variant("subspaces_64_muon", {**SUBSPACES, "direction_pool": 64, "core_optimizer": "muon"},
            more="the same, cores moved by Muon"),
    Variant("subspaces_128", {**SUBSPACES, "direction_pool": 128}, more="34 of 128"),
    Variant("random_subspaces", PRESET, more="the preset: four blocks, 42 of 64, Muon, early stops"),
    Variant("random_subspaces_one_head", PRESET, lambda: [SharedHead()],
            "the same, one head for all members"),
    Variant("mirrored", {}, lambda: [MirroredStart()], "pairs of opposite noise"),
    Variant("orthogonal", {}, lambda: [OrthogonalStart()], "members' noise orthogonal"),
    Variant("anchored_1", {}, lambda: [Anchored(1.0)], "pulled to its own start"),
    Variant("anchored_10", {}, lambda: [Anchored(10.0)], "pulled to its own start"),
    Variant("member_scales", {}, lambda: [MemberScales(0.0, 0.5, 1.0, 2.0, 4.0)],
            "noise of 0, .05, .1, .2, .4: a size for each member"),
    Variant("fisher_more", {}, lambda: [FisherSpread(0.5)],
            "more noise where the loss is sensitive"),
    Variant("fisher_less", {}, lambda: [FisherSpread(-0.5)],
            "more noise where the loss is not sensitive"),
    Variant("averaged", {}, lambda: [WeightAverage()], "mean of the last half's weights"),
    Variant("attention", {"target_modules": "attention"}),
    Variant("mlp", {"target_modules": "mlp"}),
    Variant("last_block", {"adapt_blocks": 1}),
    Variant("last_2_blocks", {"adapt_blocks": 2}),
    Variant("last_2_blocks_noise_0.3", {"adapt_blocks": 2, "init_scale": 0.3}),
    Variant("rank_16", {"rank": 16}),
    Variant("rank_64", {"rank": 64}),
    Variant("rank_192", {"rank": 192}),
    Variant("off_diagonals_1", {"off_diagonals": 1}),
    Variant("off_diagonals_2", {"off_diagonals": 2}),
    Variant("core_16", {"rank": 16, "off_diagonals": 15}, more="all blocks"),
    Variant("noise_0.5", {"init_scale": 0.5}),
    Variant("noise_0.3_depth", {"init_scale": 0.3}, lambda: [DepthScaled()],
            "noise divided by the root of the number of blocks"),
    Variant("noise_0.5_depth", {"init_scale": 0.5}, lambda: [DepthScaled()],
            "noise divided by the root of the number of blocks"),
    Variant("members_16", {"n_members": 16}),
)  # fmt: skip
