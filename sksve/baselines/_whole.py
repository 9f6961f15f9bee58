"""What classifiers share whose members are whole models."""

from dataclasses import dataclass, replace

from sksve.backbones import AdaptationPlan, ResolvedBackbone, plan_from_config
from sksve.estimators import MemberClassifier
from sksve.estimators._auto import WHOLE
from sksve.estimators._parameters import AdaptedParameters
from sksve.training import Settings, WholeBackbone

__all__ = ["WholeModelClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class WholeModelClassifier(AdaptedParameters, MemberClassifier):
    """Base of the classifiers that fine-tune all parameters of the backbone, or of its last blocks."""

    _defaults = WHOLE

    def _plan(self, resolved: ResolvedBackbone, settings: Settings) -> AdaptationPlan:
        plan = plan_from_config(
            resolved, target_modules="all-linear", adapt_blocks=settings.adapt_blocks
        )
        if plan.first_block > 0:
            return plan
        # Nothing is left alone but a pooler, whose output is not used.
        others = tuple(name for name in plan.skipped if not name.startswith("pooler."))
        skipped = {name: why for name, why in plan.skipped.items() if name not in others}
        return replace(plan, targets=(*others, *plan.targets), skipped=skipped)

    def _layer_factory(self, settings: Settings) -> WholeBackbone:
        return WholeBackbone()
