import pytest
from etils import epath

from teacherlm_jax.data import links, raw_folders, record_files
from teacherlm_jax.data.document_sources import TextFilesSource


def test_a_link_that_leads_nowhere_is_named_whoever_finds_it(tmp_path):
    folder, file = tmp_path / "rows", tmp_path / "rows" / "train.jsonl"
    folder.mkdir()
    file.symlink_to("/nowhere/x.jsonl")
    message = rf"'{file}' is a link to '/nowhere/x\.jsonl', which is not there: fetch"
    for read in (
        lambda: raw_folders.find(folder),
        lambda: raw_folders.find(file),
        *(
            lambda place=place: raw_folders.named({"train": [str(place)]})
            for place in (file, folder, folder / "*")
        ),
        *(
            lambda place=place: record_files.list_files(place)
            for place in (file, folder, folder / "*")
        ),
        lambda: list(record_files.read_rows(file)),
        lambda: TextFilesSource({"train": str(folder / "*")}).list_shards("train"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            read()


def test_other_links_and_files_are_taken(tmp_path):
    (tmp_path / "there.jsonl").write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "there.jsonl")
    for name in ("there.jsonl", "link.jsonl"):
        assert links.checked(epath.Path(tmp_path / name)) == epath.Path(tmp_path / name)
