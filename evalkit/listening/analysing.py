"""From a study and its answers to a record: who counts, what systems are rated, and how sure that is."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.listening import correlating
from evalkit.listening.gathered import Choices, Ratings, choices, frame, ratings
from evalkit.listening.reading import Answers
from evalkit.listening.rules import Material, Rules, applied
from evalkit.listening.study import Study
from evalkit.report.numbers import p_value, signed
from evalkit.results.frames import typed
from evalkit.results.listening import FRAMES, Listening
from evalkit.results.listening_record import AnswersInfo, SystemInfo
from evalkit.stats import agreement, bradley_terry, crossed
from evalkit.stats.crossed import Draws, Statistic
from evalkit.stats.estimate import Estimate
from evalkit.stats.permutation import holm
from evalkit.stats.ratings import contrasts, effects, means
from evalkit.store.provenance import provenance

ALPHA_DRAWS = 300
SAID = 6  # differences that are findings
FAMILIES = {"systems": ("system", "system"), "with reference": ("reference", "system")}
OF_MEANS = "differences of means over all ratings, because not all systems are joined by pages that have several"


def analyse(study: Study, files: Sequence[Answers], rules: Rules) -> Listening:
    """Analyse the answers to a study by rules that were fixed before."""
    used = [one for one in files if one.used]
    infos = [_info(name, facts) for name, facts in study.facts["systems"].items()]
    roles = {info.name: info.role for info in infos}
    answers = frame(study, used)
    asked: Counter[str] = Counter()
    for one in used:
        pages = study.facts["sessions"][one.session]["pages"]
        asked[one.rater] += len(pages) if study.pairs else sum(map(len, pages))
    excluded, exclusions, out = applied(rules, Material(answers, study.method, roles, asked))
    answers["excluded"] = excluded
    kept = answers[excluded == ""]
    dropped = 0
    if study.pairs and rules.both_bad == "drop":
        dropped = int((kept["choice"] == "both_bad").sum())
        kept = kept[kept["choice"] != "both_bad"]
    people = sorted(set(asked) - set(out))
    raters, prompts = sorted(set(kept["rater"])), sorted(set(kept["prompt"]))
    judged = len(raters) >= rules.least_raters and len(prompts) >= rules.least_prompts
    names = [info.name for info in infos]
    drawn = crossed.draws(max(1, len(raters)), max(1, len(prompts)), rules.resamples, rules.seed)
    data: Choices | Ratings
    if study.pairs:
        data = chosen = choices(kept, names, raters, prompts)
        systems, differences, readiness = _of_pairs(chosen, roles, drawn, rules, judged)
    else:
        data = rated = ratings(kept, names, raters, prompts)
        systems, differences = _of_ratings(rated, roles, drawn, rules, judged, study.facts["scale"])
        readiness = math.nan
    systems["control"] = [info.control for info in infos]
    alpha, low, high = _agreement(kept, study.method, prompts, rules)
    scores = correlating.scores_of(study.facts["systems"])
    correlations, remarks = correlating.correlations(data, systems, scores, infos, drawn, rules, judged)
    about = provenance("cpu")
    return Listening(
        study=study.facts["study"],
        study_sha256=study.sha256,
        axis=study.axis,
        method=study.method,
        scale=[float(bound) for bound in study.facts["scale"]],
        loudness=float(level) if isinstance(level := study.facts.get("level"), int | float) else math.nan,
        dataset=str(study.facts.get("dataset", "")),
        subset=str(study.facts.get("subset", "")),
        protocol=str(study.facts.get("protocol", "")),
        level=rules.level,
        resamples=rules.resamples,
        seed=rules.seed,
        rules=rules.plain(),
        judged=judged,
        reasons=list(_reasons(differences, judged, rules, len(raters), len(prompts))),
        warnings=list(_warnings(scores)),
        remarks=[*_remarks(study, files, people, raters, rules, dropped, exclusions), *_unjoined(systems), *remarks],
        sessions=len(study.facts["sessions"]),
        raters_asked=len(asked),
        raters_kept=len(people),
        prompts={id: _caption(study.facts["prompts"].get(id)) for id in prompts},
        alpha=alpha,
        alpha_low=low,
        alpha_high=high,
        tie_readiness=readiness,
        infos=infos,
        files=[AnswersInfo(one.name, one.sha256, one.session, one.finished, one.used) for one in files],
        provenance={key: about[key] for key in ("commit", "dirty", "python", "packages")},
        systems=_typed("systems", systems),
        differences=_typed("differences", differences),
        correlations=_typed("correlations", correlations),
        raters=_typed("raters", _raters(answers, used, out)),
        exclusions=_typed("exclusions", exclusions),
        answers=_typed("answers", answers),
        scores=_typed("scores", scores),
        path=Path(),
    )


def _typed(name: str, rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    columns = FRAMES[name]
    made = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=None if rows else list(columns))
    return typed(made, columns)


def _info(name: str, facts: Mapping[str, Any]) -> SystemInfo:
    said = {key: str(facts.get(key) or "") for key in ("role", "control", "row", "path", "sha256")}
    return SystemInfo(name, **said)


def _caption(facts: Any) -> str:
    return str(facts.get("caption", "")) if isinstance(facts, Mapping) else str(facts or "")


def _of_ratings(
    data: Ratings, roles: Mapping[str, str], drawn: Draws, rules: Rules, judged: bool, scale: Sequence[float]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The mean rating of each system, and how far any two differ on the same pages."""
    found = _estimates(means(data.sums, data.counts), drawn, judged, len(data.systems))
    systems = pd.DataFrame(
        [
            {"system": name, "role": roles[name], **_bounds(one, rules, judged, scale), **data.about(k)}
            for k, (name, one) in enumerate(zip(data.systems, found, strict=True))
        ]
    )
    # controls are bad on purpose, and join no systems that nothing else does
    compared = [k for k, name in enumerate(data.systems) if roles[name] != "control" and data.counts[k].any()]
    pairs = list(_pairs(systems, roles, compared))
    note, statistic = "", effects(data.sums[compared], data.counts[compared])
    if compared and not all(math.isfinite(one.value) for one in crossed.without_errors(statistic, drawn)):
        note, statistic = OF_MEANS, means(data.sums[compared], data.counts[compared])
    rows = _differences(statistic, compared, pairs, data.systems, drawn, rules, judged)
    for row, (_, i, j) in zip(rows, pairs, strict=True):
        both = (data.counts[i] > 0) & (data.counts[j] > 0)
        gap = (data.values(i) - data.values(j))[both]
        row |= {"n": int(both.sum()), "note": note}
        row["better"] = float((gap > 0).mean() + (gap == 0).mean() / 2) if len(gap) else math.nan
    return systems, rows


