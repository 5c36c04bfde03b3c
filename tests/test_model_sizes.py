"""Every size file describes the public checkpoint that its name says."""

import re

import gin
import pytest

from teacherlm_jax.main import gin_search, gin_setup, models
from teacherlm_jax.models.config import DecoderConfig
from teacherlm_jax.models.positions import RopeScaling

# Layers, width, heads, heads of keys and values, parameters: as the public model cards,
# config.json files and safetensors headers have them. OPT-175B has no public files: as its paper's
# table 1 gives its shape, and with OPT's vocabulary.
PUBLIC = {
    "bloom/560m": (24, 1024, 16, 16, 559_214_592),
    "bloom/1b1": (24, 1536, 16, 16, 1_065_314_304),
    "bloom/1b7": (24, 2048, 16, 16, 1_722_408_960),
    "bloom/3b": (30, 2560, 32, 32, 3_002_557_440),
    "bloom/7b1": (30, 4096, 32, 32, 7_069_016_064),
    "bloom/176b": (70, 14336, 112, 112, 176_247_271_424),
    "gpt_neox/pythia_14m": (6, 128, 4, 4, 14_067_712),
    "gpt_neox/pythia_31m": (6, 256, 8, 8, 30_494_720),
    "gpt_neox/pythia_70m": (6, 512, 8, 8, 70_426_624),
    "gpt_neox/pythia_160m": (12, 768, 12, 12, 162_322_944),
    "gpt_neox/pythia_410m": (24, 1024, 16, 16, 405_334_016),
    "gpt_neox/pythia_1b": (16, 2048, 8, 8, 1_011_781_632),
    "gpt_neox/pythia_1.4b": (24, 2048, 16, 16, 1_414_647_808),
    "gpt_neox/pythia_2.8b": (32, 2560, 32, 32, 2_775_208_960),
    "gpt_neox/pythia_6.9b": (32, 4096, 32, 32, 6_857_302_016),
    "gpt_neox/pythia_12b": (36, 5120, 40, 40, 11_846_072_320),
    "gpt_neox/gpt_neox_20b": (44, 6144, 64, 64, 20_554_567_680),
    "llama/smollm2_135m": (30, 576, 9, 3, 134_515_008),
    "llama/smollm_135m": (30, 576, 9, 3, 134_515_008),
    "llama/smollm2_360m": (32, 960, 15, 5, 361_821_120),
    "llama/smollm_360m": (32, 960, 15, 5, 361_821_120),
    "llama/tinyllama_1.1b": (22, 2048, 32, 4, 1_100_048_384),
    "llama/llama3_2_1b": (16, 2048, 32, 8, 1_235_814_400),
    "llama/smollm2_1.7b": (24, 2048, 32, 32, 1_711_376_384),
    "llama/smollm_1.7b": (24, 2048, 32, 32, 1_711_376_384),
    "llama/llama3_2_3b": (28, 3072, 24, 8, 3_212_749_824),
    "llama/llama1_7b": (32, 4096, 32, 32, 6_738_415_616),
    "llama/llama2_7b": (32, 4096, 32, 32, 6_738_415_616),
    "llama/mistral_7b_v0_1": (32, 4096, 32, 8, 7_241_732_096),
    "llama/mistral_7b_v0_3": (32, 4096, 32, 8, 7_248_023_552),
    "llama/mistral_nemo_12b": (40, 5120, 32, 8, 12_247_782_400),
    "llama/llama3_1_8b": (32, 4096, 32, 8, 8_030_261_248),
    "llama/llama3_8b": (32, 4096, 32, 8, 8_030_261_248),
    "llama/llama1_13b": (40, 5120, 40, 40, 13_015_864_320),
    "llama/llama2_13b": (40, 5120, 40, 40, 13_015_864_320),
    "llama/llama1_30b": (60, 6656, 52, 52, 32_528_943_616),
    "llama/llama1_65b": (80, 8192, 64, 64, 65_285_660_672),
    "llama/llama2_70b": (80, 8192, 64, 8, 68_976_648_192),
    "llama/llama3_1_70b": (80, 8192, 64, 8, 70_553_706_496),
    "llama/llama3_70b": (80, 8192, 64, 8, 70_553_706_496),
    "llama/llama3_1_405b": (126, 16384, 128, 8, 405_853_388_800),
    "opt/125m": (12, 768, 12, 12, 125_239_296),
    "opt/350m": (24, 1024, 16, 16, 331_196_416),
    "opt/1.3b": (24, 2048, 32, 32, 1_315_758_080),
    "opt/2.7b": (32, 2560, 32, 32, 2_651_596_800),
    "opt/6.7b": (32, 4096, 32, 32, 6_658_473_984),
    "opt/13b": (40, 5120, 40, 40, 12_853_473_280),
    "opt/30b": (48, 7168, 56, 56, 29_974_540_288),
    "opt/66b": (64, 9216, 72, 72, 65_719_701_504),
    "opt/175b": (96, 12288, 96, 96, 174_604_468_224),
    "qwen2/0.5b": (24, 896, 14, 2, 494_032_768),
    "qwen2/1.5b": (28, 1536, 12, 2, 1_543_714_304),
    "qwen2/3b": (36, 2048, 16, 2, 3_085_938_688),
    "qwen2/7b": (28, 3584, 28, 4, 7_615_616_512),
    "qwen2/14b": (48, 5120, 40, 8, 14_770_033_664),
    "qwen2/32b": (64, 5120, 40, 8, 32_763_876_352),
    "qwen2/72b": (80, 8192, 64, 8, 72_706_203_648),
    "qwen3/0.6b": (28, 1024, 16, 8, 596_049_920),
    "qwen3/1.7b": (28, 2048, 16, 8, 1_720_574_976),
    "qwen3/4b": (36, 2560, 32, 8, 4_022_468_096),
    "qwen3/8b": (36, 4096, 32, 8, 8_190_735_360),
    "qwen3/14b": (40, 5120, 40, 8, 14_768_307_200),
    "qwen3/32b": (64, 5120, 64, 8, 32_762_123_264),
}
FILES = {f"{file.family}/{file.size}": file for file in models.find_size_files()}

