"""docs/metrics.md: an entry for every metric, with the licences of its weights, and costs that were measured."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from evalkit.assets import assets_of
from evalkit.config import build, compose
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
YAMLS = sorted(path.stem for path in (ROOT / "conf" / "metric").glob("*.yaml"))
FIELDS = ["For", "Misses", "Weights", "Cost", "Listeners"]
# networks whose seconds the benchmark of metrics has, by the metric that it ran them for
MEASURED = {
    "VGGish": "fad",
    "PaSST": "kld",
    "CLAP (LAION, music)": "clap_score",
    "Audiobox Aesthetics": "production_quality",
    "MERT-v1-95M": "fad_mert",
    "MuQ": "fad_muq",
}


def section(title: str) -> str:
    """What stands under a heading, up to the next one of any level."""
    return PAGE.split(f"# {title}\n", 1)[1].split("\n#", 1)[0]


def fields_of(name: str) -> dict[str, str]:
    """The fields of a metric's entry, in their order."""
    items = re.split(r"^- \*\*", section(name), flags=re.MULTILINE)[1:]
    return dict(" ".join(item.split()).split(":** ", 1) for item in items)


def rows(title: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def metrics() -> dict[str, Mapping[str, Any]]:
    """The metrics that each YAML holds, by their names."""
    whole = compose(["model=synth", "prompts=demo", f"metric=[{','.join(YAMLS)}]"]).metric
    built = {str(name): build(node) for name, node in whole.items()}
    text = {name: (ROOT / "conf" / "metric" / f"{name}.yaml").read_text("utf-8") for name in YAMLS}
    return {
        name: {key: built[key] for key in re.findall(r"^(\w+):$", text[name], re.MULTILINE) if key != "defaults"}
        for name in YAMLS
    }


def test_the_table_and_the_entries_are_of_all_metrics() -> None:
    listed = [re.sub(r"\[`(\w+)`\]\(#\1\)", r"\1", row[0]) for row in rows("All metrics")]
    entries = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert listed == entries and sorted(entries) == YAMLS
    assert all(len(line) <= 100 for line in section("All metrics").splitlines() if line.startswith("|"))


@pytest.mark.parametrize("name", YAMLS)
def test_every_entry_says_the_same_things(name: str) -> None:
    fields = fields_of(name)
    assert list(fields) == FIELDS
    assert all(len(value) > 3 and value.endswith(".") for value in fields.values())


def test_entries_name_their_metrics_and_the_licences_of_their_weights(metrics: Any) -> None:
    networks = " ".join(row[3] for row in rows("What the networks hear"))
    for name, several in metrics.items():
        assert several
        assert len(several) == 1 or all(f"`{one}`" in section(name) for one in several), name
        said = fields_of(name)["Weights"]
        licences = {asset.licence.removeprefix("not declared ") for asset in assets_of(*several.values())}
        assert licences or said == "none."
        for licence in licences:
            assert licence in said and licence in networks, (name, licence)


def test_quoted_costs_are_those_that_were_measured() -> None:
    stages = json.loads((ROOT / "results" / "benchmarks" / "metrics_cpu.json").read_text("utf-8"))["stages"]
    quoted = {row[0]: row[5] for row in rows("What the networks hear")}
    assert {name for name, seconds in quoted.items() if seconds != "–"} <= MEASURED.keys()
    for name, key in MEASURED.items():
        if quoted[name] != "–":
            assert sum(stages[key]["evalkit"].values()) == pytest.approx(float(quoted[name]), rel=0.3)
