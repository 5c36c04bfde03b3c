"""A model's gin file gives the model back."""

import gin
import pytest

from teacherlm_jax.main import gin_setup
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.weights import model_gin
from tests.models import families


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


@pytest.mark.parametrize("scan_layers", [True, False])
@pytest.mark.parametrize("name", families.NAMES)
def test_what_gin_reads_is_the_same_configuration(name, scan_layers, tmp_path):
    config = families.config(name, scan_layers=scan_layers, rope_theta=1.3e5)
    path = tmp_path / "model.gin"
    path.write_text(model_gin.gin_text(config, "A model.\n\nOf two lines."))
    gin_setup.parse([str(path)])
    assert gin_setup.bound(DecoderConfig)() == config


def test_only_what_differs_from_the_defaults_is_said():
    text = model_gin.gin_text(families.config("bloom"), "One.\n\nTwo.")
    assert text.startswith("# One.\n#\n# Two.\nfrom __gin__ import dynamic_registration\n")
    bound = [line.split(" = ")[0].strip() for line in text.splitlines() if " = " in line]
    assert bound == list(families.SIZES)
