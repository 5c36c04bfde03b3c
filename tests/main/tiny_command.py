"""A command as the package has them, for the tests of what all commands share."""

import pathlib
import sys

from teacherlm_jax.main.command_line import run_command

GIN_FILE = "tiny.gin"


def run(steps: int, model_dir: str = "", mood: str = "calm") -> None:
    if mood == "library":
        import json

        json.loads("{")  # a ValueError from the depths of a library
    if mood == "jax":
        import jax

        jax.jit(jax.vmap(lambda a, b: a + b))(jax.numpy.ones(3), jax.numpy.ones(4))
    if mood == "ours":
        raise ValueError(f"{steps} steps are too many;\n  take fewer.")
    if mood == "file":
        pathlib.Path("no/such/file").read_text()
    if mood == "interrupt":
        raise KeyboardInterrupt
    if mood == "log":
        import logging

        from absl import logging as absl_logging

        absl_logging.info("from a library")
        absl_logging.error("an error of a library")
        logging.getLogger("absl").debug("a detail")
    print("ran", steps, model_dir)


def main(argv: list[str] | None = None) -> int:
    return run_command("tiny", "Does little, but with flags.", [GIN_FILE], run, argv)


if __name__ == "__main__":
    sys.exit(main())
