"""What can be wrong with a checkpoint, and with the storage that it is on."""

import re

# What TensorStore and gRPC say where the storage, not the checkpoint, is at fault.
_TRANSIENT = re.compile(
    r"\b(UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|PERMISSION_DENIED|UNAUTHENTICATED)\b"
)


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written, or is not of this model."""


class StorageError(CheckpointError):
    """The storage did not answer, or not to us: the checkpoint itself may be whole."""


def reason(error: BaseException) -> str:
    """The innermost cause on one line of fair length; Orbax wraps what TensorStore found."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = " ".join(str(error).partition("[tensorstore_spec")[0].split()) or type(error).__name__
    return line if len(line) <= 300 else f"{line[:140]} ... {line[-155:]}"


def is_of_storage(error: BaseException) -> bool:
    """Whether a read failed for the storage's sake: no access, no memory, no answer."""
    chain: BaseException | None = error
    while chain is not None:
        missing = isinstance(chain, FileNotFoundError | NotADirectoryError | IsADirectoryError)
        if isinstance(chain, OSError | MemoryError) and not missing:
            return True
        if _TRANSIENT.search(str(chain)):
            return True
        chain = chain.__cause__ or chain.__context__
    return False