def _of_pairs(
    data: Choices, roles: Mapping[str, str], drawn: Draws, rules: Rules, judged: bool
) -> tuple[pd.DataFrame, list[dict[str, Any]], float]:
    """The strength of each system, and how far the strengths of any two differ."""
    played = data.played
    met = [k for k in range(len(data.systems)) if played[k].any()]
    joined = bool(met) and bradley_terry.connected(played[np.ix_(met, met)].sum(axis=(2, 3)))
    wins, ties = data.wins[np.ix_(met, met)], data.ties[np.ix_(met, met)]
    shares, readiness = np.full(len(met), math.nan), math.nan
    statistic = bradley_terry.strengths(wins, ties)
    found = _estimates(statistic, drawn, judged and joined, len(met))
    if joined and len(met) > 1:
        fitted, tie = bradley_terry.fit(wins.sum(axis=(2, 3)), ties.sum(axis=(2, 3)))
        shares, readiness = bradley_terry.shares(fitted, tie), math.exp(float(tie))
    rows = []
    for k, name in enumerate(data.systems):
        one = {"value": math.nan, "low": math.nan, "high": math.nan, "error": math.nan, "df": math.nan}
        if k in met and joined:
            one = _bounds(found[met.index(k)], rules, judged, (-math.inf, math.inf))
        share = shares[met.index(k)] if k in met else math.nan
        rows.append({"system": name, "role": roles[name], **one, **data.about(k), "share": float(share)})
    systems = pd.DataFrame(rows)
    compared = [k for k in met if roles[data.systems[k]] != "control"] if joined else []
    pairs = list(_pairs(systems, roles, compared))
    differences = _differences(statistic, met, pairs, data.systems, drawn, rules, judged)
    for row, (_, i, j) in zip(differences, pairs, strict=True):
        won, tied, n = data.wins[i, j].sum(), data.ties[i, j].sum(), played[i, j].sum()
        note = "" if n else "never compared with each other: the difference is by way of other systems"
        row |= {"n": int(n), "better": float((won + tied / 2) / n) if n else math.nan, "note": note}
    return systems, differences, readiness


