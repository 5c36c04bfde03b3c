"""TFDS fetches and prepares a data set: what that needs, and how errors say so."""

from __future__ import annotations

from teacherlm_jax.data import prepared_tfds

_NEED = {
    "c4": "apache-beam",
    "wikipedia": "apache-beam mwparserfromhell mwxml",
    "wsc273": "beautifulsoup4",
}
"""What builders import while they prepare, and TFDS does not install."""


def prepare(name: str) -> None:
    """Lets TFDS download and prepare a data set; does nothing where it has.

    Raises:
      NotPreparedError: it cannot, for lack of files fetched by hand, or of a package, or because
        the files are no longer what they were.
    """
    import tensorflow_datasets as tfds

    download = tfds.core.download
    try:
        prepared_tfds.builder_of(name).download_and_prepare()
    except (
        AssertionError,  # There is no manual folder.
        ImportError,
        download.DownloadError,
        download.download_manager.NonMatchingChecksumError,
    ) as error:
        reason = " ".join(str(error).split())
        raise prepared_tfds.NotPreparedError(f"TFDS cannot prepare {name!r} ({reason})") from None


def needs(name: str, manual: str | None = None) -> list[str]:
    """What has to be there before TFDS can prepare a data set, a line each.

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
    return lines


def how_to_prepare(name: str) -> str:
    """What it needs, and the command, a line each.

    That is not `tfds build`: the command line of TFDS 4.9.10 does not start without Apache Beam.
    """
    code = f"import tensorflow_datasets as tfds; tfds.builder('{name}').download_and_prepare()"
    return "\n".join([*needs(name), f'python -c "{code}"'])
