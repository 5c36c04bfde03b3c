"""Which parameters weight decay shrinks."""

import re
from collections.abc import Sequence
from typing import Any

import jax
from flax.core import meta

from teacherlm_jax.models import parameters

Tree = Any

_DECAYED = ("kernel", "embedding")


def check_patterns(owner: str, patterns: Sequence[str] | None) -> None:
    """Checks regular expressions before there is a model to try them on.

    Args:
      owner: names whose setting it is.
      patterns: as for `weight_decay_mask`.

    Raises:
      ValueError: no list of texts, or a text is no regular expression.
    """
    if patterns is None:
        return
    is_list = isinstance(patterns, list | tuple)
    if not is_list or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(
            f"{owner} = {patterns!r}, but it must be a list of regular expressions over parameter "
            "paths, as in ['.*/mlp/.*/kernel'], or None for kernels and embeddings."
        )
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"{owner} has {pattern!r}, which is no regular expression ({error}); mend it, "
                r"with \ before a sign that stands for itself."
            ) from None


def weight_decay_mask(
    owner: str, boxed_params: Tree, patterns: Sequence[str] | None = None
) -> Tree:
    """Says for every parameter whether it decays.

    Args:
      owner: names whose setting the patterns are, in errors.
      boxed_params: abstract parameters, boxed or not.
      patterns: regular expressions; what one of them matches whole decays, as
        ".*/mlp/.*/kernel" does "layers/mlp/wi/kernel". None: kernels and embeddings decay, biases
        and norms do not.

    Returns:
      A tree of bools like the parameters without boxes.

    Raises:
      ValueError: a pattern matches no parameter, or `check_patterns` refuses it.
    """
    params = meta.unbox(boxed_params)
    if patterns is None:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: parameters.path_name(path[-1:]) in _DECAYED, params
        )
    check_patterns(owner, patterns)
    names = list(parameters.paths(params))
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(
                f"{owner} has {pattern!r}, which matches no parameter whole; write an expression "
                f"for paths such as these: {', '.join(names[:12])}."
            )
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(
            re.fullmatch(pattern, parameters.path_name(path)) for pattern in patterns
        ),
        params,
    )
