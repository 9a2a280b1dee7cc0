"""What is swept, in Hydra's grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.config import compose, in_quotes
from evalkit.errors import EvalkitError
from evalkit.settings import conf_dir
from evalkit.sweeping.checking import default_of
from evalkit.sweeping.space import MOST, Swept, read

BASE = ["model=synth", "prompts=demo"]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("top_k=50,250", {"kind": "choices", "values": (50, 250)}),
        ("top_k=range(50,250,100)", {"kind": "integers", "values": (50, 150), "low": 50, "high": 150, "step": 100}),
        ("top_k=range(3,0,-1)", {"kind": "integers", "values": (3, 2, 1), "low": 1, "high": 3, "step": 1}),
        (
            "top_p=range(0.25,1,0.25)",
            {"kind": "floats", "values": (0.25, 0.5, 0.75), "low": 0.25, "high": 0.75, "step": 0.25},
        ),
        ("top_p=interval(0,1)", {"kind": "floats", "low": 0.0, "high": 1.0}),
        ("top_k=int(interval(1,8))", {"kind": "integers", "low": 1, "high": 8, "step": 1}),
        ("temperature=tag(log,interval(0.1,10))", {"kind": "floats", "low": 0.1, "high": 10.0, "log": True}),
    ],
)
def test_a_parameter_carries_what_it_may_be(option: str, expected: dict[str, Any]) -> None:
    key, _, text = f"sampling.{option}".partition("=")
    assert read([*BASE, f"{key}={text}"]).parameters == (Swept(key, key, text, **expected),)


def test_every_combination_is_a_point_and_the_last_parameter_changes_fastest() -> None:
    space = read([*BASE, "sampling.top_k=50,250", "model.synth.low_pass=null,4000"])
    assert space.combinations() == [
        {"sampling.top_k": k, "model.synth.low_pass": p} for k in (50, 250) for p in (None, 4000)
    ]
    assert space.options({"sampling.top_k": 50, "model.synth.low_pass": None}) == [
        *BASE, "sampling.top_k=50", "model.synth.low_pass=null",
    ]  # fmt: skip
    assert space.options({}) == BASE


def test_values_of_any_kind_come_back_as_options_that_hydra_reads() -> None:
    space = read([*BASE, "slices=[voice],[tag:soft pad]", r"prompts.references=/a\ b,'/c, (1)'", "+engine.x=true,1"])
    points = space.combinations()
    again = read([*space.options(points[0]), "sampling.top_k=1,2"])
    assert points[0] == {"slices": ["voice"], "prompts.references": "/a b", "engine.x": True}
    assert points[-1] == {"slices": ["tag:soft pad"], "prompts.references": "/c, (1)", "engine.x": 1}
    assert again.fixed[2:] == ("slices=[voice]", 'prompts.references="/a b"', "+engine.x=True")


TEXTS = ['d "e"', "it's", "a\\b", "a\\", 'a\\"b', "clips/ünï", "$x %", "(1), [2]", "a=b", "{c: d}"]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_swept_as_it_stands(text: str) -> None:
    space = read([*BASE, f"prompts.references={in_quotes(text)},other"])
    (first, _) = space.combinations()
    assert first == {"prompts.references": text}
    assert compose(space.options(first)).prompts.references == text


def test_groups_are_swept_by_the_names_of_their_yamls() -> None:
    space = read(["prompts=demo", "model=synth,tiny_stereo", "protocol=glob(f*)"])
    (first, *_, last) = space.combinations()
    assert first == {"model": "synth", "protocol": "fadtk"}
    assert last == {"model": "tiny_stereo", "protocol": "frechet_audio_distance"}


def test_an_experiment_has_values_that_the_command_line_goes_before() -> None:
    space = read(["experiment=sweep_guidance", "model=synth", "prompts=demo"])
    assert [parameter.values for parameter in space.parameters] == [(1, 2, 3, 4, 6, 8)]
    space = read(["experiment=sweep_guidance", *BASE, "sampling.guidance_scale=2,5", "sampling.top_k=1,2"])
    assert [(p.key, p.values) for p in space.parameters] == [
        ("sampling.guidance_scale", (2, 5)), ("sampling.top_k", (1, 2)),
    ]  # fmt: skip
    assert read(["experiment=sweep_guidance", *BASE, "sampling.guidance_scale=2"]).parameters == ()


def test_an_experiment_of_one_s_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra: {sweeper: {params: {sampling.top_k: '1,2', sampling.duration: 3.0}}}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    space = read(["experiment=mine", *BASE], str(tmp_path))
    assert [parameter.values for parameter in space.parameters] == [(1, 2)]
    assert space.fixed == ("sampling.duration=3.0", "experiment=mine", *BASE)


def test_every_sweep_that_ships_has_its_model_card_s_value() -> None:
    defaults = {"sweep_guidance": 3, "sweep_temperature": 1.0, "sweep_top_k": 250}
    assert {*defaults} < {path.stem for path in (conf_dir() / "experiment").glob("sweep_*.yaml")}
    for name, default in defaults.items():
        (parameter,) = read([f"experiment={name}", *BASE]).parameters
        assert default in parameter.values


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["sampling.top_k=range(5,1)"], "sampling.top_k=range(5,1) holds no value"),
        (["sampling.top_k=range(1,5,0)"], "a step cannot be 0"),
        (["sampling.top_p=range(0.1,5,0)"], "a step cannot be 0"),
        (["sampling.top_k=1,2,1"], "sampling.top_k=1,2,1 holds 1 twice"),
        (["sampling.top_p=interval(1,1)"], "write interval(LOW,HIGH) with LOW below HIGH"),
        (["sampling.top_p=tag(log,interval(0,1))"], "must be more than 0"),
        (["slices=[voice],[tag"], "cannot read the option 'slices=[voice],[tag'"),
        (["experiment=sweep_guidence"], "unknown experiment 'sweep_guidence': did you mean 'sweep_guidance'?"),
    ],
)
def test_what_holds_no_values_is_one_line(options: list[str], expected: str) -> None:
    with pytest.raises(EvalkitError) as error:
        read([*BASE, *options])
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_intervals_and_thousands_of_points_are_no_grid() -> None:
    with pytest.raises(EvalkitError, match=r"interval\(0,1\) has no list of values: use range"):
        read([*BASE, "sampling.top_p=interval(0,1)"]).combinations()
    space = read([*BASE, "sampling.top_k=range(0,100)", "sampling.seed=range(0,100)"])
    with pytest.raises(EvalkitError, match=f"10,000 points, and {MOST:,} are the most"):
        space.combinations()


def test_references_as_they_are_are_the_default_of_a_sweep_over_references() -> None:
    assert default_of(read([*BASE, "random_weights=0", "references=original,instrumental"]), None) == (
        {"references": "original"},
        "",
    )
    assert compose(BASE).references is None
