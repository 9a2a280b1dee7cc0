"""`evalkit report`: where the page is written, what it is never written over, and one line for what cannot be shown."""

from __future__ import annotations

import inspect
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import evalkit as package
from evalkit.commands.report import DEFAULT, size
from evalkit.errors import EvalkitError
from evalkit.page import AUDIO
from evalkit.results import folders
from evalkit.results.files import RESULT
from evalkit.results.record import ProtocolInfo
from evalkit.results.result import Result

from ..conftest import ROOT, Run
from ..page.pages import compared, saved
from ..results.made import TITLES, metric

NEWER = {"musicgen_next": {"fad": 4.2, "kld": 1.3, "clap_score": 0.3, "chroma": 0.2}}
DEMO = [
    "experiment=demo", "model=synth", "model.synth.seed=1", "prompts.first=2", "sampling.duration=1",
    "metric=[chroma]", "uncertainty.resamples=0", "output_dir=runs",
]  # fmt: skip

SMALL = [
    "model=synth", "prompts=synthetic", "prompts.count=2", "sampling.duration=1", "metric=[silence]",
    "uncertainty.resamples=0",
]  # fmt: skip


@pytest.fixture(autouse=True)
def without_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave plots out of pages, each of which would take a second or more, but where a run ends by writing one."""
    if "run" not in request.node.name:
        for section in ("plots", "sensitivity"):
            monkeypatch.setattr(f"evalkit.page.sections.{section}.section", lambda view: None)


@pytest.fixture
def older(tmp_path: Path) -> Result:
    return saved(tmp_path / "older")


def test_the_page_lies_in_the_folder_of_the_record_which_stays_valid(
    evalkit: Run, older: Result, tmp_path: Path
) -> None:
    page = older.path / "report.html"
    assert evalkit("report", str(older.path)) == (0, f"report: {page}\n", "")
    assert page.read_text("utf-8").startswith("<!doctype html>") and "4.903" in page.read_text("utf-8")
    folders.checked(older.path, RESULT)
    assert evalkit("table", str(older.path))[0] == 0
    assert evalkit("pack", str(older.path), "a.zip", "--no-audio")[0] == 0
    archive = zipfile.ZipFile(tmp_path / "a.zip")
    assert archive.read("a/report.html") == page.read_bytes()
    archive.extractall(tmp_path / "unpacked")
    assert evalkit("report", str(tmp_path / "unpacked" / "a"))[0] == 0


def test_an_earlier_page_is_written_anew_and_links_are_followed(evalkit: Run, older: Result, tmp_path: Path) -> None:
    (tmp_path / "page.html").symlink_to(tmp_path / "there.html")
    for options in ([], ["--blind"]):
        assert evalkit("report", str(older.path), "--output", "page.html", *options)[0] == 0
        assert ("data-blind>" in (tmp_path / "there.html").read_text("utf-8")) == bool(options)
    assert (tmp_path / "page.html").is_symlink()


def test_nothing_but_a_page_of_evalkits_is_written_over(evalkit: Run, older: Result, tmp_path: Path) -> None:
    (tmp_path / "notes.html").write_text("<html>my own", "utf-8")
    (tmp_path / "empty").touch()
    for name in ("notes.html", "empty", str(older.path / "result.json"), str(older.path / "scores.parquet")):
        before = (tmp_path / name).read_bytes()
        said = f"evalkit: '{tmp_path / name}' is there and was not written by evalkit report: name another file\n"
        assert evalkit("report", str(older.path), "--output", name) == (2, "", said)
        assert (tmp_path / name).read_bytes() == before
    said = f"evalkit: '{tmp_path}' is a folder: name a file in it\n"
    assert evalkit("report", str(older.path), "--output", ".") == (2, "", said)
    assert evalkit("report", str(older.path), "--output", "") == (2, "", "evalkit: --output is empty: name a file\n")


def test_a_page_that_cannot_be_written_is_one_line(evalkit: Run, older: Result, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = evalkit("report", str(older.path), "--output", "file/page.html")
    assert (code, out, err.count("\n")) == (2, "", 1) and "cannot write" in err and "Not a directory" in err


def test_what_is_no_record_is_one_line(evalkit: Run, older: Result, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    for name, said in (
        ("a.zip", "is an archive: unpack it, and give the folder that it holds"),
        ("empty", "holds no finished result: give the folder that evalkit run printed"),
        ("absent", "is not a folder: give the one that evalkit run printed"),
    ):
        assert evalkit("report", name) == (2, "", f"evalkit: '{tmp_path / name}' {said}\n")
    damaged = Path(shutil.copytree(older.path, tmp_path / "damaged"))
    (damaged / "scores.parquet").write_bytes(b"")
    code, out, err = evalkit("report", "damaged")
    assert (code, out, err.count("\n")) == (2, "", 1) and "is not the file that the run wrote" in err
    assert not (damaged / "report.html").exists()


def test_several_results_share_a_page_and_a_comparison_has_its_own(evalkit: Run, older: Result, tmp_path: Path) -> None:
    newer = saved(tmp_path / "newer", values=NEWER)
    assert evalkit("report", "older", "newer") == (0, f"report: {older.path / 'report.html'}\n", "")
    text = (older.path / "report.html").read_text("utf-8")
    assert "musicgen_<wbr>small" in text and "musicgen_<wbr>next" in text
    comparison = compared().save(tmp_path / "comparison")
    code, out, err = evalkit("report", "older", str(comparison.path))
    assert (code, out, err.count("\n")) == (2, "", 1) and "is a page by itself" in err
    metrics = {name: metric(*TITLES[name], protocol="fadtk") for name in TITLES}
    protocol = ProtocolInfo("fadtk", (), {"vggish.hop": 1})
    saved(tmp_path / "other", values=NEWER, metrics=metrics, protocol=protocol)
    code, out, err = evalkit("report", "older", "other")
    assert (code, out, err.count("\n")) == (2, "", 1) and "--across-protocols" in err
    assert evalkit("report", "older", "other", "--across-protocols")[0] == 0
    assert newer.path.is_dir()


def test_sizes_are_read_as_people_write_them() -> None:
    assert [size(text) for text in ("8M", "0", "500k", "1.5 MB", "2g", "12")] == [
        8_000_000, 0, 500_000, 1_500_000, 2_000_000_000, 12,
    ]  # fmt: skip
    for text in ("", "much", "-1M", "1e6", "8X", "9" * 400):
        with pytest.raises(EvalkitError, match="give a size such as 8M"):
            size(text)


def test_python_writes_the_same_page(older: Result, tmp_path: Path) -> None:
    page = package.write_report(older)
    assert page == older.path / "report.html"
    other = package.write_report(str(older.path), tmp_path / "other.html", blind=True)
    assert other.is_file() and package.write_report([older.path]) == page


def test_a_run_that_asks_for_it_ends_by_naming_its_page(evalkit: Run, tmp_path: Path) -> None:
    code, out, err = evalkit("run", *DEMO)
    result, report = out.splitlines()[-2:]
    folder = Path(result.removeprefix("result: "))
    assert (code, err) == (0, "") and report == f"report: {folder / 'report.html'}"
    assert Path(report.removeprefix("report: ")).is_file()
    code, out, err = evalkit("run", *DEMO, "report=false")
    assert (code, err) == (0, "") and out.splitlines()[-1].startswith("result: ")
    assert not (Path(out.splitlines()[-1].removeprefix("result: ")) / "report.html").exists()


@pytest.fixture
def empty_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages say nothing, which takes no time."""
    monkeypatch.setattr("evalkit.page.writing.render", lambda shown: f"<!doctype html>{shown.document.title}")


