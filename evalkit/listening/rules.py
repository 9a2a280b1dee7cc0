"""Whose answers count: rules that are fixed in a YAML before the first answer is there, applied in order.

A rule is a function of the answers that the rules before it have left, with its settings as further arguments; it
says which raters, and which answers of others, it excludes. A new rule is a function and its name in `RULES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from evalkit.errors import EvalkitError, unknown
from evalkit.listening import form
from evalkit.settings import conf_dir

DEFAULT = "default"
BothBad = Literal["tie", "drop"]
DRAWS = (200, 20_000)  # the fewest and the most


@dataclass(frozen=True)
class Material:
    """What rules may look at.

    Attributes:
        answers: those that are left, as `evalkit.results.listening_record.ListeningRecord.answers`.
        method: "rating" or "pairs".
        roles: of systems: "system", "reference" or "control".
        asked: how many answers each rater was asked for.
    """

    answers: pd.DataFrame
    method: str
    roles: Mapping[str, str]
    asked: Mapping[str, int]

    def of(self, role: str) -> pd.DataFrame:
        """Ratings of clips of one role."""
        return self.answers[self.answers["system"].map(self.roles) == role]


@dataclass(frozen=True)
class Found:
    """Whom a rule excludes.

    Attributes:
        raters: why, by their names.
        answers: labels of rows of the frame of answers.
        note: why the rule says nothing here, or of some; empty otherwise.
    """

    raters: Mapping[str, str] = field(default_factory=dict)
    answers: Sequence[Any] = ()
    note: str = ""


def unfinished(material: Material, *, least: float = 0.9) -> Found:
    """Raters who answered less than a share of what they were asked."""
    given = material.answers.groupby("rater").size()
    shares = {rater: int(given.get(rater, 0)) / n for rater, n in material.asked.items() if n}
    return Found({rater: f"answered {share:.0%}" for rater, share in shares.items() if share < least})


def too_fast(material: Material, *, seconds: float = 3, share: float = 1) -> Found:
    """Answers in less than some seconds, and raters of whom more than a share are such."""
    return _of_answers(material, material.answers["seconds"] < seconds, share, f"under {seconds:g} s")


def heard(material: Material, *, least: float = 0.8, share: float = 1) -> Found:
    """Answers to clips of which less than a share was played, and raters of whom more than a share are such."""
    least_heard = material.answers[["heard", "second_heard"]].min(axis=1)  # NaN of ratings is left out
    return _of_answers(material, least_heard < least, share, "not played through")


def _of_answers(material: Material, bad: pd.Series, share: float, what: str) -> Found:
    shares = bad.groupby(material.answers["rater"]).mean()
    raters = {str(rater): f"{part:.0%} of answers {what}" for rater, part in shares.items() if part > share}
    return Found(raters, list(material.answers.index[bad & ~material.answers["rater"].isin(raters)]))


def flat(material: Material, *, deviation: float = 5, share: float = 0.95, least_items: float = 8) -> Found:
    """Raters whose ratings hardly vary; of pairs, who nearly always choose the same side."""
    found = {}
    for rater, answers in material.answers.groupby("rater"):
        if len(answers) < least_items:
            continue
        if material.method == "rating":
            spread = float(answers["rating"].std())
            if spread < deviation:
                found[str(rater)] = f"ratings vary by {spread:.1f}"
        else:
            # ties are no side: who hears no difference between alike systems is not careless
            part = max(float((answers["choice"] == side).mean()) for side in ("first", "second"))
            if part > share:
                found[str(rater)] = f"{part:.0%} of choices are for the same side"
    return Found(found)


def reference(material: Material, *, below: float = 90, share: float = 0.15, least_items: float = 1) -> Found:
    """Raters who rate hidden references too low, too often."""
    if material.method != "rating":
        return Found(note="it is about ratings: nobody was excluded")
    return _too_often(material.of("reference"), lambda rated: rated < below, share, least_items, "references", "below")


def control(material: Material, *, above: float = 50, share: float = 0.5, least_items: float = 1) -> Found:
    """Raters who rate bad controls too high, too often; of pairs, who too often do not prefer other clips to them."""
    if material.method == "rating":
        return _too_often(material.of("control"), lambda rated: rated > above, share, least_items, "controls", "above")
    roles = material.answers[["system", "second_system"]].apply(lambda names: names.map(material.roles)) == "control"
    met = material.answers[roles["system"] != roles["second_system"]]
    if met.empty:
        return Found(note="nobody heard a bad control: nobody was excluded")
    right = roles.loc[met.index, "system"].map({True: "second", False: "first"})
    found = {}
    for rater, wrong in (met["choice"] != right).groupby(met["rater"]):
        if len(wrong) >= least_items and wrong.mean() > share:
            found[str(rater)] = f"did not prefer the other clip to {wrong.sum()} of {len(wrong)} controls"
    return Found(found)


def _too_often(
    answers: pd.DataFrame, bad: Callable[[pd.Series], pd.Series], share: float, least_items: float, what: str, how: str
) -> Found:
    if answers.empty:
        return Found(note=f"nobody heard hidden {what}: nobody was excluded")
    found = {}
    for rater, wrong in bad(answers["rating"]).groupby(answers["rater"]):
        if len(wrong) >= least_items and wrong.mean() > share:
            found[str(rater)] = f"{wrong.sum()} of {len(wrong)} hidden {what} rated {how} the limit"
    return Found(found)


def told_apart(material: Material, *, least: float = 15, least_items: float = 2) -> Found:
    """Raters whose ratings of references, or of systems where there are none, hardly exceed those of bad controls."""
    if material.method != "rating":
        return Found(note="it is about ratings: nobody was excluded")
    controls = material.of("control")
    good = material.of("reference")
    good = good if len(good) else material.of("system")
    if controls.empty or good.empty:
        return Found(note="nobody heard a bad control: nobody was excluded")
    bad, better = controls.groupby("rater")["rating"], good.groupby("rater")["rating"]
    enough = (bad.size() >= least_items) & (better.size() >= least_items)
    gap = (better.mean() - bad.mean())[enough.reindex(better.mean().index, fill_value=False)]
    return Found(
        {str(rater): f"good clips rated only {points:+.1f} above bad controls" for rater, points in gap.items()
         if points < least}
    )  # fmt: skip


def outliers(material: Material, *, z: float = 3.29) -> Found:
    """Ratings so many standard deviations from the mean of all ratings of the same system."""
    if material.method != "rating":
        return Found(note="it is about ratings: nothing was excluded")
    of = material.answers.groupby("system")["rating"]
    far = (material.answers["rating"] - of.transform("mean")).abs() >= z * of.transform("std")
    return Found(answers=list(material.answers.index[far & (of.transform("std") > 0)]))


RULES: Mapping[str, Callable[..., Found]] = {
    rule.__name__: rule for rule in (unfinished, too_fast, heard, flat, reference, control, told_apart, outliers)
}


@dataclass(frozen=True)
class Rules:
    """How a study is analysed, all of it fixed beforehand.

    Attributes:
        name: of the file, for what is said of it.
        rules: names with their settings, in order, all defaults filled in.
        level: of intervals and verdicts.
        resamples, seed: of draws of raters and prompts.
        least_raters, least_prompts: with fewer there are no intervals and no verdicts.
        both_bad: what "both bad" counts as.
    """

    name: str
    rules: Sequence[tuple[str, Mapping[str, float]]]
    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    least_raters: int = 5
    least_prompts: int = 5
    both_bad: BothBad = "tie"

    def plain(self) -> dict[str, Any]:
        """Write all of it as a JSON-like value."""
        names = ("name", "level", "resamples", "seed", "least_raters", "least_prompts", "both_bad")
        rules = [{"rule": name, **settings} for name, settings in self.rules]
        return {**{name: getattr(self, name) for name in names}, "rules": rules}


def load(given: str = DEFAULT) -> Rules:
    """Read rules: a file, or the name of one that comes with evalkit.

    Raises EvalkitError, with the name of the file, for one that cannot be read, a rule or a setting that there is not,
    and a value that it cannot have.
    """
    own = conf_dir() / "listening"
    file = Path(given).expanduser()
    if not file.is_file():
        names = [path.stem for path in own.glob("*.yaml")]
        if given not in names:
            if file.suffix or len(file.parts) > 1:
                raise EvalkitError(f"no rules '{given}': give a file, or one of {', '.join(sorted(names))}")
            raise unknown("rules", given, names)
        file = own / f"{given}.yaml"
    try:
        node = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise EvalkitError(f"the rules '{file}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EvalkitError(f"the rules '{file}' are no YAML: {' '.join(str(error).split())}") from error
    try:
        return parsed(node, file.name)
    except EvalkitError as error:
        raise EvalkitError(f"the rules '{file}': {error}") from error


def parsed(node: Any, name: str) -> Rules:
    """Make rules of plain values. Raises EvalkitError for a key that there is not, and a value that it cannot have."""
    known = ("level", "resamples", "seed", "least_raters", "least_prompts", "both_bad", "rules")
    if not isinstance(node, dict) or not isinstance(node.get("rules"), list):
        raise EvalkitError("must hold a list of rules, which may be empty")
    for key in node:
        if key not in known:
            raise unknown("key", str(key), known)
    made = Rules(name, [_rule(one, number) for number, one in enumerate(node["rules"], 1)],
                 **{key: value for key, value in node.items() if key != "rules"})  # fmt: skip
    for fits, message in (
        (form.finite(made.level) and 0.5 < made.level < 1, "level must be between 0.5 and 1, such as 0.95"),
        (
            type(made.resamples) is int and DRAWS[0] <= made.resamples <= DRAWS[1],
            f"resamples must be {DRAWS[0]} to {DRAWS[1]}",
        ),
        (type(made.seed) is int and made.seed >= 0, "seed must be a whole number, not negative"),
        (type(made.least_raters) is int and made.least_raters >= 3, "least_raters must be at least 3"),
        (type(made.least_prompts) is int and made.least_prompts >= 3, "least_prompts must be at least 3"),
        (made.both_bad in ("tie", "drop"), "both_bad must be tie or drop"),
    ):
        if not fits:
            raise EvalkitError(message)
    return made


def _rule(node: Any, number: int) -> tuple[str, Mapping[str, float]]:
    """Check one rule, and fill in the defaults of its settings."""
    if not isinstance(node, dict) or not isinstance(node.get("rule"), str):
        raise EvalkitError(f"rule {number} has no name: write it as {{rule: NAME, …}}")
    name = node["rule"]
    if name not in RULES:
        raise unknown("rule", name, RULES)
    settings = {
        key: parameter.default
        for key, parameter in inspect.signature(RULES[name]).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for key, value in node.items():
        if key == "rule":
            continue
        if key not in settings:
            raise unknown(f"setting of {name}", str(key), settings)
        if not form.finite(value) or value < 0:
            raise EvalkitError(f"{name}: {key} is {value!r}: must be a number, not negative")
        if key == "share" and value > 1:
            raise EvalkitError(f"{name}: share is {value!r}: must be from 0 to 1")
        settings[key] = value
    return name, settings


def applied(rules: Rules, material: Material) -> tuple[pd.Series, list[dict[str, Any]], dict[str, tuple[str, str]]]:
    """Apply rules in order to all answers.

    Returns by which rule each answer is excluded, empty for those that count; the rows of
    `ListeningRecord.exclusions`; and by rater who is excluded, the rule and why.
    """
    excluded = pd.Series("", index=material.answers.index, dtype="str")
    raters: dict[str, tuple[str, str]] = {}
    rows = []
    for name, settings in rules.rules:
        left = material.answers[excluded == ""]
        asked = {rater: n for rater, n in material.asked.items() if rater not in raters}
        found = RULES[name](Material(left, material.method, material.roles, asked), **settings)
        gone = left.index[left["rater"].isin(found.raters) | left.index.isin(found.answers)]
        excluded[gone] = name
        raters |= {rater: (name, why) for rater, why in found.raters.items()}
        rows.append(
            {
                "rule": name,
                "settings": ", ".join(f"{key} {value:g}" for key, value in settings.items()),
                "raters": len(found.raters),
                "answers": len(gone),
                "who": "\n".join(found.raters),
                "note": found.note,
            }
        )
    return excluded, rows, raters
