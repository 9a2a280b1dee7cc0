"""What stands inside of one HTML file: templates in which all is escaped, data for scripts, and hashes of scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evalkit.page.links import breakable, linked
from evalkit.report.literal import literal


@cache
def environment(package: str = "evalkit.page") -> Environment:
    """Where the templates of a package are found; whatever they show is escaped."""
    found = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"breakable": breakable, "linked": linked, "literal": literal}
    return found


def written(template: str, **values: Any) -> Markup:
    """Write a template of `evalkit/page/templates` with values, all of which are escaped."""
    return Markup(environment().get_template(template).render(values))


def embedded(value: Any) -> Markup:
    """JSON that no text inside of it can end, as it stands in a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # halves of surrogate pairs, as names of files may have them, are in no file of UTF-8
    return Markup(re.sub("[<\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text))


def hashed(text: str) -> str:
    """What a page's policy calls a script or style that it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
