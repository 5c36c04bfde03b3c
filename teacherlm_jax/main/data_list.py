"""`teacherlm data list`: tasks and mixtures, their sizes and sources, and whether they are here."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from teacherlm_jax.main import data_tasks

WIDTH = 100
_STATES = {"here": "yes", "absent": "no", "unknown": "?"}
_MIXTURES_SHOWN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser its arguments."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a name, for all that is known of it; a pattern such as 'muffin_*'; or a part of "
        "names. Without it: groups of tasks, and the mixtures",
    )
    parser.add_argument("--all", action="store_true", help="every task by itself")
    parser.add_argument("--json", action="store_true", help="a JSON list instead of tables")
    data_tasks.add_arguments(parser, reads_rows=False)


def run(flags: argparse.Namespace) -> None:
    """Prints the list."""
    data_tasks.register(flags, flags.pattern)
    from teacherlm_jax.data import inventory

    chosen = inventory.matching(flags.pattern)
    is_one = chosen == [flags.pattern]
    found = inventory.take(chosen, with_rates=is_one)
    if flags.json:
        entries: dict[str, Any] = {**found.tasks, **found.mixtures}
        print(json.dumps([entries[name].as_json() for name in chosen], indent=2))
    elif is_one and found.mixtures:
        _print_mixture(found, flags.pattern)
    elif is_one:
        _print_task(found.tasks[flags.pattern])
    else:
        tasks = {name: task for name, task in found.tasks.items() if name in chosen}
        if flags.pattern is None and not flags.all:
            _print_groups(tasks, found.mixtures)
        elif tasks:
            _print_tasks(tasks.values())
        if found.mixtures:
            print()
            _print_mixtures(found, everything=flags.all or flags.pattern is not None)
        if flags.pattern is None:
            print(
                "\n  `teacherlm data list 'muffin_*'` lists a group, `teacherlm data list NAME`"
                " tells all of one\n  rows: of train splits, after caps; a + where some are not"
                " known before they are read"
            )


def _train_rows(tasks: Iterable[Any]) -> str:
    """Rows of train splits in all, as text."""
    counts = [task.examples["train"] for task in tasks if "train" in task.splits]
    known = [count for count in counts if count is not None]
    if not known:
        return "?" if counts else "-"
    return f"{sum(known):,}{'+' if len(known) < len(counts) else ''}"


def _print_groups(tasks: Any, mixtures: Any) -> None:
    from teacherlm_jax.data import inventory

    patterns = inventory.groups([*tasks, *mixtures])
    groups: dict[str, list[Any]] = {}
    for name, task in tasks.items():
        groups.setdefault(patterns[name], []).append(task)
    of_mixtures = [patterns[name] for name in mixtures]
    rows = []
    for group in sorted(groups):
        members = groups[group]
        kinds = sorted({task.origin.kind for task in members})
        here = sum(task.origin.state == "here" for task in members)
        sources = ", ".join(
            f"{kind} {sum(task.origin.kind == kind for task in members)}" for kind in kinds
        )
        numbers = (str(len(members)), str(of_mixtures.count(group)), _train_rows(members))
        rows.append((group, *numbers, f"{here} of {len(members)}", sources))
    heads = ("group", "tasks", "mixtures", "rows", "here", "sources")
    _print_rows(heads, rows, right=(1, 2, 3, 4))


def _print_tasks(tasks: Iterable[Any]) -> None:
    rows = []
    for task in tasks:
        state = _STATES[task.origin.state]
        source = f"{task.origin.kind} {task.origin.name}"
        rows.append((task.name, ",".join(task.splits) or "?", _train_rows([task]), state, source))
    _print_rows(("task", "splits", "rows", "here", "source"), rows, right=(2,))


def _print_mixtures(found: Any, everything: bool) -> None:
    from teacherlm_jax.data import inventory

    names = sorted(found.mixtures)
    rows = [_mixture_row(found, name) for name in names]
    if not everything and len(rows) > _MIXTURES_SHOWN:
        # The embedded worlds have as many mixtures each as all the rest.
        groups = inventory.groups(names)
        often = {group for group in groups.values() if list(groups.values()).count(group) > 8}
        folded = {
            group: [name for name in names if groups[name] == group] for group in sorted(often)
        }
        rows = [_mixture_row(found, name) for name in names if groups[name] not in often]
        rows += [(group, f"({len(members)} mixtures)", "", "") for group, members in folded.items()]
    _print_rows(("mixture", "tasks", "rows", "here"), rows, right=(1, 2, 3))


def _mixture_row(found: Any, name: str) -> tuple[str, ...]:
    tasks = [found.tasks[task] for task in found.mixtures[name].tasks]
    here = sum(task.origin.state == "here" for task in tasks)
    return (name, str(len(tasks)), _train_rows(tasks), f"{here} of {len(tasks)}")


def _print_mixture(found: Any, name: str) -> None:
    shares = found.mixtures[name].tasks
    tasks = [found.tasks[task] for task in shares]
    print(f"{name}: a mixture of {len(tasks)} tasks, {_train_rows(tasks)} rows of train splits")
    rows = []
    for task in sorted(tasks, key=lambda task: (-shares[task.name], task.name)):
        state = _STATES[task.origin.state]
        source = f"{task.origin.kind} {task.origin.name}"
        share = f"{100 * shares[task.name]:.2f} %"
        rows.append((task.name, share, _train_rows([task]), state, source))
    _print_rows(("task", "share", "rows", "here", "source"), rows, right=(1, 2))


def _print_task(task: Any) -> None:
    print(f"{task.name}: a task")
    for split in task.splits:
        count = task.examples[split]
        print(f"  {split:12} {'rows not counted' if count is None else f'{count:,} rows'}")
    print(f"  source       {task.origin.kind}: {task.origin.name}")
    print(f"  here         {_STATES[task.origin.state]}")


def _print_rows(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """An aligned table of at most `WIDTH` columns; what is too long is cut in the last column."""
    table = [tuple(heads), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        cells = [
            f"{cell:>{width}}" if column in right else f"{cell:{width}}"
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        line = "  " + "  ".join(cells).rstrip()
        print(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")
