"""Lists of samples that training leaves out, by the ids that their data sets give them.

A file has a line a sample: the data set's name in the catalogue, and the id, as in

    cos_e 1afa02df02c908a558b4036e80242fac

Empty lines, and those that begin with #, say nothing. CoS-E's ids are those of CommonsenseQA, and
so the `q_no` of ECQA's questions, some of which are evaluated on.
"""

from __future__ import annotations

import dataclasses
import hashlib

from etils import epath

from teacherlm_jax.tasks.catalogue.dataset import DATASETS, Sample


@dataclasses.dataclass(frozen=True)
class Exclusions:
    """Samples to leave out.

    Attributes:
      ids: (data set, id) of each.
    """

    ids: frozenset[tuple[str, str]] = frozenset()

    @property
    def suffix(self) -> str:
        """What tells apart the names of tasks that leave out different samples."""
        if not self.ids:
            return ""
        lines = "\n".join(f"{name} {id_}" for name, id_ in sorted(self.ids))
        return f"_without_{hashlib.sha256(lines.encode('utf-8')).hexdigest()[:8]}"

    def touch(self, dataset: str) -> bool:
        """Whether any is of this data set."""
        return any(name == dataset for name, _ in self.ids)

    def hold(self, dataset: str, sample: Sample) -> bool:
        """Whether the sample is left out."""
        return bool(sample.id) and (dataset, sample.id) in self.ids

    def of(self, dataset: str) -> Exclusions:
        """Those of one data set."""
        return Exclusions(frozenset(entry for entry in self.ids if entry[0] == dataset))


def read(path: epath.PathLike | None) -> Exclusions:
    """Reads a list; None: nothing is left out.

    Raises:
      ValueError: a line is not as said; names it.
      FileNotFoundError: there is no such file.
    """
    if path is None:
        return Exclusions()
    found = set()
    for number, line in enumerate(epath.Path(path).read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, id_ = line.strip().partition(" ")
        if not id_.strip() or name not in DATASETS:
            raise ValueError(
                f"{path}:{number}: {line!r:.80} must be a data set of the catalogue, such as cos_e,"
                " and an id, with a space between."
            )
        found.add((name, id_.strip()))
    return Exclusions(frozenset(found))
