import csv
import pathlib

import pytest
import seqio

from teacherlm_jax.data import data_setup, default_vocabulary
from teacherlm_jax.data.row_rendering import RawRow
from teacherlm_jax.tasks import exclusions
from teacherlm_jax.tasks.catalogue.dataset import DATASETS
from teacherlm_jax.tasks.p3 import p3_sets, registry
from teacherlm_jax.tasks.p3.templates import TEMPLATES
from tests.source import ROOT
from tests.tasks import hosts, p3_rows
from tests.tasks.p3_rows import CASES

TABLE = ROOT.parent / "shared" / "reference" / "p3.csv"
# A prompt that few rows fit; several questions a row; a table; mirrors; a round of ANLI.
FEW = ("p3_wiki_qa_answer_it", "p3_race_middle", "p3_wiki_bio", "p3_dream", "p3_anli_r2")
PROMPTS = 264
GOLDEN_DRAWS = [
    "no_options",
    "test_the_listener",
    "listening_test",
    "test_the_listener",
    "no_options",
]


@pytest.fixture
def vocabulary():
    default_vocabulary.forget()
    default_vocabulary.choose(seqio.ByteVocabulary())
    yield
    default_vocabulary.forget()


@pytest.fixture
def data_dir(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.setenv(data_setup.DATA_DIR_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def table():
    """The lines of the reference's list A."""
    if not TABLE.exists():
        pytest.skip(f"{TABLE} is not here")
    with TABLE.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    return [line for line in lines if line["proposed_58_list_a"] == "yes"]


def rows_of(name: str, split: str = "train") -> list[dict]:
    task = seqio.TaskRegistry.get(name)
    return list(task.get_dataset(None, split, shuffle=False).as_numpy_iterator())


def places_of(name: str) -> list[str]:
    return [row["id"].decode().split(":")[1] for row in rows_of(name)]


def quail(number: int) -> dict:
    return {**CASES["quail"].hub, "id": f"q{number}", "question": f"Which of {number}?"}


# Tasks


def check_examples(names):
    """Every split of these tasks gives examples, tokens of which are the texts."""
    for name in names:
        for split in seqio.TaskRegistry.get(name).splits:
            rows = rows_of(name, split)
            assert rows, f"{name}/{split}"
            for row in rows:
                inputs, targets = row["inputs_pretokenized"], row["targets_pretokenized"]
                assert f"{name}_".startswith(f"p3_{row['id'].decode().split(':')[0]}_")
                assert row["inputs"].tolist() == [byte + 3 for byte in inputs]
                assert row["targets"].tolist() == [*(byte + 3 for byte in targets), 1]


def test_some_tasks_yield_examples(vocabulary, tmp_path):
    with p3_rows.given(tmp_path):
        check_examples(FEW)


@pytest.mark.slow
def test_all_tasks_yield_examples(vocabulary, tmp_path):
    names = [name for name in registry.NAMES if name in seqio.TaskRegistry.names()]
    assert len(names) == len(p3_sets.PARTS) + PROMPTS
    with p3_rows.given(tmp_path):
        check_examples(names)


def test_every_case_is_told_by_every_prompt():
    for name, case in CASES.items():
        row = RawRow(case.hub or case.row, 0, "here")
        for template in TEMPLATES[name]:
            (found,) = registry.examples(row, name, [template], 0, exclusions.Exclusions())
            assert found["id"] == f"{name}:0:{template.name}"


def test_prompts_that_do_not_fit_a_sample_are_not_drawn():
    row = {**CASES["wiki_qa"].hub, "label": 0}
    drawn = set()
    for index in range(100):
        found = list(
            registry.examples(
                RawRow(row, index, ""), "wiki_qa", TEMPLATES["wiki_qa"], 0, exclusions.Exclusions()
            )
        )
        drawn |= {example["id"].split(":")[2] for example in found}
    assert drawn == {"is_it_an_answer", "found_it", "title_then_verdict"}


def test_the_prompt_of_a_row_depends_on_seed_data_set_and_place_alone():
    def drawn(seed=0, name="dream"):
        rows = [RawRow(CASES[name].hub, index, "") for index in range(60)]
        return [
            example["id"].split(":")[2]
            for row in rows
            for example in registry.examples(
                row, name, TEMPLATES[name], seed, exclusions.Exclusions()
            )
        ]

    assert drawn() == drawn()
    assert drawn() != drawn(seed=1)
    assert min(drawn().count(each.name) for each in TEMPLATES["dream"]) >= 5
    assert drawn()[:5] == GOLDEN_DRAWS


# Caps


def test_caps_are_exact_fixed_and_each_prompts_own(vocabulary, data_dir):
    p3_rows.write_mirror(data_dir, "quail", [quail(number) for number in range(300)])
    names = {
        "whole": registry.task("quail", max_examples=40),
        "seed": registry.task("quail", max_examples=40, seed=1),
        "one": registry.task("quail", "open_reply", max_examples=40),
        "other": registry.task("quail", "letter_of_four", max_examples=40),
    }
    assert names["one"] == "p3_quail_open_reply_max40"
    places = {key: places_of(name) for key, name in names.items()}
    assert {len(set(found)) for found in places.values()} == {40}
    assert len({tuple(found) for found in places.values()}) == 4
    assert places["one"] == places_of(names["one"])
    assert len(places_of("p3_quail")) == 300


def test_a_cap_counts_questions_where_a_row_has_several(vocabulary, tmp_path):
    names = [registry.task("race_high", max_examples=most) for most in (1, 3)]
    with p3_rows.given(tmp_path):
        assert [len(rows_of(name)) for name in names] == [1, 3]
        assert places_of("p3_race_high") == ["0", "0.1", "1", "1.1"]
        assert len(hosts.check_parts(names[1])) == 3


def test_a_cap_is_full_where_few_rows_fit_a_prompt(vocabulary, data_dir):
    rows = [{**CASES["wiki_qa"].hub, "label": int(n % 15 == 0)} for n in range(300)]
    p3_rows.write_mirror(data_dir, "wiki_qa", rows)
    name = registry.task("wiki_qa", "answer_it", max_examples=15)
    assert len(rows_of(name)) == 15
    assert {int(place) % 15 for place in places_of(name)} == {0}
    assert len(hosts.check_parts(registry.task("wiki_qa", "answer_it", max_examples=6))) == 6


def test_samples_of_a_list_are_left_out_and_others_take_their_places(vocabulary, data_dir):
    p3_rows.write_mirror(
        data_dir, "cos_e", [{**CASES["cos_e"].row, "id": f"c{n}"} for n in range(30)]
    )
    path = data_dir / "ids.txt"
    path.write_text("".join(f"cos_e c{n}\n" for n in range(0, 30, 3)), encoding="utf-8")
    name = registry.task("cos_e", max_examples=20, excluded_ids=path)
    assert name.startswith("p3_cos_e_max20_without_")
    assert len(places_of(name)) == 20
    assert not {place for place in places_of(name) if int(place) % 3 == 0}
    assert len(hosts.check_parts(registry.task("cos_e", max_examples=8, excluded_ids=path))) == 8
    # Other data sets are what they were.
    assert registry.task("dream", excluded_ids=path) == "p3_dream"
    mixture = registry.mixture(excluded_ids=path)
    tasks = {task.name for task in seqio.MixtureRegistry.get(mixture).tasks}
    assert "p3_dream" in tasks and "p3_cos_e" not in tasks


# The 58


# Rows of those below the cap that Muffin and P3 validate on.
HELD_OUT = {
    "super_glue/wsc.fixed": 50,
    "super_glue/cb": 50,
    "super_glue/rte": 200,
    "super_glue/copa": 50,
    "ai2_arc/ARC-Challenge": 200,
    "ai2_arc/ARC-Easy": 200,
}


def whole_of(name: str) -> str:
    return DATASETS[name].splits["train"].partition("[")[0]


def test_the_58_are_those_of_the_reference(table):
    names = [f"{line['dataset']}/{line['subset']}".rstrip("/") for line in table]
    assert len(names) == len(p3_sets.P3_SETS) == 58
    assert {each.name for each in p3_sets.P3_SETS} == set(names)


def test_counts_are_those_of_the_reference(table):
    counts = {each.name: each.parts for each in p3_sets.P3_SETS}
    for line in table:
        name = f"{line['dataset']}/{line['subset']}".rstrip("/")
        found = sum(p3_sets.training_samples(part) for part in counts[name])
        held_out = HELD_OUT.get(name, 0)
        assert min(found, 3_000) == min(int(line["train_size_at_3k_cap"]) - held_out, 3_000), name
        whole = sum(DATASETS[part].counts[whole_of(part)] for part in counts[name])
        assert whole == int(line["train_size"]) or name in ("xsum", "race/high", "race/middle")


def test_the_mixture_of_data_sets_has_as_many_examples_as_the_table_but_for_those_held_out():
    mixture = seqio.MixtureRegistry.get(registry.mixture())
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert sum(rates.values()) == 161_701 - sum(HELD_OUT.values()) == 160_951
    rounds = ["p3_anli_r1_max312", "p3_anli_r2_max837", "p3_anli_r3_max1851"]
    assert [rates[name] for name in rounds] == [312, 837, 1_851]
    assert rates["p3_super_glue_cb"] == 200
    assert len(rates) == 60


def test_the_mixture_of_prompts_has_a_cap_for_each():
    mixture = seqio.MixtureRegistry.get(registry.mixture("prompt"))
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert len(rates) == PROMPTS == sum(map(len, TEMPLATES.values()))
    assert max(rates.values()) == 3_000
    assert rates["p3_super_glue_cb_judge_the_claim"] == 200
    assert rates["p3_wiki_qa_answer_it"] == 1_040
    for name, rate in rates.items():
        assert rate <= seqio.TaskRegistry.get(name).source.max_examples["train"]


def test_variants_have_names_of_their_own():
    assert registry.mixture("prompt", 10, seed=2) == "p3_sense_3k_by_prompt_max10_seed2"
    mixture = seqio.MixtureRegistry.get(registry.mixture(max_examples=10))
    assert {mixture.get_rate(task) for task in mixture.tasks} <= {*range(1, 11)}
    assert sum(mixture.get_rate(task) for task in mixture.tasks) == 580


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: registry.task("mnli"), "name = 'mnli', but it must be one of"),
        (lambda: registry.task("dream", "none"), r"prompt = 'none', but dream has \['overheard'"),
        (lambda: registry.task("dream", max_examples=0), "max_examples = 0"),
        (lambda: registry.mixture("row"), "cap_level = 'row'"),
        (lambda: registry.mixture(seed=-1), "seed = -1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rows_are_those_that_muffin_trains_and_validates_on():
    splits = {name: seqio.TaskRegistry.get(f"p3_{name}").source.slices for name in p3_sets.PARTS}
    assert splits["super_glue_cb"] == {"train": "train[:-50]", "validation": "train[-50:]"}
    assert splits["winogrande"] == {"train": "train_xl[:-200]", "validation": "train_xl[-200:]"}
    assert splits["race_high"] == {"train": "train", "validation": "dev"}
    assert splits["app_reviews"] == {"train": "train[:-200]", "validation": "train[-200:]"}
