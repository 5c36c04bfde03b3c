"""`teacherlm models`: which models there are gin files for, and how many parameters each has."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence

from teacherlm_jax.main.command_line import (
    add_gin_search_paths,
    gin_search_paths,
    run_plain_command,
)
from teacherlm_jax.main.gin_search import GIN_CONFIGS, did_you_mean
from teacherlm_jax.main.terminal import message_of

_NUMBERS = "{:>6}  {:>6}  {:>8}  {:>15}"


@dataclasses.dataclass(frozen=True)
class SizeFile:
    """A gin file `models/FAMILY/SIZE.gin`."""

    family: str
    size: str
    gin_file: str


@dataclasses.dataclass(frozen=True)
class Model:
    """What `teacherlm models` tells of a size file.

    Attributes:
      family: folder of the file.
      size: its name.
      gin_file: what to include in a gin file.
      num_layers: decoder blocks.
      emb_dim: width of the residual stream.
      num_heads: attention heads.
      num_kv_heads: heads of keys and values.
      parameters: scalars in the model that the file describes.
    """

    family: str
    size: str
    gin_file: str
    num_layers: int
    emb_dim: int
    num_heads: int
    num_kv_heads: int
    parameters: int


def find_size_files(search_paths: Sequence[str] = ()) -> list[SizeFile]:
    """The size files of the working directory, of each search path, and of the package.

    Args:
      search_paths: folders that hold `models/FAMILY/SIZE.gin`. Of two files of one name the first
        counts, as where gin files are looked for.
    """
    from etils import epath

    found = {
        f"models/{path.parent.name}/{path.name}": SizeFile(
            path.parent.name, path.stem, f"models/{path.parent.name}/{path.name}"
        )
        for folder in ("", *search_paths, GIN_CONFIGS)
        for path in (epath.Path(folder) / "models").glob("*/*.gin")
    }
    return [found[name] for name in sorted(found)]


def describe(file: SizeFile, search_paths: Sequence[str] = ()) -> Model:
    """Reads a size file and counts the parameters of its model, of which nothing is allocated.

    Raises:
      ConfigurationError: no such file, or one that says too little or what cannot be.
    """
    from teacherlm_jax.main import gin_setup
    from teacherlm_jax.models.config import DecoderConfig
    from teacherlm_jax.models.decoder import Decoder
    from teacherlm_jax.models.parameters import boxed_params, parameter_count

    gin_setup.parse([file.gin_file], gin_search_paths=search_paths)
    config = gin_setup.bound(DecoderConfig)()
    return Model(
        family=file.family,
        size=file.size,
        gin_file=file.gin_file,
        num_layers=config.num_layers,
        emb_dim=config.emb_dim,
        num_heads=config.num_heads,
        num_kv_heads=config.kv_heads,
        parameters=parameter_count(boxed_params(Decoder(config))),
    )


def _choose(files: Sequence[SizeFile], family: str | None) -> list[SizeFile]:
    families = sorted({file.family for file in files})
    if family is not None and family not in families:
        hint = did_you_mean(family, families) or f" Families: {', '.join(families)}."
        raise ValueError(f"there is no folder models/{family} with size files.{hint}")
    return [file for file in files if family in (None, file.family)]


def _describe_all(files: Sequence[SizeFile], search_paths: Sequence[str]) -> Iterator[list[Model]]:
    """Yields the models of each family, the smallest first.

    A file of the user's that describes no model, or is not finished, hides none of the others.
    """
    for family in dict.fromkeys(file.family for file in files):
        models = []
        for file in files:
            if file.family != family:
                continue
            try:
                models.append(describe(file, search_paths))
            except Exception as error:  # Whatever a file of the user's may lead to.
                print(f"left out: {file.gin_file}: {message_of(error)}", file=sys.stderr)
        yield sorted(models, key=lambda model: (model.parameters, model.size))


def run(flags: argparse.Namespace) -> None:
    """Prints the list."""
    search_paths = gin_search_paths(flags)
    files = _choose(find_size_files(search_paths), flags.family)
    families = _describe_all(files, search_paths)
    if flags.json:
        print(json.dumps([dataclasses.asdict(model) for models in families for model in models]))
        return
    _print_table(files, families)


def _print_table(files: Sequence[SizeFile], families: Iterator[list[Model]]) -> None:
    """Prints each family as soon as its models are counted."""
    family_width = max(len("family"), *(len(file.family) for file in files))
    size_width = max(len(file.size) for file in files)
    row = f"  {{:{family_width}}}  {{:{size_width}}}  {_NUMBERS}  {{}}"
    print(row.format("family", "size", "layers", "width", "heads", "parameters", "gin file"))
    for models in families:
        for model in models:
            heads = str(model.num_heads)
            if model.num_kv_heads != model.num_heads:
                heads += f" / {model.num_kv_heads}"
            numbers = (model.num_layers, model.emb_dim, heads, f"{model.parameters:,}")
            print(row.format(model.family, model.size, *numbers, model.gin_file), flush=True)
    print(
        "\n  heads: of queries / of keys and values, where these are fewer"
        "\n  in a gin file of yours: include 'models/FAMILY/SIZE.gin'"
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="list this family alone")
    parser.add_argument("--json", action="store_true", help="a JSON list instead of a table")
    add_gin_search_paths(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run_plain_command(
        "models",
        "Lists the models that there are gin files for, models/FAMILY/SIZE.gin, with the number of "
        "parameters as our decoder has them. Yours are listed too, from the working directory and "
        "the search paths.",
        _add_arguments,
        run,
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