@pytest.mark.usefixtures("empty_pages")
def test_runs_comparisons_and_scores_write_a_page_where_that_is_asked_for(evalkit: Run, tmp_path: Path) -> None:
    def made(kind: str, *arguments: str) -> str:
        """The folder of the record, which has a page that is named behind it."""
        code, out, err = evalkit(*arguments)
        assert code in (0, 1, 2) and out.count("report: ") == 1, err
        folder = Path(out.splitlines()[-2].removeprefix(f"{kind}: "))
        assert out.splitlines()[-1] == f"report: {folder / 'report.html'}" and (folder / "report.html").is_file()
        return str(folder)

    run = made("result", "run", *SMALL, "report=true")
    made("comparison", "compare", run, run, "--report", "--output", "compared")
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.full(16000, 0.1), 16000)
    made("result", "score", "ours", "theirs", "metric=[silence]", "uncertainty.resamples=0", "report=true")


@pytest.mark.usefixtures("empty_pages")
def test_python_writes_it_where_that_is_asked_for(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = package.evaluate(*SMALL, "report=true", quiet=True)
    assert (result.path / "report.html").is_file()
    assert not (package.compare(result, result, quiet=True).path / "report.html").exists()
    assert (package.compare(result, result, report=True, quiet=True).path / "report.html").is_file()
    assert not (package.evaluate(*SMALL, quiet=True).path / "report.html").exists()


def test_a_run_is_finished_also_where_its_page_cannot_be_written(
    evalkit: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("something is wrong\nwith pages")

    monkeypatch.setattr("evalkit.page.writing.render", broken)
    code, out, err = evalkit("run", *DEMO)
    folder = out.splitlines()[-1].removeprefix("result: ")
    said = f"no report was written (something is wrong with pages): the record is complete; evalkit report {folder}"
    assert (code, err) == (0, f"{said} tries again\n")
    assert Result.load(folder) and said in (Path(folder) / "run.log").read_text("utf-8")


def test_the_default_size_of_clips_is_the_same_everywhere() -> None:
    assert size(DEFAULT) == AUDIO == inspect.signature(package.write_report).parameters["audio_bytes"].default


def test_the_example_of_the_page_on_reports_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "report.md").read_text("utf-8"), re.DOTALL)
    exec(code, {})
    assert len(list(tmp_path.glob("results/runs/*/report.html"))) == 1


def test_a_row_of_a_result_is_no_page(evalkit: Run) -> None:
    code, out, err = evalkit("report", "run::musicgen_small")
    assert (code, out) == (2, "")
    assert err == "evalkit: 'run::musicgen_small': a page shows all rows of a result: give run\n"


def test_a_table_of_sensitivities_that_is_none_is_one_line(evalkit: Run, older: Result, tmp_path: Path) -> None:
    none = tmp_path / "none.csv"
    for text, said in (("a,b\n1,2\n", "is no table of sensitivities"), (None, "cannot be read")):
        if text is not None:
            none.write_text(text)
        else:
            none.unlink()
        status, out, error = evalkit("report", str(older.path), "--sensitivity", str(none))
        assert (status, out) == (2, "") and said in error and error.count("\n") == 1
    table = ROOT / "tests" / "results" / "fixtures" / "sensitivity.csv"
    assert evalkit("report", str(older.path), "--sensitivity", str(table))[0] == 0
