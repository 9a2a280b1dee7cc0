"""evalkit: evaluate text-to-music models under the protocols that published numbers were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.metrics import Metric
    from evalkit.models import Existing, Model
    from evalkit.prompts import Prompts
    from evalkit.results.comparison import Comparison
    from evalkit.results.listening import Listening
    from evalkit.results.result import Result
    from evalkit.results.sweep import Sweep

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "evaluate", "load", "reproduce", "score", "sweep", "write_report"]


def evaluate(
    *overrides: str,
    models: Mapping[str, Model | Existing] | None = None,
    prompts: Prompts | None = None,
    metrics: Mapping[str, Metric] | None = None,
    config_dir: str | None = None,
    quiet: bool = False,
) -> Result:
    """Run the main job from Python with the options of `evalkit run`, and return its result.

    For example `evalkit.evaluate("model=musicgen_small", "prompts=musiccaps", "prompts.first=100")`. What is given as
    an object takes the place of what would be built by default; everything else is as the options say. Objects are
    described in the result's configuration, cached and recorded as what a YAML describes.

    Args:
        overrides: options, KEY=VALUE.
        models, metrics: components by name, which is the row's or the column's name in the table.
        prompts: the prompt set.
        config_dir: a folder of your own YAMLs.
        quiet: show no progress and no warnings; the result's run.log has them. The option engine.quiet does the same.

    Raises evalkit.errors.EvalkitError for a mistake in the options or a missing file.
    """
    from evalkit.objects import Objects, compose_with
    from evalkit.pipeline import evaluate as run

    options = [*overrides, *(["engine.quiet=true"] if quiet else [])]
    return run(*compose_with(options, config_dir, Objects(models or {}, metrics or {}, prompts)))


def score(
    generated: str | Path, references: str | Path, *overrides: str, config_dir: str | None = None, quiet: bool = False
) -> Result:
    """Compare two folders of clips, as `evalkit score` does, and return the result.

    Files need no captions and no common names. FAD, KAD, precision and recall compare the sets, whole files, of any
    numbers; where names are the same on both sides, KLD and chroma similarity compare these pairs.

    Args:
        generated, references: each a folder, or a CSV, TSV or JSONL file with columns id and path.
        overrides: options, KEY=VALUE, such as "metric=[fad]" or "protocol=fadtk".
        config_dir, quiet: as for `evaluate`.

    Raises evalkit.errors.EvalkitError for a folder without audio, and for files that cannot be read, unless
    engine.keep_going=true.
    """
    from evalkit.pipeline import compare

    options = [*overrides, *(["engine.quiet=true"] if quiet else [])]
    return compare(str(generated), str(references), options, config_dir)


def compare(
    baseline: Result | str | Path | Sequence[Result | str | Path],
    candidate: Result | str | Path | Sequence[Result | str | Path],
    gate: str | Path | None = None,
    *,
    allow_random: bool = False,
    common_prompts: bool = False,
    allow: Sequence[str] = (),
    trackers: Sequence[str] = (),
    report: bool = False,
    config_dir: str | None = None,
    output_dir: str | Path = "results/comparisons",
    quiet: bool = False,
) -> Comparison:
    """Compare a candidate with a baseline, as `evalkit compare` does, and return the record of the comparison.

    For example `evalkit.compare(before, after).metrics`. What differs is measured prompt by prompt; `outcome` is what
    the gate says: "GO", "NO-GO" or "INCONCLUSIVE".

    Args:
        baseline, candidate: one or several of: a result, the folder of one, "RESULT::ROW" for one of several rows, and
            a file with options of `evalkit run`, one a line, which is run first and takes what it does not say from the
            other side. Several results of a side count as clusters.
        gate: a YAML of limits; None for the gate that comes with evalkit.
        allow_random: whether random weights may be a GO.
        common_prompts: whether to compare on the prompts that both sides have, where they have not the same.
        allow: packages of your own whose metrics may be computed again, and whose trackers may be used.
        trackers: experiment trackers that the comparison is sent to, such as ["mlflow"].
        report: whether to write report.html into its folder, as `write_report` does.
        config_dir, quiet: as for `evaluate`, of the runs that are made.
        output_dir: where the folder of the comparison is made.

    Raises evalkit.errors.EvalkitError for what cannot be read, run or compared. Sides that differ in more than their
    checkpoint are INCONCLUSIVE, with the reason.
    """
    from evalkit.comparing import compare as run

    return run(
        baseline,
        candidate,
        gate,
        allow_random=allow_random,
        common_prompts=common_prompts,
        allow=allow,
        trackers=trackers,
        report=report,
        config_dir=config_dir,
        output_dir=output_dir,
        quiet=quiet,
    )


def reproduce(
    model: str, *overrides: str, seeds: int | None = None, config_dir: str | None = None, quiet: bool = False
) -> Result:
    """Measure again what was published for a model, as `evalkit reproduce` does, and return the result.

    For example `evalkit.reproduce("musicgen_small", "prompts.references=CLIPS").scores`, whose columns `verdict` and
    `verdict_reason` say what came of it. Protocol, prompts, sampling, duration and metrics are those of the source of
    the published numbers.

    Args:
        model: the name of a YAML of conf/model, or of your own.
        overrides: options of `evalkit run`, KEY=VALUE, which win over what was published.
        seeds: clips of each prompt; None for 3, and for 1 of a folder of clips.
        config_dir, quiet: as for `evaluate`.

    Raises evalkit.errors.EvalkitError for a model without published numbers, a mistake in the options or a missing
    file.
    """
    from evalkit.reproducing import reproduce as run

    return run(model, [*overrides, *(["engine.quiet=true"] if quiet else [])], seeds, config_dir)


def sweep(
    *overrides: str,
    search: str = "grid",
    trials: int | None = None,
    race: str | None = None,
    objectives: str | Sequence[str] = (),
    margins: Mapping[str, float] | None = None,
    study: str | Path | None = None,
    confirm: bool = True,
    config_dir: str | None = None,
    quiet: bool = False,
) -> Sweep:
    """Measure every combination of options, as `evalkit sweep` does, and return the record of the sweep.

    For example `evalkit.sweep("model=musicgen_small", "prompts=musiccaps", "sampling.guidance_scale=1,2,3,4").scores`.
    A point that fails is a row of `points` with its reason.

    Args:
        overrides: options, KEY=VALUE; several values of one as A,B,C or range(START,STOP,STEP), and for optuna also as
            interval(LOW,HIGH).
        search: "grid" for every combination, or "optuna", which chooses `trials` points by what it has seen.
        trials: number of points in all, with those of the study.
        race: numbers of prompts such as "50,200,all": points that others beat for certain are not measured on more.
        objectives: the metric, or metrics, by which points are judged; the first one has a winner. If there are none,
            those of fad, kld and clap_score that are measured.
        margins: by how much a point must be worse in an objective to be dropped from a race.
        study: the file in which optuna keeps its study, to go on from it.
        confirm: whether the winner and the default are measured again on a fresh seed.
        config_dir, quiet: as for `evaluate`.

    Raises evalkit.errors.EvalkitError for what can be known to be wrong before the first point, and where no point
    could be measured.
    """
    from evalkit.sweeping.checking import Asked
    from evalkit.sweeping.race import rungs
    from evalkit.sweeping.sweep import make

    asked = Asked(
        search=search,
        trials=trials,
        race=rungs(race) if race is not None else (),
        objectives=[objectives] if isinstance(objectives, str) else objectives,
        margins=margins or {},
        study=Path(study) if study is not None else None,
        confirm=confirm,
    )
    return make([*overrides, *(["engine.quiet=true"] if quiet else [])], asked, config_dir).sweep


def load(path: str | Path) -> Any:
    """Read a result, a comparison, a sweep or a listening test from the folder that evalkit printed.

    It is an `evalkit.results.result.Result`, an `evalkit.results.comparison.Comparison`, an
    `evalkit.results.sweep.Sweep` or an `evalkit.results.listening.Listening`; an unpacked `evalkit pack` is read
    likewise. Nothing else is needed: no cache, no weights, no network. Raises
    evalkit.errors.EvalkitError for a folder without a finished record, and for a file that is missing or damaged.
    """
    from evalkit.results.loading import load as read

    return read(path)


def write_report(
    records: Result
    | Comparison
    | Sweep
    | Listening
    | str
    | Path
    | Sequence[Result | Comparison | Sweep | Listening | str | Path],
    output: str | Path | None = None,
    *,
    blind: bool = False,
    audio_bytes: int = 8_000_000,
    across_protocols: bool = False,
    sensitivity: str | Path | None = None,
) -> Path:
    """Write a page to look at and listen to, as `evalkit report` does, and return where it is.

    Args:
        records: a result, a comparison, a sweep or a listening test, or its folder; or several: results that fit into
            one table, and listening tests beside them.
        output: the HTML file; None for report.html in the first record's folder.
        blind: hide names and numbers until they are asked for.
        audio_bytes: how large the clips inside of the page may be in all; others are linked.
        across_protocols: whether results of different protocols may stand in one table.
        sensitivity: a table of what metrics notice that you have measured; None for the one that comes with evalkit.

    Raises evalkit.errors.EvalkitError for a folder without a record, a table that is none, records that do not fit into
    one page, a file that is there and is no such page, and where nothing can be written.
    """
    from evalkit.page.writing import write

    given = [records] if not isinstance(records, Sequence) or isinstance(records, str) else records
    return write(
        [load(one) if isinstance(one, (str, Path)) else one for one in given],
        Path(output) if output is not None else None,
        audio_bytes=audio_bytes,
        blind=blind,
        across_protocols=across_protocols,
        sensitivity=Path(sensitivity) if sensitivity is not None else None,
    )
