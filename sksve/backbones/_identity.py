"""Whether a backbone is the one a model was fitted on, as far as its weights are not needed."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from sksve._forks import lock_of

# What a configuration says that does not change the last hidden state without dropout, or that
# versions of transformers write differently.
_IRRELEVANT = re.compile(
    r"_.*|.*drop.*|architectures|transformers_version|.*dtype|use_cache|id2label|label2id|num_labels"
    r"|problem_type|output_.*|return_dict.*|gradient_checkpointing|chunk_size_feed_forward|.*_token_id"
    r"|tie_word_embeddings|initializer_.*|is_encoder_decoder|tokenizer_class|auto_map|name_or_path"
    r"|vocab_size|summary_.*|classifier_.*|finetuning_task|torchscript"
)
_PROBES = (
    "A good film, isn't it?",
    "age: 39; dose: 0.1; job: nurse",
    "Größe 12 µm — naïve café, 東京 🙂",
    "UPPER lower\ttab\nline  two  spaces",
)
_IMAGE_SETTINGS = (
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std", "do_convert_rgb",
)  # fmt: skip


def describe_config(config: Any) -> dict[str, Any]:
    """Return what of a transformers configuration decides the output, as plain JSON values."""
    values = json.loads(json.dumps(config.to_dict(), default=str, allow_nan=True))
    relevant = {
        k: v for k, v in values.items() if not _IRRELEVANT.fullmatch(k) and _is_finite_json(v)
    }
    return dict(sorted(relevant.items()))


def _is_finite_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def describe_processor(processor: Any) -> dict[str, Any]:
    """Return what a tokenizer or image processor does, as plain JSON values.

    A tokenizer is known by what it makes of a few texts and by its vocabulary, not by its files, which
    versions of transformers write differently.
    """
    if hasattr(processor, "get_vocab"):
        vocabulary = json.dumps(sorted(processor.get_vocab().items())).encode()
        how = {"add_special_tokens": True, "truncation": False, "verbose": False}
        with lock_of(processor):
            ids = [processor(text, **how)["input_ids"] for text in _PROBES]
        return {
            "vocabulary_sha256": hashlib.sha256(vocabulary).hexdigest(),
            "probes_sha256": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
        }
    settings = {name: getattr(processor, name, None) for name in _IMAGE_SETTINGS}
    present = {k: v for k, v in settings.items() if v is not None}
    plain = json.loads(json.dumps(present, default=_plain))
    return dict(plain)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any], *, what: str) -> None:
    """Raise a ValueError unless a description is the saved one, in every value that both have.

    `what` is for the message, such as "backbone's configuration".
    """
    differ = [name for name in saved if name in now and saved[name] != now[name]]
    if differ:
        listed = "; ".join(f"{n}: {saved[n]!r:.60} then, {now[n]!r:.60} now" for n in differ[:4])
        more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
        raise ValueError(
            f"The {what} is not the one the model was fitted with: {listed}{more}. Give the right "
            "backbone with backbone=."
        )
