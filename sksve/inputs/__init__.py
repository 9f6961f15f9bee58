"""From what users hold (texts, tables, images) to what a model takes, with every fault named first."""

from sksve.inputs._images import ImageRows
from sksve.inputs._rows import CheckedRows, read_rows
from sksve.inputs._tokenize import check_max_length, tokenize, tokenize_pairs, tokenize_windows

__all__ = [
    "CheckedRows",
    "ImageRows",
    "check_max_length",
    "read_rows",
    "tokenize",
    "tokenize_pairs",
    "tokenize_windows",
]
