"""The configuration of a run, kept beside what it wrote."""

from etils import epath


def save_configuration(folder: epath.PathLike) -> None:
    """Writes `config.gin`: every binding, as text that gin can parse. One host writes."""
    from teacherlm_jax.data import ledger
    from teacherlm_jax.main import gin_setup
    from teacherlm_jax.partitioning import hosts

    path = epath.Path(folder) / "config.gin"

    def write() -> None:
        ledger.remove(path)
        ledger.write_whole(path, gin_setup.config_str())

    hosts.on_first_host(f"writing {path}", write)
