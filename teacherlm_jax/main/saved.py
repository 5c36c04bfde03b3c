"""The configuration of a run, kept beside what it wrote."""

from etils import epath


def save_configuration(folder: epath.PathLike) -> None:
    """Writes `config.gin`: every binding, as text that gin can parse. One host writes."""
    import jax

    from teacherlm_jax.data import ledger
    from teacherlm_jax.main import gin_setup

    if jax.process_index() == 0:
        path = epath.Path(folder) / "config.gin"
        ledger.remove(path)
        ledger.write_whole(path, gin_setup.config_str())
