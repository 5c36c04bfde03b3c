"""Hosts that are not alike are told so, all of them the same."""

import importlib.metadata
import io
import platform
import re
import textwrap

import teacherlm_jax
from launch import local_launch
from teacherlm_jax.partitioning import preflight

NAMES = {0: "a", 1: "b", 2: "c", 3: "d"}


def test_equal_facts_are_no_difference():
    assert preflight.differences([{"jax": "1", "text": "a\nb"}] * 4, NAMES) == ""


def test_what_differs_is_named_with_hosts_values_and_remedy():
    facts = [{"jax": "1", "python": "3"}, {"jax": "2", "python": "3"}, {"jax": "1"}]
    assert preflight.differences(facts, NAMES).splitlines() == [
        "the hosts of this run are not alike:",
        "  jax: hosts 0 (a), 2 (c) have 1; host 1 (b) has 2."
        " Remedy: install the same versions on all hosts.",
        "  python: hosts 0 (a), 1 (b) have 3; host 2 (c) has absent."
        " Remedy: install the same versions on all hosts.",
    ]


def test_of_a_configuration_the_lines_that_differ_are_shown():
    shared = "# Macros:\n# ====\nSTEPS = 3\n\n"
    first = (
        shared
        + "train.stages = \\\n    [@first/Stage(),\n     @second/Stage()]\n\n# More:\nRATE = 1\n"
    )
    second = shared + "train.stages = \\\n    [@first/Stage()]\nRATE = 1\n"
    text = preflight.differences(
        [{"configuration": text} for text in (first, second, first)], NAMES
    )
    _, digests, *lines = text.splitlines()
    assert re.fullmatch(
        r"  configuration digest: hosts 0 \(a\), 2 \(c\) have [0-9a-f]{12}; host 1 \(b\) has"
        r" [0-9a-f]{12}\. Remedy: launch all hosts with the same gin files and flags\.",
        digests,
    )
    assert lines == [
        "    host 0 (a): train.stages = [@first/Stage(), @second/Stage()]",
        "    host 1 (b): train.stages = [@first/Stage()]",
    ]


def test_of_many_lines_the_first_are_shown():
    longer = "".join(f"X{index} = 1\n" for index in range(20))
    text = preflight.differences([{"configuration": ""}, {"configuration": longer}], NAMES)
    assert text.count("host 1 (b): X") == 6
    assert text.endswith("host 1 (b): and 14 more lines")


def test_software_is_what_is_installed():
    found = preflight.software()
    assert found["python"] == platform.python_version()
    assert found["jaxlib"] == importlib.metadata.version("jaxlib")
    assert found["orbax-checkpoint"] == importlib.metadata.version("orbax-checkpoint")
    digest = re.fullmatch(r"(.+) \(source ([0-9a-f]{12})\)", found["teacherlm_jax"])
    assert digest[1] == teacherlm_jax.__version__
    assert digest[2] == preflight.source_digest()


def test_the_source_digest_knows_every_module_and_the_tasks(tmp_path, monkeypatch):
    package, tasks = tmp_path / "package", tmp_path / "tasks"
    for folder in (package / "models", tasks):
        folder.mkdir(parents=True)
        (folder / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(teacherlm_jax, "__file__", str(package / "__init__.py"))
    (package / "tasks").symlink_to(tasks)
    linked = preflight.source_digest()
    (package / "tasks").unlink()
    assert preflight.source_digest() != linked
    # Installed, the tasks are a folder of the package.
    tasks.rename(package / "tasks")
    assert preflight.source_digest() == linked
    (package / "notes.txt").write_text("of no account")
    assert preflight.source_digest() == linked
    (package / "models" / "module.py").write_text("x = 2\n")
    assert preflight.source_digest() != linked


def test_a_process_alone_has_nobody_to_differ_from():
    preflight.check({"jax": "1"})
    preflight.check_hosts("train", "STEPS = 3")


_FOUR = """
    import os, pathlib, socket, sys

    host = int(os.environ["TEACHERLM_PROCESS_ID"])
    name = f"worker-{host}"
    socket.gethostname = lambda: name
    if host == 1:
        sys.path.insert(0, sys.argv[1])
    if host == 3:
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"

    from teacherlm_jax.partitioning import hosts, preflight

    def check(work):
        try:
            work()
        except preflight.HostsError as error:
            print(error)

    hosts.initialize_from_environment()
    preflight.check({"jax": "1"})
    if host == 2:
        next(preflight._rounds)  # It misses a round, and takes part in the next.
    else:
        check(lambda: preflight.check({"jax": "1"}, timeout_seconds=1))
    steps = 4 if host == 2 else 3
    check(lambda: preflight.check_hosts("train", f"MODEL_DIR = 'x'\\nSTEPS = {steps}"))
    if host == 1:
        sys.path.remove(sys.argv[1])
    check(lambda: preflight.check_hosts("train", f"MODEL_DIR = 'x'\\nSTEPS = 3"))
"""


def test_four_hosts_hear_the_same_of_silence_configurations_versions_and_devices(tmp_path):
    other_flax = tmp_path / "flax-0.1.dist-info"
    other_flax.mkdir()
    (other_flax / "METADATA").write_text("Metadata-Version: 2.1\nName: flax\nVersion: 0.1\n")
    output = io.StringIO()
    result = local_launch.launch(
        ["python", "-c", textwrap.dedent(_FOUR), str(tmp_path)],
        processes=4,
        output=output,
        timeout_seconds=120,
    )
    assert result.exit_codes == [0] * 4, output.getvalue()
    silence = (
        "host 2 said nothing of their software within 1 s; hosts 0 (worker-0), 1 (worker-1), 3"
        " (worker-3) did. See what the silent ones print.\n"
    )
    first, *others = (text.replace(silence, "") for text in result.outputs)
    assert [silence in text for text in result.outputs] == [True, True, False, True]
    assert others == [first] * 3
    assert re.sub(r"[0-9a-f]{12}", "DIGEST", first).splitlines() == [
        "the hosts of this run are not alike:",
        "  configuration digest: hosts 0 (worker-0), 1 (worker-1), 3 (worker-3) have DIGEST; host 2"
        " (worker-2) has DIGEST. Remedy: launch all hosts with the same gin files and flags.",
        "    host 0 (worker-0): STEPS = 3",
        "    host 2 (worker-2): STEPS = 4",
        "  flax: hosts 0 (worker-0), 2 (worker-2), 3 (worker-3) have"
        f" {importlib.metadata.version('flax')}; host 1 (worker-1) has 0.1. Remedy: install the"
        " same versions on all hosts.",
        "the hosts of this run are not alike:",
        "  local devices: hosts 0 (worker-0), 1 (worker-1), 2 (worker-2) have 1; host 3 (worker-3)"
        " has 3. Remedy: give every host as many devices as the others.",
    ]
