"""`evalkit reproduce`: what it says before and after, and its exit status, beside made-up published numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

import evalkit as package
from evalkit.results.result import Result

from ..conftest import Run
from ..reproducing.published import write
from ..results.claimed import publish

FEW = ["prompts.count=20", "allow_targets=[tests]"]
MODELS = {
    "offset": "{_target_: tests.results.claimed.Offset, level: 10.0, noise: 0.05}",
    "random_offset": "{_target_: tests.results.claimed.RandomOffset, level: 10.0, noise: 0.05}",
    "unchecked": "{_target_: tests.results.claimed.Unchecked, level: 10.0, noise: 0.05}",
    "tuned": "{_target_: tests.results.claimed.Tuned, level: 10.0, noise: 0.05}",
}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """YAMLs of made-up checkpoints, of which 10 was published for the offset."""
    monkeypatch.setenv("COLUMNS", "80")
    publish(tmp_path, 10.0)
    (tmp_path / "conf" / "model").mkdir()
    for name, node in MODELS.items():
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(f"{name}: {node}\n")
    return str(tmp_path / "conf")


def result_of(out: str) -> Result:
    """The result that was printed in the last line."""
    return Result.load(out.rpartition("result: ")[2].strip())


def test_a_checkpoint_that_does_as_published_is_reproduced(evalkit: Run, conf: str) -> None:
    code, out, err = evalkit("reproduce", "offset", *FEW, "--config-dir", conf)
    assert (code, err) == (0, "") and max(map(len, out.splitlines()[:-1])) <= 80
    before, _, after = out.partition("and then the scores\n")
    assert "source      a card, from a user's card.yaml (someone/offset), protocol theirs\n" in before
    assert "prompts     synthetic, all: 20; 3 seeds, 60 clips\n" in before and "verdict" not in before
    words = " ".join(after.split())
    assert "1 published value: 1 reproduced" in words and "made up" in words and "REPRODUCED" in words
    result = result_of(out)
    (score,) = result.scores[result.scores["metric"] == "dc_offset"].to_dict("records")
    assert (score["verdict"], score["sets"], score["published"]) == ("REPRODUCED", 3, 10.0)
    assert result.config["model"]["offset"]["level"] == 10.0 and result.sampling["samples_per_prompt"] == 3
    code, out, err = evalkit("table", str(result.path))
    assert (code, err) == (0, "") and "REPRODUCED" in out.partition("Against what was published\n")[2]


def test_a_model_is_all_that_must_be_given(evalkit: Run) -> None:
    said = "evalkit: the following arguments are required: MODEL: see 'evalkit reproduce --help'\n"
    assert evalkit("reproduce") == (2, "", said)


@pytest.mark.parametrize(("value", "verdict"), [(8.0, "DIFFERS (higher)"), (12.0, "DIFFERS (lower)")])
def test_other_numbers_than_published_differ(
    evalkit: Run, tmp_path: Path, conf: str, value: float, verdict: str
) -> None:
    publish(tmp_path, value)
    code, out, err = evalkit("reproduce", "offset", *FEW, "--config-dir", conf)
    assert (code, err) == (0, "") and "1 published value: 1 differs" in " ".join(out.split()) and verdict in out
    scores = result_of(out).scores
    assert set(scores.loc[scores["metric"] == "dc_offset", "verdict"]) == {verdict}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("model.offset.level=12", "level 12, published 10"),
        ("prompts.first=19", "19 prompts (subset first 19), published 20 (the full synthetic)"),
    ],
)
def test_another_run_than_was_published_is_said_before_it_starts(
    evalkit: Run, conf: str, option: str, said: str
) -> None:
    code, out, err = evalkit("reproduce", "offset", *FEW, option, "--config-dir", conf)
    assert (code, err) == (0, "") and f" verdict NOT COMPARABLE: {said} " in " ".join(out.split())
    assert "1 published value: 1 not comparable" in " ".join(out.split())
    scores = result_of(out).scores
    assert set(scores.loc[scores["metric"] == "dc_offset", "verdict"]) == {"NOT COMPARABLE"}


def test_random_weights_are_not_comparable(evalkit: Run, conf: str) -> None:
    code, out, err = evalkit("reproduce", "random_offset", *FEW, "--config-dir", conf)
    assert (code, err) == (0, "") and "verdict     NOT COMPARABLE: random weights: random_offset\n" in out
    assert set(result_of(out).scores["verdict"]) == {"NOT COMPARABLE"}


def test_a_model_that_only_claims_a_checkpoint_hears_before_it_runs_that_it_reproduces_nothing(
    evalkit: Run, conf: str
) -> None:
    code, out, err = evalkit("reproduce", "unchecked", *FEW, "--config-dir", conf)
    assert (code, err) == (0, "") and " verdict REPRODUCED is out of reach: nobody can check " in " ".join(out.split())
    assert set(result_of(out).scores["verdict"]) <= {"UNDECIDED", "NOT COMPARABLE"}


def test_what_a_checkpoint_was_tuned_from_stands_beside_it_as_context(evalkit: Run, conf: str) -> None:
    code, out, err = evalkit("reproduce", "tuned", *FEW, "--config-dir", conf)
    assert (code, err) == (0, "")
    before, _, after = out.partition("For context only: someone/offset\n")
    words = " ".join(before.split())
    assert "no value was published for this checkpoint" in words and "no published value to compare with" in words
    assert "10.00" in after and "10.00" not in before and "NOT COMPARABLE" not in after
    scores = result_of(out).scores
    (score,) = scores[scores["metric"] == "dc_offset"].to_dict("records")
    assert (score["verdict"], score["tuned_from"], score["context"]) == ("NOT COMPARABLE", "someone/offset", 10.0)


def test_a_dry_run_says_how_long_it_takes_and_makes_no_result(evalkit: Run, tmp_path: Path, conf: str) -> None:
    code, out, err = evalkit("reproduce", "offset", *FEW, "--dry-run", "--seeds", "5", "--config-dir", conf)
    assert (code, err) == (0, "") and "5 seeds, 100 clips" in out and "result: " not in out
    # of each prompt one is there, and the first batch is made
    assert "generating: 72 of 100 clips at " in out and "time        about " in out
    assert not (tmp_path / "results").exists()
    code, out, err = evalkit("reproduce", "offset", *FEW, "--dry-run", "--seeds", "5", "--config-dir", conf)
    assert "generating: 64 of 100 clips at " in out


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_where_weights_are_missing_all_is_said_and_nothing_is_run(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry: list[str]
) -> None:
    for name in ("HF_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    code, out, err = evalkit("reproduce", "musicgen_small", *dry)
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("evalkit: 6 files are missing, and prompts.references is not set: run 'evalkit fetch'")
    assert "MusicGen small" in out and "CLAP weights" in out and "\nevalkit fetch model=musicgen_small " in out
    assert "generating" not in out and not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["musicgen_smal"], "did you mean 'musicgen_small'?"),
        (["synth"], "synth is taken for no published model: choose one of musicgen_large, "),
        (["musicgen_small", "--seeds", "2"], "--seeds 2: give 3 or more"),
        (["musicgen_small", "--seeds", "many"], "invalid int value: 'many'"),
        (["musicgen_small", "--config-dir", "/absent"], "'/absent' does not exist"),
        (["musicgen_small", "sampling.topk=1"], "did you mean 'sampling.top_k'?"),
        ([], "see 'evalkit reproduce --help'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(evalkit: Run, arguments: list[str], said: str) -> None:
    code, out, err = evalkit("reproduce", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err and err.startswith("evalkit: ")


def test_a_score_that_is_missing_is_status_3(evalkit: Run, conf: str) -> None:
    options = ["metric=[clipping,fad_inf]", "random_weights=0", "engine.quiet=true"]
    code, out, err = evalkit("reproduce", "offset", *FEW, *options, "--config-dir", conf)
    assert code == 3 and "has no score of fad_inf (offset)" in err and "result: " in out


def test_python_gets_the_result_and_its_page(conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.page.writing.render", lambda shown: shown.document.title)
    folders = [f"cache_dir={tmp_path / 'cache'}", f"output_dir={tmp_path / 'runs'}"]
    result = package.reproduce("offset", *FEW, *folders, "report=true", config_dir=conf, quiet=True)
    assert (result.path / "report.html").is_file()
    assert set(result.scores.loc[result.scores["metric"] == "dc_offset", "verdict"]) == {"REPRODUCED"}


@pytest.mark.slow
def test_a_musicgen_is_measured_again_under_the_card_s_metrics(evalkit: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "conf", tmp_path / "cache")
    options = [
        "prompts.count=12",
        "random_weights=0",
        "uncertainty.resamples=100",
        "metric=[fad,kld,clap_score,chroma]",
    ]
    code, out, _ = evalkit("reproduce", "their_music", *options, "--config-dir", str(folder))
    assert code == 0 and "features of captions: " in out
    scores = result_of(out).scores
    assert list(scores["metric"]) == ["fad", "kld", "clap_score", "chroma"] and set(scores["sets"]) == {3}
    assert set(scores["verdict"]) == {"NOT COMPARABLE"}
