"""From what users hold (texts, tables, images) to what a model takes, with every fault named first."""

from sksve.inputs._kinds import Samples, as_paths, check_kind, is_missing, read_samples
from sksve.inputs._pairs import read_pairs, tokenize_pairs
from sksve.inputs._pixels import ImageRows
from sksve.inputs._token_cache import token_cache
from sksve.inputs._tokenize import max_tokens, tokenize

__all__ = [
    "ImageRows",
    "Samples",
    "as_paths",
    "check_kind",
    "is_missing",
    "max_tokens",
    "read_pairs",
    "read_samples",
    "token_cache",
    "tokenize",
    "tokenize_pairs",
]
