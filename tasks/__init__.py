"""seqio tasks and mixtures, imported as `teacherlm_jax.tasks` alone.

The folder lies at the top of the repository and is linked into the package. Under two names it
would be two modules, and seqio refuses to register a task twice.
"""

if __name__ != "teacherlm_jax.tasks":
    raise ImportError(
        f"the tasks were imported as {__name__!r}, but they have one name only, because seqio"
        " refuses to register a task twice: write `import teacherlm_jax.tasks` instead."
    )
