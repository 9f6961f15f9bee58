"""Fitted scikit-learn transformers as bytes of skops, and back: only types that skops trusts."""

import io
import zipfile
from typing import Any

import numpy as np

from sksve._exceptions import PersistenceError

# Beside the types that skops trusts.
_TRUSTED = ["numpy.dtype"]
_MOST_BYTES = 2**27  # unpacked


def transformer_to_bytes(value: Any, name: str) -> np.ndarray:
    """A scikit-learn transformer as bytes, if skops trusts all types inside."""
    import skops.io

    try:
        data = skops.io.dumps(value)
        strange = [t for t in skops.io.get_untrusted_types(data=data) if t not in _TRUSTED]
    except Exception as error:  # whatever a stranger's class does here
        raise PersistenceError(
            f"{name}, {type(value).__name__}, cannot be saved: {error}"
        ) from error
    if strange:
        raise PersistenceError(
            f"{name}, {type(value).__name__}, holds {', '.join(strange[:3])}, which skops does not trust. "
            "Build it of scikit-learn's own classes, or use pickle or joblib instead."
        )
    return np.frombuffer(data, dtype=np.uint8).copy()


def transformer_from_bytes(saved: np.ndarray) -> Any:
    """The way back; PersistenceError of a damaged or malicious file."""
    import skops.io

    data = np.ascontiguousarray(saved, dtype=np.uint8).tobytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"it would unpack to more than {_MOST_BYTES} bytes")
        return skops.io.loads(data, trusted=_TRUSTED)
    except Exception as error:
        raise PersistenceError(f"A saved transformer cannot be read: {error}") from error