# What the cards' config.json files say besides dimensions, where sizes of a family differ.
OPTIONS = {
    "opt/350m": {"residual": "post_norm", "final_norm": False, "token_dim": 512},
    "opt/125m": {"residual": "pre_norm", "final_norm": True, "position_offset": 2},
    "llama/llama1_30b": {"norm_epsilon": 1e-6, "max_positions": 2048},
    "llama/llama1_65b": {"norm_epsilon": 1e-5, "max_positions": 2048},
    "llama/llama2_7b": {"norm_epsilon": 1e-5, "max_positions": 4096, "rope_theta": 1e4},
    "llama/llama3_8b": {"rope_theta": 5e5, "rope_scaling": None, "logits_via_embedding": False},
    "llama/llama3_1_405b": {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)},
    "llama/llama3_2_1b": {
        "rope_theta": 5e5,
        "rope_scaling": RopeScaling("llama3", 32.0, 1.0, 4.0, 8192),
        "logits_via_embedding": True,
        "head_dim": 64,
    },
    "llama/smollm_135m": {"rope_theta": 1e4, "max_positions": 2048, "logits_via_embedding": True},
    "llama/smollm2_360m": {"rope_theta": 1e5, "max_positions": 8192},
    "llama/smollm2_1.7b": {"rope_theta": 1.3e5, "max_positions": 8192},
    "llama/mistral_7b_v0_1": {"sliding_window": 4096, "rope_theta": 1e4},
    "llama/mistral_7b_v0_3": {"sliding_window": None, "rope_theta": 1e6},
    "qwen2/3b": {"norm_epsilon": 1e-6, "logits_via_embedding": True},
    "qwen2/7b": {"norm_epsilon": 1e-6, "logits_via_embedding": False},
    "qwen2/14b": {"norm_epsilon": 1e-5, "logits_via_embedding": False},
    "qwen3/4b": {"logits_via_embedding": True, "head_dim": 128, "qk_norm": True},
    "qwen3/8b": {"logits_via_embedding": False, "norm_epsilon": 1e-6, "rope_theta": 1e6},
    "gpt_neox/pythia_1b": {"mlp_activation": "gelu_exact", "residual": "parallel"},
    "gpt_neox/gpt_neox_20b": {"mlp_activation": "gelu", "residual": "parallel"},
}


@pytest.fixture(autouse=True)
def _clear():
    yield
    gin.clear_config()


def config_of(name: str) -> DecoderConfig:
    gin_setup.parse([FILES[name].gin_file])
    return gin_setup.bound(DecoderConfig)()


def test_every_size_file_is_in_the_table():
    assert FILES.keys() == PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_size_file_has_the_public_dimensions_and_parameters(name):
    model = models.describe(FILES[name])
    heads = (model.num_heads, model.num_kv_heads)
    assert (model.num_layers, model.emb_dim, *heads, model.parameters) == PUBLIC[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_header_says_the_number_of_parameters(name):
    header = gin_search.header(gin_search.find_gin_file(FILES[name].gin_file))
    assert re.search(r": ([\d,]+) parameters\.", header)[1] == f"{PUBLIC[name][-1]:,}"


@pytest.mark.parametrize("name", OPTIONS)
def test_options_in_which_sizes_of_a_family_differ(name):
    config = config_of(name)
    assert {field: getattr(config, field) for field in OPTIONS[name]} == OPTIONS[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_heads_share_the_width_and_a_quarter_of_each_is_rotated_in_gpt_neox(name):
    """Neither changes a count of parameters."""
    config = config_of(name)
    if not name.startswith("qwen3/") and name != "llama/mistral_nemo_12b":
        assert config.num_heads * config.head_dim == config.emb_dim
    if name.startswith("gpt_neox/"):
        assert 4 * config.rotary_width == config.head_dim