def _estimates(statistic: Statistic, drawn: Draws, judged: bool, number: int) -> list[Estimate]:
    """Estimate a statistic; without errors where nothing is said of them."""
    if not number:
        return []
    return crossed.estimates(statistic, drawn) if judged else crossed.without_errors(statistic, drawn)


def _bounds(one: Estimate, rules: Rules, judged: bool, within: Sequence[float]) -> dict[str, float]:
    low, high = one.interval(rules.level) if judged else (math.nan, math.nan)
    if math.isfinite(low) and math.isfinite(high):
        low, high = max(low, within[0]), min(high, within[1])
    return {"value": one.value, "low": low, "high": high, "error": one.error, "df": one.df}


def _pairs(systems: pd.DataFrame, roles: Mapping[str, str], compared: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Which systems are compared, by family, with their places: the one of the higher value first."""
    order = [k for k in systems["value"].sort_values(ascending=False, kind="stable").index if k in compared]
    for family, wanted in FAMILIES.items():
        for i, j in itertools.combinations(order, 2):
            if tuple(sorted((roles[systems["system"][i]], roles[systems["system"][j]]))) == wanted:
                yield family, i, j


def _differences(
    statistic: Statistic,
    places: Sequence[int],
    pairs: Sequence[tuple[str, int, int]],
    names: Sequence[str],
    drawn: Draws,
    rules: Rules,
    judged: bool,
) -> list[dict[str, Any]]:
    """How far systems differ, with Holm's correction within each family; without it where nothing is judged."""
    at = {place: k for k, place in enumerate(places)}
    asked = [(at[i], at[j]) for _, i, j in pairs]
    found = _estimates(contrasts(statistic, asked), drawn, judged, len(asked))
    rows: list[dict[str, Any]] = []
    for (family, i, j), one in zip(pairs, found, strict=True):
        bounds = _bounds(one, rules, judged, (-math.inf, math.inf))
        rows.append(
            {
                **{"first": names[i], "second": names[j], "family": family, "difference": bounds.pop("value")},
                **{**bounds, "p": one.p() if judged else math.nan},
            }
        )
    for family in FAMILIES:
        own = [row for row in rows if row["family"] == family]
        for row, adjusted in zip(own, holm(np.array([row["p"] for row in own], np.float64)), strict=True):
            told = adjusted < 1 - rules.level
            verdict = ("better" if row["difference"] > 0 else "worse") if told else "not told apart"
            row |= {"p_holm": float(adjusted), "verdict": "" if math.isnan(adjusted) else verdict}
    return rows


def _agreement(kept: pd.DataFrame, method: str, prompts: Sequence[str], rules: Rules) -> tuple[float, float, float]:
    """Krippendorff's ordinal alpha over clips, or over pairs of clips, with its interval over prompts."""
    if method == "pairs":
        turned = kept["item"] > kept["second_item"]
        scale = kept["choice"].map({"first": 1.0, "tie": 0.0, "second": -1.0})
        values, units = scale.where(~turned, -scale), kept["item"].where(~turned, kept["second_item"])
        units = units + "\n" + kept["second_item"].where(~turned, kept["item"])
    else:
        values, units = kept["rating"], kept["item"]
    table = pd.DataFrame({"unit": units, "rater": kept["rater"], "value": values, "prompt": kept["prompt"]})
    table = table.dropna(subset=["value"]).groupby(["unit", "rater", "prompt"])["value"].median().reset_index()
    if table.empty:
        return math.nan, math.nan, math.nan
    wide = table.pivot(index="rater", columns="unit", values="value")
    counts = agreement.counted(wide.to_numpy(np.float64))
    of_units = dict(zip(table["unit"], table["prompt"], strict=True))
    groups = np.array([prompts.index(of_units[unit]) for unit in wide.columns])
    alpha = agreement.ordinal_alpha(counts)
    if math.isnan(alpha) or len(prompts) < rules.least_prompts:
        return alpha, math.nan, math.nan
    drawn = crossed.draws(1, len(prompts), ALPHA_DRAWS, rules.seed).prompts
    return (alpha, *agreement.alpha_interval(counts, groups, drawn, rules.level))


def _raters(answers: pd.DataFrame, used: Sequence[Answers], out: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """One row per rater."""
    rows = []
    by_item = answers.groupby("item")["rating"]
    others = (by_item.transform("sum") - answers["rating"]) / (by_item.transform("count") - 1).replace(0, np.nan)
    for rater in sorted({one.rater for one in used}):
        own = answers[answers["rater"] == rater]
        mine = [one for one in used if one.rater == rater]
        worn = {one.facts.get("headphones") for one in mine} - {None}
        pair = pd.DataFrame({"own": own["rating"], "others": others[own.index]}).dropna()
        varied = len(pair) > 2 and (pair.std() > 0).all()
        rule, why = out.get(rater, ("", ""))
        rows.append(
            {
                "rater": rater,
                "sessions": ", ".join(one.session for one in mine),
                "answers": len(own),
                "kept": int((own["excluded"] == "").sum()),
                "excluded": rule,
                "reason": why,
                "mean": float(own["rating"].mean()),
                "sd": float(own["rating"].std()),
                "agreement": float(np.corrcoef(pair["own"], pair["others"])[0, 1]) if varied else math.nan,
                "headphones": "yes" if worn == {True} else "no" if worn == {False} else "",
            }
        )
    return rows


def _reasons(
    differences: Sequence[Mapping[str, Any]], judged: bool, rules: Rules, raters: int, prompts: int
) -> Iterator[str]:
    """What was found, or why nothing is said."""
    if not judged:
        for n, least, noun in ((raters, rules.least_raters, "rater"), (prompts, rules.least_prompts, "prompt")):
            if n < least:
                yield (
                    f"{n} {noun}{' is' if n == 1 else 's are'} left after exclusion, and {least} are needed: "
                    "no intervals, no verdicts."
                )
        return
    own = [row for row in differences if row["family"] == "systems"]
    told = [row for row in own if row["verdict"] == "better"]
    for row in told[:SAID]:
        by = signed(row["difference"], 2 if abs(row["difference"]) < 10 else 1)
        p = p_value(row["p_holm"])
        yield f"{row['first']} is better than {row['second']}: {by}, p {p if p.startswith('<') else f'= {p}'}."
    if len(told) > SAID:
        yield f"{len(told) - SAID} more pairs of systems are told apart: see below."
    if own and not told:
        yield "No two systems are told apart: more raters or more prompts may."


def _unjoined(systems: pd.DataFrame) -> Iterator[str]:
    """Say where nothing could be computed although there are answers."""
    if systems["value"].isna().all() and systems["n"].any():
        yield (
            "not all systems were compared, directly or by way of others: there are no strengths that hold for all of "
            "them"
        )


def _warnings(scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    random = [row for row in scores if row["random"]]
    if random:
        titles, systems = ({row[key]: None for row in random} for key in ("title", "system"))
        what = f"{', '.join(titles)} of {', '.join(systems)}"
        yield f"Random weights are behind {what}: the metrics' numbers mean nothing, nor do correlations with them."


def _remarks(
    study: Study,
    files: Sequence[Answers],
    people: Sequence[str],
    raters: Sequence[str],
    rules: Rules,
    dropped: int,
    exclusions: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """What else a reader must know."""
    asked, there = len(study.facts["sessions"]), len({one.session for one in files})
    if there < asked:
        yield f"{there:,} of {asked:,} sessions were answered: what each system was rated on is not quite balanced"
    twice = sorted({one.session for one in files if not one.used and not one.damaged})
    if twice:
        yield (
            f"answered more than once: {', '.join(twice)}; of each session the finished answers count, else the most, "
            "else the latest"
        )
    if aside := [
        f"{one.session} ({len(one.answers):,} answers)" for one in files if one.used and one.name != one.path.name
    ]:
        yield f"of {', '.join(aside)} the save that counts is not the last: it had more answers"
    if lost := [one.name for one in files if one.damaged]:
        yield f"damaged, and left out: {', '.join(lost)}"
    several = Counter(one.rater for one in files if one.used)
    if more := sorted(rater for rater, n in several.items() if n > 1):
        yield f"several sessions by {', '.join(more)}: counted as one rater each, since names are the same"
    if silent := sorted(set(people) - set(raters)):
        yield f"no answer is left of {', '.join(silent)}"
    if study.pairs:
        word = f"left out ({dropped} answers)" if rules.both_bad == "drop" else "counted as ties"
        yield f"choices 'both bad' were {word}"
    out = sum(row["answers"] for row in exclusions)
    if not rules.rules:
        yield "no exclusion rules: every answer counts"
    elif out:
        yield f"{out:,} answer{'s were' if out > 1 else ' was'} excluded by rules of {rules.name}, see below"
