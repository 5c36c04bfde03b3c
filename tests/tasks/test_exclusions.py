import pytest

from teacherlm_jax.tasks import exclusions
from teacherlm_jax.tasks.catalogue.dataset import Sample


def read(tmp_path, text: str) -> exclusions.Exclusions:
    path = tmp_path / "ids.txt"
    path.write_text(text, encoding="utf-8")
    return exclusions.read(path)


def test_lines_name_samples(tmp_path):
    found = read(tmp_path, "# ECQA's test questions\n\ncos_e abc\n cos_e  d e \nquail f1_0\n")
    assert found.ids == {("cos_e", "abc"), ("cos_e", "d e"), ("quail", "f1_0")}
    assert found.hold("cos_e", Sample({}, "x", id="abc"))
    assert not found.hold("quail", Sample({}, "x", id="abc"))
    assert not found.hold("cos_e", Sample({}, "x"))
    assert found.of("quail").ids == {("quail", "f1_0")}
    assert not found.of("dream").ids


def test_the_suffix_tells_what_is_left_out_whatever_the_order(tmp_path):
    first = read(tmp_path, "cos_e a\ncos_e b\n").suffix
    assert first == read(tmp_path, "cos_e b\ncos_e a\n").suffix
    assert first != read(tmp_path, "cos_e a\n").suffix
    assert first.startswith("_without_")
    assert exclusions.read(None).suffix == exclusions.Exclusions().suffix == ""


@pytest.mark.parametrize("line", ["cos_e", "no_such_set abc", "cos_e "])
def test_other_lines_are_refused_with_their_place(tmp_path, line):
    with pytest.raises(ValueError, match=r"ids.txt:2: .* an id, with a space between"):
        read(tmp_path, f"cos_e a\n{line}\n")
