"""The weights of a Hugging Face model directory: one file, or an index and its shards.

All that can be known from headers is checked when a directory is opened, before any tensor is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from etils import epath

from teacherlm_jax.weights import safetensors_file, strict_json, torch_file
from teacherlm_jax.weights.tensors import LazyTensor, WeightsError, brief

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
_INDEX = ".index.json"
_MOST_NAMED = 10


@dataclasses.dataclass(frozen=True, eq=False)
class TensorDirectory(Mapping[str, LazyTensor]):
    """Tensors by name, from all files of a directory.

    Attributes:
        path: the directory.
        tensors: by name.
        file_names: the files they lie in, without an index.
    """

    path: epath.Path
    tensors: Mapping[str, LazyTensor]
    file_names: tuple[str, ...]

    def __getitem__(self, name: str) -> LazyTensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def open_directory(path: epath.PathLike) -> TensorDirectory:
    """Reads the headers of a model directory's weights.

    Weights are looked for as transformers does: `model.safetensors`, its index,
    `pytorch_model.bin`, its index. The first that is there counts; other files are left alone.

    Args:
        path: a local directory or one of an object store.

    Raises:
        WeightsError: there is no such directory, it has no weights, a file of them is not there or
            damaged, or index and files disagree.
    """
    path = epath.Path(path)
    if not path.is_dir():
        fault = "is a file" if path.exists() else "does not exist or is empty"
        raise WeightsError(
            f"{str(path)!r} {fault}. Name the directory of a Hugging Face checkpoint, which holds"
            f" {SAFETENSORS} or {TORCH}."
        )
    names = sorted(item.name for item in path.iterdir())
    for base in (SAFETENSORS, TORCH):
        if base in names:
            return TensorDirectory(path, _read_file(path / base), (base,))
        if base + _INDEX in names:
            return _open_shards(path, base + _INDEX, names)
    wanted = ", ".join(base + end for base in (SAFETENSORS, TORCH) for end in ("", _INDEX))
    raise WeightsError(
        f"{str(path)!r} has no weights: it holds {_some(names) or 'nothing'}, and none of {wanted}."
        " Download the checkpoint with one of these."
    )


def _read_file(path: epath.Path) -> Mapping[str, LazyTensor]:
    if path.suffix == ".safetensors":
        return safetensors_file.read_header(path).tensors
    return torch_file.read_torch_file(path)


def _open_shards(path: epath.Path, index_name: str, names: Sequence[str]) -> TensorDirectory:
    index = path / index_name
    weight_map = _read_weight_map(index)
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if shard not in names:
            lost = [name for name, holder in weight_map.items() if holder == shard]
            raise WeightsError(
                f"{str(index)!r} names {shard!r}, which is not there, for {len(lost)} tensors:"
                f" {_some(lost)}. Download that file, too."
            )
    found: dict[str, LazyTensor] = {}
    for shard in shards:
        for name, tensor in _read_file(path / shard).items():
            if name in found:
                raise WeightsError(
                    f"{brief(name)} lies both in {str(found[name].file)!r} and in"
                    f" {str(tensor.file)!r}, so which is meant cannot be known. Download the"
                    " checkpoint again."
                )
            found[name] = tensor
    _check_against_index(index, weight_map, found)
    return TensorDirectory(path, found, tuple(shards))


def _read_weight_map(index: epath.Path) -> dict[str, str]:
    """Returns the shard of each tensor."""
    where = repr(str(index))
    weight_map = strict_json.parse_object(index.read_bytes(), where).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(
            f"{where} has no weight_map from tensors to files, but {brief(weight_map)}. Download it"
            " again."
        )
    suffix = epath.Path(index.name.removesuffix(_INDEX)).suffix
    for name, shard in weight_map.items():
        plain = isinstance(shard, str) and not {"/", "\\", "\0"} & set(shard)
        if not plain or not shard.endswith(suffix) or shard == suffix:
            raise WeightsError(
                f"{where} says that {brief(name)} lies in {brief(shard)}; that must be the name of"
                f" a *{suffix} file beside it, without a folder. Download the checkpoint again."
            )
    return weight_map


def _check_against_index(
    index: epath.Path, weight_map: Mapping[str, str], found: Mapping[str, LazyTensor]
) -> None:
    """Checks that the shards hold what the index says, each in its place, and no more."""
    faults: list[tuple[str, Callable[[str], bool]]] = [
        ("are listed and in none of its files", lambda name: name not in found),
        ("are in its files and not listed", lambda name: name not in weight_map),
        ("lie in another file than listed", lambda name: found[name].file.name != weight_map[name]),
    ]
    for fault, has_fault in faults:
        wrong = [name for name in {**weight_map, **found} if has_fault(name)]
        if wrong:
            raise WeightsError(
                f"{str(index)!r} and its files disagree: {len(wrong)} tensors {fault}:"
                f" {_some(wrong)}. Download the checkpoint again, all of it from one revision."
            )


def _some(names: Sequence[str]) -> str:
    """Returns names for an error, not too many."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(brief(name) for name in names[:_MOST_NAMED]) + more
