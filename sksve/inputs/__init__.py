"""From what users hold (texts, tables) to what a tokenizer takes, with every fault named first."""

from sksve.inputs._kinds import Samples, is_missing, read_samples
from sksve.inputs._tokenize import max_tokens, tokenize

__all__ = ["Samples", "is_missing", "max_tokens", "read_samples", "tokenize"]
