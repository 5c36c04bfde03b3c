"""How to let TFDS fetch and prepare a data set, for the errors that say so. Does neither itself."""

from __future__ import annotations

_NEED = {
    "c4": "apache-beam",
    "wikipedia": "apache-beam mwparserfromhell mwxml",
    "wsc273": "beautifulsoup4",
}
"""What builders import while they prepare, and TFDS does not install."""


def how_to_prepare(name: str, manual: str | None = None) -> str:
    """The command, and what it needs first, a line each.

    It is not `tfds build`: the command line of TFDS 4.9.10 does not start without Apache Beam.

    Args:
      name: of the data set, with config and version.
      manual: which files have to be fetched by hand, and go into the manual folder.
    """
    from tensorflow_datasets.core import constants

    lines = []
    if manual:
        lines.append(f"(it needs files fetched by hand first: {manual};")
        lines.append(f"the manual folder is {constants.DATA_DIR}/downloads/manual)")
    builder = name.partition(":")[0].partition("/")[0]
    if builder in _NEED:
        lines.append(f"pip install {_NEED[builder]}")
    code = f"import tensorflow_datasets as tfds; tfds.builder('{name}').download_and_prepare()"
    return "\n".join([*lines, f'python -c "{code}"'])
