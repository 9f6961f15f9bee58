"""Exceptions of sksve. Each also is the builtin it refines, so ``except ValueError`` keeps working."""


class SksveError(Exception):
    """Base of every exception that sksve defines."""


class BackboneNotFoundError(SksveError, ValueError):
    """A backbone name could not be resolved; the message lists what was tried, and a cure."""


class IntegrityError(SksveError, ValueError):
    """A file does not have the bytes (SHA-256) it must have."""


class FetchError(SksveError, OSError):
    """A package could not be fetched from the package registry."""


class NonFiniteLossError(SksveError, FloatingPointError):
    """Training met a loss that is NaN or infinite; the message names member, epoch, batch and cure."""


class NotRowsError(SksveError, ValueError, TypeError):
    """X is no sequence of rows: it has no order, or can be read only once."""


class NotTextError(SksveError, ValueError, TypeError):
    """Something among the texts is no text; the message names the row."""


class NotImageError(SksveError, ValueError, TypeError):
    """Something among the images is no image sksve takes; the message names the row."""


class TruncationWarning(UserWarning):
    """Some texts were longer than ``max_length`` tokens and were cut."""


class PersistenceError(SksveError, ValueError):
    """A model cannot be saved, or what was saved cannot be read; the message names the cure."""


class CalibrationWarning(UserWarning):
    """A calibrator could not learn what it should from these rows; the message says why."""
