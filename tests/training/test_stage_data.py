"""What a stage reads."""

import pytest

from teacherlm_jax.training import optimizer, stage_data
from teacherlm_jax.training.stage import Stage
from tests.data import tiny_tasks


def test_a_validation_split_that_is_missing_is_told_before_anything_is_read():
    stage = Stage("one", tiny_tasks.MIXTURE, {"targets": 8}, 1, 1, optimizer.AdamW(0.1))
    read = []

    def loader(*arguments, **named):
        read.append(arguments)
        raise AssertionError

    with pytest.raises(AssertionError):
        stage_data.load(stage, tiny_tasks.MIXTURE, None, loader)
    assert len(read) == 1
    validated = Stage(**{**vars(stage), "eval_period": 1})
    with pytest.raises(ValueError, match=r"no such split; it has \['train'\]"):
        stage_data.load(validated, tiny_tasks.MIXTURE, None, loader)
    assert len(read) == 1
