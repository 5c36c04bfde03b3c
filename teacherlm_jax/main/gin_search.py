"""Where gin files are found, and what their headers say.

Nothing here imports gin, so that `--help` is quick.
"""

import difflib
from collections.abc import Iterable, Sequence

from etils import epath

GIN_CONFIGS = epath.Path(__file__).parent.parent / "gin_configs"
"""The configurations that come with the package: the repository's `gin/`."""


class ConfigurationError(ValueError):
    """A gin file, binding or flag that cannot be what was meant; found before any compilation."""


def nearest(name: str, candidates: Iterable[str], count: int = 1) -> list[str]:
    """The candidates that `name` most likely meant, best first; capitals do not matter."""
    by_folded: dict[str, list[str]] = {}
    for candidate in sorted(set(candidates)):
        by_folded.setdefault(candidate.casefold(), []).append(candidate)
    folded = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)
    return [candidate for match in folded for candidate in by_folded[match]][:count]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A sentence for the end of an error message: empty where nothing is near."""
    matches = nearest(name, candidates)
    return f" Did you mean {matches[0]}?" if matches else ""


def _candidates(name: str, search_paths: Sequence[str]) -> list[epath.Path]:
    path = epath.Path(name)
    if path.is_absolute() or "://" in name:
        return [path]
    inside = name.removeprefix("gin/")
    return [path, *(epath.Path(folder) / name for folder in search_paths), GIN_CONFIGS / inside]


def find_gin_file(name: str, search_paths: Sequence[str] = (), included_by: str = "") -> epath.Path:
    """Finds a gin file: as given, then in each search path, then among the package's own.

    `gin/runs/train.gin`, as one writes it in a checkout, is found from everywhere.

    Args:
      name: path or URL, relative or not.
      search_paths: folders, the first wins.
      included_by: `file:line` of the include statement, for the message.

    Raises:
      ConfigurationError: no such file; names the nearest.
    """
    for candidate in _candidates(name, search_paths):
        if candidate.is_file():
            return candidate
    folders = [*search_paths, str(GIN_CONFIGS)]
    known = [path for folder in folders for path in list_gin_files(folder)]
    inside = name.removeprefix("gin/")
    matches = nearest(inside, known) or [
        path
        for stem in nearest(epath.Path(name).name, [epath.Path(path).name for path in known])
        for path in known
        if epath.Path(path).name == stem
    ]
    hint = f" Did you mean {matches[0]}?" if matches else ""
    where = f"{included_by}: " if included_by else ""
    searched = ", ".join(["the working directory", *map(str, search_paths), "the package's own"])
    raise ConfigurationError(f"{where}there is no gin file {name} (searched {searched}).{hint}")


def list_gin_files(folder: epath.PathLike = GIN_CONFIGS) -> list[str]:
    """The gin files under `folder`, relative to it, at most two folders deep."""
    root = epath.Path(folder)
    found = [path for pattern in ("*.gin", "*/*.gin", "*/*/*.gin") for path in root.glob(pattern)]
    return sorted(path.relative_to(root).as_posix() for path in found)


def header(path: epath.Path) -> str:
    """The comment at the top of a gin file: what it does, what is required, what is overridden."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
