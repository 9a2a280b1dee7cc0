"""evalkit: evaluate text-to-music models under the protocols that published numbers were made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.results.result import Result

__version__ = "0.1.0"


def evaluate(*overrides: str, config_dir: str | None = None) -> Result:
    """Run the main job from Python with the options of `evalkit run`, and return its result.

    For example `evalkit.evaluate("model=musicgen_small", "prompts=musiccaps", "prompts.first=100")`.
    `config_dir` adds a folder of your own YAMLs. Raises evalkit.errors.EvalkitError for a mistake in
    the options or a missing file.
    """
    from evalkit.config import compose
    from evalkit.pipeline import evaluate as run

    return run(compose(list(overrides), config_dir))


def load(path: str | Path) -> Result:
    """Read a result from the folder that `evalkit run` printed, or from an unpacked archive of `evalkit pack`.

    Nothing else is needed: no cache, no weights, no network. Raises evalkit.errors.EvalkitError for a
    folder without a finished result, and for a file that is missing or damaged.
    """
    from evalkit.results.result import Result

    return Result.load(path)
