"""What a compiled program holds and sends, read from the text of its HLO."""

import collections
import dataclasses
import math
import re

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
ITEM_BYTES = {
    **dict.fromkeys(("pred", "s8", "u8"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f32", "s32", "u32"), 4),
    **dict.fromkeys(("f64", "s64", "u64"), 8),
}
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?[\w.\-]+ = (.*?) ([\w\-]+)\(")
_ARRAY = re.compile(rf"\b({'|'.join(ITEM_BYTES)})\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Array:
    """A shape on one device."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        return self.size * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective; its array is what comes out, or what goes in where that is larger.

    A fused computation may repeat an instruction (an all-gather that overlaps several products);
    it is one collective, known by its channel.

    Attributes:
      kind: one of `KINDS`.
      array: on one device; the largest where there are several.
      times: runs in a step, by the counts of the loops around it.
      source: the operation of JAX that it comes from.
    """

    kind: str
    array: Array
    times: int
    source: str

    @property
    def bytes(self) -> int:
        """Of its array, all times together."""
        return self.array.bytes * self.times


def _computations(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            lines = found.setdefault(line.removeprefix("ENTRY ").split()[0].lstrip("%"), [])
        elif line.startswith(" "):
            lines.append(line)
    return found


def arrays_of(text: str) -> collections.Counter[Array]:
    """Results of all instructions, those inside of fusions too."""
    found: collections.Counter[Array] = collections.Counter()
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            found.update(_arrays(match[1]))
    return found


def _arrays(shape: str) -> list[Array]:
    return [
        Array(dtype, tuple(int(size) for size in dims.split(",") if size))
        for dtype, dims in _ARRAY.findall(shape)
    ]


def _trip_count(condition: list[str]) -> int:
    limits = [
        int(n) for line in condition for n in re.findall(r"s32\[\]\S* constant\((\d+)\)", line)
    ]
    return max(limits, default=1)


def _scattered(array: Array, line: str) -> Array:
    """What went into a reduce-scatter that gives this."""
    dimension = int(re.search(r"dimensions={(\d+)}", line)[1])
    if listed := re.search(r"replica_groups={{([\d,]+)}", line):
        size = len(listed[1].split(","))
    elif counted := re.search(r"replica_groups=\[\d+,(\d+)\]", line):
        size = int(counted[1])
    else:
        axes = re.search(r"replica_groups=mesh\[([^]]*)\] {([^}]*)}", line)
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", axes[1]))
        size = math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", axes[2]))
    dims = [n * size if place == dimension else n for place, n in enumerate(array.dims)]
    return Array(array.dtype, tuple(dims))


def collectives_of(text: str) -> list[Collective]:
    """The collectives, those with most bytes first."""
    computations = _computations(text)
    called_from: dict[str, tuple[str, int]] = {}
    for name, lines in computations.items():
        for line in lines:
            condition = re.search(r"\bcondition=%?([\w.\-]+)", line)
            trips = _trip_count(computations.get(condition[1], [])) if condition else 1
            for called in _CALLED.findall(line):
                called_from[called] = (name, trips)

    def times(name: str) -> int:
        caller, trips = called_from.get(name, (None, 1))
        return trips if caller is None else trips * times(caller)

    found: dict[str, Collective] = {}
    for name, lines in computations.items():
        for line in lines:
            match = _INSTRUCTION.match(line)
            kind = match[2].removesuffix("-start") if match else ""
            if kind not in KINDS or not _arrays(match[1]):
                continue
            # A TPU's reduce-scatter may be an all-reduce and a slice in one fusion of this name.
            if "all-reduce-scatter" in name:
                kind = "reduce-scatter"
            channel = re.search(r"channel_id=\d+", line)
            groups = re.search(r"(?:replica_groups|source_target_pairs)=(.*?), \w+=", line)
            source = re.search(r'op_name="([^"]*)"', line)
            largest = max(_arrays(match[1]), key=lambda array: array.bytes)
            if match[2] == "reduce-scatter":
                largest = _scattered(largest, line)
            one = Collective(kind, largest, times(name), source[1] if source else "")
            # Channels that `shard_map` makes are all called 1.
            key = f"{channel[0]} {groups and groups[1]} {match[1]}" if channel else f"{name} {line}"
            found.setdefault(key, one)
    return sorted(found.values(), key=lambda one: -one.bytes)


def whole_logits(text: str, vocab: int, tensor: int, positions: int, width: int) -> list[Array]:
    """Arrays as large as a device's share of the logits of a batch, or larger.

    Args:
      text: the program's.
      vocab: rows of the output table.
      tensor: devices that the vocabulary is cut over.
      positions: rows x length that a device sees.
      width: of the output table; its gradient is no logits.
    """
    found = []
    for array in arrays_of(text):
        rest = [
            math.prod(array.dims) // size for size in array.dims if size in (vocab, vocab // tensor)
        ]
        if any(others >= positions and others != width for others in rest):
            found.append(array)
    return found
