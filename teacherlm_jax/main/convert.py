"""`teacherlm convert`: public weights in and out, and a comparison of the two."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.main.command_line import run_plain_command

_TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives the parser the subcommands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    take = commands.add_parser(
        "import", help="a Hugging Face directory -> a checkpoint that every command here reads"
    )
    _add_folders(take, "directory with config.json, weights and tokenizer", "folder to make")
    take.add_argument(
        "--no_scan_layers",
        action="store_true",
        help="keep each block's parameters apart, for models with scan_layers = False",
    )
    give = commands.add_parser("export", help="a checkpoint -> a directory that transformers loads")
    _add_folders(give, "folder of an import, or a `checkpoints` folder", "folder to make")
    give.add_argument(
        "--like",
        metavar="FOLDER",
        help="import, or Hugging Face directory, that the training began from: its tokenizer, "
        "licence, tensor names and types are taken over (default: --from, if it is an import)",
    )
    give.add_argument("--dtype", help="float32, bfloat16 or float16 for every tensor")
    give.add_argument("--license_file", metavar="FILE", help="text for LICENSE")
    give.add_argument("--license_id", metavar="ID", help="for the model card, as apache-2.0")
    give.add_argument("--replica", type=int, metavar="N", help="of models trained together")
    give.add_argument(
        "--shard_gigabytes", type=float, default=5.0, metavar="N", help="largest file (default 5)"
    )
    compare = commands.add_parser(
        "verify", help="logits of both, by transformers and by us: prints the largest difference"
    )
    _add_folders(compare, "a Hugging Face directory", "folder of an import, or `checkpoints`")
    compare.add_argument(
        "--tolerance",
        type=float,
        default=_TOLERANCE,
        help=f"largest difference that passes, in float32 (default {_TOLERANCE:g})",
    )
    for command in (take, give, compare):
        command.add_argument(
            "--mesh",
            metavar="AXIS=N,...",
            help="mesh over which parameters lie in memory, as data=1,fsdp=8 (default: cut over as "
            "many devices as every dimension divides over); what is written does not depend on it",
        )


def _add_folders(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    parser.add_argument("--from", dest="source", required=True, metavar="FOLDER", help=source)
    parser.add_argument("--to", dest="target", required=True, metavar="FOLDER", help=target)


def run(flags: argparse.Namespace) -> Any:
    """Converts, and says what came out."""
    for name, folder in (("--from", flags.source), ("--to", flags.target)):
        if not folder:
            raise ValueError(f"{name} is empty text: name a folder.")
    mesh = None if flags.mesh is None else _mesh_config(flags.mesh)
    return {"import": _import, "export": _export, "verify": _verify}[flags.command](flags, mesh)


def _mesh_config(text: str) -> Any:
    from teacherlm_jax.partitioning.mesh import MeshConfig

    sizes = {}
    for part in text.split(","):
        axis, _, size = part.partition("=")
        is_number = size.removeprefix("-").isdecimal() and size.isascii()
        if axis not in ("data", "fsdp", "tensor", "slices") or axis in sizes or not is_number:
            raise ValueError(
                f"--mesh={text}: {part!r} must be data=N, fsdp=N, tensor=N or slices=N, each once, "
                "with a whole number."
            )
        sizes[axis] = int(size)
    return MeshConfig(**sizes)


def _import(flags: argparse.Namespace, mesh: Any) -> None:
    from teacherlm_jax.weights import importing

    made = importing.import_model(
        flags.source, flags.target, mesh, scan_layers=not flags.no_scan_layers
    )
    print(
        f"\n  {made.family}: {made.parameters:,} parameters from {made.file_bytes / 1e9:.2f} GB of "
        f"tensors\n  checkpoint: {made.checkpoint_dir}\n\n"
        f"  Next: teacherlm convert verify --from={flags.source} --to={flags.target}\n"
        f"  In a gin file: include '{flags.target}/{importing.MODEL_GIN}', and\n"
        f"  stages.Curriculum.initial_checkpoint_path = '{made.checkpoint_dir}'"
    )


def _export(flags: argparse.Namespace, mesh: Any) -> None:
    from teacherlm_jax.partitioning.mesh import make_mesh
    from teacherlm_jax.weights import exporting

    if not 0 < flags.shard_gigabytes < math.inf:
        raise ValueError(
            f"--shard_gigabytes={flags.shard_gigabytes:g}, but a file holds more than 0 gigabytes."
        )
    settings = exporting.ExportSettings(
        source=flags.source,
        target=flags.target,
        like=flags.like,
        dtype=flags.dtype,
        license_file=flags.license_file,
        license_id=flags.license_id,
        replica=flags.replica,
        shard_bytes=int(flags.shard_gigabytes * 1e9),
    )
    made = exporting.export_model(settings, mesh and make_mesh(mesh))
    print(
        f"\n  {made.family}: {made.tensors} tensors, {made.file_bytes / 1e9:.2f} GB, in "
        f"{made.folder}\n\n  Next: read its README.md and LICENSE before you share it"
    )


def _verify(flags: argparse.Namespace, mesh: Any) -> None:
    from teacherlm_jax.partitioning.mesh import make_mesh
    from teacherlm_jax.weights import verify

    found = verify.compare(flags.source, flags.target, mesh and make_mesh(mesh))
    print(f"\n  {'prompts':14}{'tokens':>8}{'largest':>12}{'spread':>10}{'same best':>11}")
    for row in found:
        print(
            f"  {row.name:14}{row.tokens:8}{row.largest:12.2e}{row.spread:10.3f}"
            f"{100 * row.agreement:10.1f}%"
        )
    largest = max(row.largest for row in found)
    print(f"\n  largest difference of two logits: {largest:.2e} (allowed: {flags.tolerance:g})")
    if not largest <= flags.tolerance:
        raise ValueError(
            f"the largest difference is {largest:.2e}, but at most {flags.tolerance:g} is allowed: "
            "the two are not the same model, or their numbers are so large that float32 rounds "
            "this much; look at the spread."
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_plain_command(
        "convert",
        "Imports public weights (BLOOM, OPT, Llama, Mistral, Qwen, GPT-NeoX) without torch, "
        "exports checkpoints for transformers, and compares the two.",
        add_arguments,
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
