"""All cases, and the names that have none, with the reason."""

from tests.fuzz import (  # noqa: F401  (importing them registers their cases)
    cases_adapters,
    cases_calibration,
    cases_estimators,
    cases_inputs,
    cases_metrics,
)

__all__ = ["UNFUZZED", "WHOLE_ROOMS"]

_TENSORS = "takes tensors that another part of sksve has made, never what a user gives"
_EXCEPTION = "an exception or warning, which has no input of its own"

WHOLE_ROOMS = {
    "training": "gets token ids, modules and a checked configuration from the estimators, which are fuzzed"
}
_EXCEPTIONS = (
    "BackboneNotFoundError CalibrationWarning FetchError IntegrityError NonFiniteLossError "
    "PersistenceError SksveError TruncationWarning adapters.BasisMismatchError"
).split()
_OF_TENSORS = (
    "adapters.FeatureDropout adapters.dropout_layers adapters.fixed_masks "
    "adapters.mark_frozen adapters.member_layers adapters.merged_member adapters.pretrained_layers "
    "adapters.use_members "
    "backbones.MemberCopies backbones.SplitBackbone "
    "backbones.blocks_of backbones.count_image_tokens backbones.prove "
    "backbones.Windows backbones.eval_mode backbones.in_windows backbones.pool_tokens backbones.run_model "
    "backbones.swap_modules"
).split()
UNFUZZED = {
    **dict.fromkeys(_EXCEPTIONS, _EXCEPTION),
    **dict.fromkeys(_OF_TENSORS, _TENSORS),
    "__version__": "a string, which cannot be called",
    "show_versions": "takes nothing",
    "onnx.load": "files that others wrote are damaged in tests/onnx",
    "onnx.OnnxClassifier": "made by onnx.load",
    "onnx.OnnxUncertainty": "a record of arrays",
    "load": "from_pretrained of the class in the folder, whose folders others damage",
    "adapters.MemberLinear": "an abstract base class; its subclasses are fuzzed",
    "adapters.MemberModule": "an abstract base class; its subclasses are fuzzed",
    "adapters.check_pool": "judges two parameters of SVDLinear, which is fuzzed",
    "adapters.clear_svd_cache": "takes nothing, and others rely on what it clears",
    "adapters.svd_cache": "the one cache of the process, an object; SVDCache is fuzzed",
    "backbones.AdaptationPlan": "a record that plan_adaptation makes, which is fuzzed",
    "backbones.AdapterReport": "a record that is made out of a plan",
    "backbones.LoadedBackbone": "a record that load_backbone makes, which is fuzzed through estimators",
    "backbones.ResolvedBackbone": "a record that resolve_backbone makes, which is fuzzed",
    "backbones.check_identity": "compares two descriptions that describe_config has made",
    "backbones.describe_config": "takes a configuration that transformers has made",
    "backbones.describe_processor": "takes a processor that transformers has made",
    "backbones.load_backbone": "takes what resolve_backbone made; tests/security attacks its folder",
    "backbones.make_tiny_backbone": "makes models to try things out; of odd sizes transformers says its word",
    "calibration.CALIBRATORS": "a mapping of names, which make_calibrator reads",
    "estimators.MemberClassifier": "an abstract base class; its subclasses are fuzzed",
    "persistence.CardFacts": "a record that the estimators fill; tests/security writes evil names",
    "persistence.replace_file": "writes bytes to a path that other parts of sksve have checked",
    "persistence.probe_folder": "writes into a folder that other parts of sksve have checked",
}
