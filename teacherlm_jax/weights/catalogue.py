"""The families that there are, found by their files or by the shape of a model."""

import dataclasses
import difflib

from etils import epath

from teacherlm_jax.models.config import DecoderConfig, explicit
from teacherlm_jax.weights.config_fields import FILE_NAME, ConfigFields, read_json
from teacherlm_jax.weights.families.bloom import BLOOM
from teacherlm_jax.weights.families.gpt_neox import GPT_NEOX
from teacherlm_jax.weights.families.llama import LLAMA, MISTRAL, QWEN2, QWEN3
from teacherlm_jax.weights.families.opt import OPT
from teacherlm_jax.weights.family import Family
from teacherlm_jax.weights.tensors import WeightsError

FAMILIES = {
    family.model_type: family for family in (BLOOM, OPT, LLAMA, MISTRAL, QWEN2, QWEN3, GPT_NEOX)
}


def family_named(model_type: str, where: str) -> Family:
    """A family by the `model_type` of config.json.

    Raises:
      WeightsError: there is none of that name.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        near = difflib.get_close_matches(str(model_type), FAMILIES, n=1)
        raise WeightsError(
            f"{where}: model_type = {model_type!r}, but it must be one of {sorted(FAMILIES)}"
            + (f"; did you mean {near[0]!r}?" if near else ".")
        )
    return FAMILIES[model_type]


def read_config(directory: epath.Path) -> tuple[Family, DecoderConfig]:
    """Family and configuration of a Hugging Face directory, from its config.json.

    Raises:
      WeightsError: the file is not there, or says what the families here cannot do.
    """
    path = directory / FILE_NAME
    values = read_json(path)
    fields = ConfigFields(values, str(path))
    family = family_named(fields.get("model_type"), str(path))
    if values.get("quantization_config") is not None:
        fields.refuse("quantization_config", "{...}", "absent: take a checkpoint that is not")
    try:
        return family, family.read_config(fields)
    except WeightsError:
        raise
    except ValueError as error:
        raise WeightsError(f"{path} describes a model that cannot be: {error}") from error


def family_of(config: DecoderConfig) -> Family:
    """The family that a model belongs to by its shape.

    Raises:
      WeightsError: no family has such models; names what each cannot express.
    """
    differences = []
    for family in FAMILIES.values():
        try:
            fields = ConfigFields(family.write_config(config), family.model_type)
            found = family.read_config(fields)
        except ValueError as error:
            differences.append(f"{family.model_type} ({error})")
            continue
        different = unlike(found, config)
        if not different:
            return family
        differences.append(f"{family.model_type} ({', '.join(different)})")
    raise WeightsError(
        "no family of public checkpoints has models of this configuration, so it cannot be "
        f"exported; each differs in: {'; '.join(differences)}."
    )


def resolved(config: DecoderConfig) -> DecoderConfig:
    """The configuration, explicit and without what files do not say."""
    return dataclasses.replace(
        explicit(config),
        dtype="float32",
        param_dtype="float32",
        scan_layers=True,
        remat_policy="none",
        dropout_rate=0.0,
        embedding_init_scale=0.02,
    )


def unlike(one: DecoderConfig, other: DecoderConfig) -> list[str]:
    """Names of the fields in which two models differ."""
    first, second = dataclasses.asdict(resolved(one)), dataclasses.asdict(resolved(other))
    return [name for name in first if first[name] != second[name]]
