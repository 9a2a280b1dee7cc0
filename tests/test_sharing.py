"""Files of options: what they share with another run, and what is said of a mistake in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from evalkit.config import compose
from evalkit.errors import EvalkitError
from evalkit.sharing import SHARED, OptionsFile

OTHER = [
    *(
        "prompts=demo",
        "prompts.first=5",
        "prompts.references.seed=7",
        "model=[synth,tiny_stereo]",
        "metric=[fad,silence]",
        "references=instrumental",
    ),
    *("random_weights=0", "sampling.duration=2.5", "sampling.seed=3", "protocol=fadtk", "engine.batch_size=4"),
    *(
        "slices=[voice]",
        "uncertainty.level=0.9",
        "min_references=0.5",
        "small_slice=4",
        "name=other",
        "output_dir=there",
    ),
    *("metric.silence_share.threshold=-50", "model.synth.noise=0.1", "calibration=[noise]"),
]


def plain(config: DictConfig) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return {str(key): value for key, value in found.items()}


@pytest.fixture(scope="module")
def other() -> dict[str, Any]:
    return plain(compose(OTHER))


def nothing(config: DictConfig) -> None:
    """A check that refuses nothing."""


@pytest.fixture
def given(tmp_path: Path, other: dict[str, Any]) -> Any:
    """Compose a file of this text, completed by the other run; None for nothing to complete it."""

    def composed(text: str, base: dict[str, Any] | None = other, config_dir: Path | None = None) -> dict[str, Any]:
        path = tmp_path / "options.txt"
        path.write_text(text, "utf-8")
        return plain(OptionsFile.read(path).configured(base, config_dir and str(config_dir), nothing))

    return composed


def test_an_empty_file_is_the_other_run_but_for_where_it_lies(given: Any, other: dict[str, Any]) -> None:
    found = given("# nothing but this\n\n")
    assert found == {**other, "name": None, "output_dir": "results/runs", "calibration": {}}
    assert {key for key in found if found[key] == other[key]} >= {*SHARED}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("model=synth", {"model.tiny_stereo": None, "model.synth.noise": 0.0}),
        ("model=tiny_stereo", {"model.synth": None}),
        ("model.synth.detune=40", {"model.synth.detune": 40}),
        ("sampling.top_k=50", {"sampling.top_k": 50}),
        ("sampling=model_card", {"sampling.duration": 10.0, "sampling.seed": 0}),
        ("prompts.first=2", {"prompts.first": 2}),
        ("prompts=demo", {"prompts.first": None, "prompts.references.seed": 0}),
        ("references=original", {"references": None}),
        ("references.overlap=0.4", {"references.overlap": 0.4}),
        ("metric.fad.ddof=0", {"metric.fad.ddof": 0}),
        ("~metric.fad", {"metric.fad": None}),
        ("+model@model.third=synth", {"model.third": {}}),
        ("name=mine\noutput_dir=here", {}),
        ("model.synth.noise=0.2  # louder\n  # or so\n", {"model.synth.noise": 0.2}),
        ('name="a # b"', {}),
    ],
)
def test_what_is_not_said_is_shared(given: Any, other: dict[str, Any], text: str, changed: dict[str, Any]) -> None:
    found = given(text)
    leaves, theirs = dict(_leaves(found)), dict(_leaves(other))
    own = ("name", "output_dir", "calibration")
    differing = {key for key in {*leaves, *theirs} if leaves.get(key) != theirs.get(key) and not key.startswith(own)}
    assert {key for key in differing if not key.startswith(tuple(changed))} == set()
    for key, value in changed.items():
        assert OmegaConf.select(OmegaConf.create(found), key) == value or (value == {} and found["model"]["third"])


def _leaves(value: Any, path: str = "") -> Any:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_what_a_file_selects_is_made_under_what_it_shares(given: Any) -> None:
    """A YAML reads the protocol and the seed of random weights that come from the other run."""
    found = given("metric=[fad,kld]\nmodel=[]\n+model@model.m=tiny_stereo")
    assert list(found["metric"]) == ["fad", "kld"]
    assert found["metric"]["kld"]["encoder"]["weights"]["random_seed"] == 0
    assert found["metric"]["fad"]["encoder"]["window"] == found["protocol"]["vggish"]["window"]
    assert found["protocol"]["name"] == "fadtk"


def test_an_experiment_says_what_its_yaml_says(given: Any, other: dict[str, Any], tmp_path: Path) -> None:
    found = given("experiment=demo")
    assert list(found["model"]) == list(compose(["experiment=demo"]).model)
    assert found["prompts"]["first"] is None and found["sampling"] == {**other["sampling"], "duration": 2.5}
    assert found["metric"] == other["metric"] and found["protocol"] == other["protocol"]
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /metric: [chroma]\nsmall_slice: 9\n"
    )
    (folder / "more.yaml").write_text("# @package _global_\ndefaults:\n  - mine\nsampling: {seed: 1}\n")
    found = given("experiment=more", config_dir=tmp_path / "conf")
    assert list(found["metric"]) == ["chroma"] and found["small_slice"] == 9
    assert found["model"] == other["model"] and found["sampling"] == {**other["sampling"], "seed": 1}


def test_values_of_any_text_are_shared_as_they_are(given: Any, other: dict[str, Any]) -> None:
    base = {**other, "prompts": {**other["prompts"], "path": "${a}, '\"é#: [x"}}
    assert given("", base)["prompts"]["path"] == base["prompts"]["path"]


def test_without_another_run_a_file_is_the_options_of_evalkit_run(given: Any) -> None:
    assert given("\n".join(OTHER), None) == plain(compose(OTHER))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("sampling.seed=1\nmodel=synht\nname=x", 2, "unknown model 'synht': did you mean 'synth'?"),
        ("sampling.sede=1", 1, "there is no option 'sampling.sede': did you mean 'sampling.seed'?"),
        ("model=synth\n\nmodel.synth.nois=1", 3, "did you mean 'model.synth.noise'?"),
        ("sampling.top_k=x\nsampling.seed=1", 1, "sampling.top_k=x: must be a whole number"),
        ("metric=[fad", 1, "cannot read the option 'metric=\\[fad'"),
        ("model=a,b", 1, "'model=a,b' is several values"),
        ("evalkit run model=synth", 1, "'evalkit run model=synth' is no option: write KEY=VALUE"),
        ("--junit out.xml", 1, "is no option"),
        ("'model=synth'", 1, "is no option"),
        ("config_dir=x", 1, "use --config-dir DIR"),
        ("experiment=dmo", 1, "unknown experiment 'dmo': did you mean 'demo'?"),
        (
            "model=synth\nprotocol=musicgen",
            2,
            "protocol is not that of the other side, whose metric would be taken: set metric=NAME too",
        ),
        (
            "random_weights=1",
            1,
            "random_weights is not that of .*: set metric=NAME and model=NAME and references=NAME too",
        ),
    ],
)
def test_a_mistake_names_file_and_line(given: Any, text: str, line: int, message: str) -> None:
    with pytest.raises(EvalkitError, match=f"^'[^']*options.txt', line {line}: .*{message}"):
        given(text)


def test_what_no_line_is_to_blame_for_names_the_file(given: Any) -> None:
    with pytest.raises(EvalkitError, match=r"options.txt': nothing is selected for model: set model=NAME"):
        given("prompts=demo", None)


def test_the_line_is_found_without_which_a_check_passes(tmp_path: Path) -> None:
    def check(config: DictConfig) -> None:
        if config.small_slice == 5:
            raise EvalkitError("something of which the options are not named")

    path = tmp_path / "options.txt"
    path.write_text("model=synth\nsmall_slice=5\nprompts=demo\n")
    with pytest.raises(EvalkitError, match=r"options.txt', line 2: something"):
        OptionsFile.read(path).configured(None, None, check)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(EvalkitError, match=r"clip.wav' is no text: give the folder of a result"):
        OptionsFile.read(tmp_path / "clip.wav")
