r"""A document as LaTeX that a paper can \input: one float for the main table, and one for each listing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.report.document import Cell, Document, Listing, Quantity, Row, Table, about
from evalkit.report.lines import wrap
from evalkit.report.literal import literal
from evalkit.report.numbers import NONE

TITLE = 14  # characters of a metric's title on one line
NAME, WORD = 16, 12  # those of a title as the name of a row, and of words in a table of numbers
LONG = 30  # characters beyond which words of a cell are broken between lines, and one word after a slash

# What LaTeX takes for something else, or has another character for. A bracket or a star that begins a row would belong
# to the end of the row before.
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': r"\char34{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\to$", "←": r"$\leftarrow$", "≤": r"$\leq$", "≥": r"$\geq$",
    "≠": r"$\neq$", "≈": r"$\approx$", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "∞": r"$\infty$",
    "●": r"$\bullet$", "○": r"$\circ$", "√": r"$\surd$", "′": "$'$", "♭": r"$\flat$", "♯": r"$\sharp$",
    "‖": r"$\Vert$", "°": r"$^\circ$", "²": "$^2$", "µ": r"$\mu$", "μ": r"$\mu$", "Δ": r"$\Delta$", "α": r"$\alpha$",
    "δ": r"$\delta$",
    "–": "--", "—": "---", "…": r"\dots{}", "‘": "`", "’": "'", "“": "``", "”": "''",
}  # fmt: skip
WORDS = ("word", "verdict")  # kinds that stand flush left
LIGATURES = "-',"  # of which fonts make one character where one follows the other
LAST = "\u017f"  # the last letter that pdfLaTeX knows by itself


def render(document: Document) -> str:
    """Write the main table and all listings as floats: what they are of in the caption, and notes below the table.

    Further tables, such as those of slices, are named in a comment. What is needed is said in one too: the packages
    booktabs and array, and for letters of other scripts another engine than pdfLaTeX.
    """
    label = re.sub(r"[^a-z0-9]+", "-", document.title.lower()).strip("-")
    intervals = document.intervals
    captions = [
        _bold(document.warning),
        _bold(document.outcome and f"{document.outcome}: {document.title}"),
        _sentence(document.heading),
        _sentence(document.table.intro),
        _sentence(intervals[:1].upper() + intervals[1:]),
    ]
    notes = [*document.reasons, *document.table.notes, *(note for note in document.notes if note != intervals)]
    floats = [_float(document.table, captions, notes, label)]
    for number, table in enumerate((table for table in document.more if isinstance(table, Listing)), 2):
        about_it = [_bold(table.title), _sentence(table.intro)]
        floats.append(_float(table, about_it, table.notes, f"{label}-{number}"))
    text = "\n".join(floats)
    return "\n".join([*_comments(document, text), text])


def _comments(document: Document, text: str) -> list[str]:
    lines = [r"% made by evalkit; it needs \usepackage{booktabs,array}"]
    if further := sorted({f"U+{ord(character):04X}" for character in text if character > LAST}):
        lines.append(f"% and, for {', '.join(further[:10])}, LuaLaTeX or XeLaTeX with a font that has them")
    elif not text.isascii():
        lines.append(r"% and \usepackage[T1]{fontenc}")
    if left := [table.title for table in document.more if not isinstance(table, Listing)]:
        lines.append(f"% left out, but in the Markdown form: {literal(', '.join(left))}")
    return lines


def escaped(text: str) -> str:
    """Make text show literally; letters stay as they are."""
    text = literal(text)
    following = [*text[1:], ""]
    return "".join(
        SPECIAL.get(character, character) + ("{}" if character == after and character in LIGATURES else "")
        for character, after in zip(text, following, strict=False)
    )


def _sentence(text: str) -> str:
    """Text in a paragraph, where long words such as addresses may be broken, with a stop at its end."""
    words = [
        escaped(word).replace("/", r"/\allowbreak{}") if len(word) > LONG else escaped(word) for word in text.split()
    ]
    return " ".join(words) + ("" if not words or text.endswith((".", "?", ":")) else ".")


def _bold(text: str) -> str:
    return rf"\textbf{{{_sentence(text)}}}" if text else ""


@dataclass(frozen=True)
class _Column:
    """A column: the lines of its head, and those of each row; all but the first one of a row are small."""

    head: Sequence[str]
    cells: Sequence[Sequence[str]]
    left: bool = False

    @property
    def form(self) -> str:
        """How LaTeX aligns it."""
        if not self.left:
            return "r"
        long = any(len(line) > LONG for cell in self.cells for line in cell)
        return r">{\raggedright\arraybackslash}p{0.28\linewidth}" if long else "l"


def _float(table: Table | Listing, captions: Iterable[str], notes: Iterable[str], label: str) -> str:
    """A table with its caption above it, and notes below."""
    columns, legend = list[_Column](), list[str]()
    if table.rows and table.columns:
        columns, legend = _listing(table) if isinstance(table, Listing) else _table(table)
    caption = " ".join(filter(None, [*captions, *map(_sentence, legend)]))
    lines = [r"\begin{table}", r"  \centering", rf"  \caption{{{caption}}}", rf"  \label{{tab:{label}}}\smallskip"]
    lines += [r"  \small\setlength{\tabcolsep}{3pt}", *_tabular(columns)] if columns else []
    if below := [rf"    {_sentence(note)}\par" for note in notes]:
        lines += [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [*below, r"  \end{minipage}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(columns: Sequence[_Column]) -> list[str]:
    deepest = max(len(column.head) for column in columns)
    heads = [[*[""] * (deepest - len(column.head)), *map(escaped, column.head)] for column in columns]
    lines = [rf"  \begin{{tabular}}{{@{{}}{''.join(column.form for column in columns)}@{{}}}}", r"    \toprule"]
    lines += [rf"    {' & '.join(line)} \\" for line in zip(*heads, strict=True)]
    lines.append(r"    \midrule")
    for number, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        most = max(map(len, row))
        if number and most > 1:
            lines.append(r"    \addlinespace")
        for k in range(most):
            texts = [escaped(cell[k]) if k < len(cell) else "" for cell in row]
            small = [rf"{{\scriptsize {text}}}" if k and text else text for text in texts]
            lines.append(rf"    {' & '.join(small)} \\")
    return [*lines, r"    \bottomrule", r"  \end{tabular}"]


def _table(table: Table) -> tuple[list[_Column], list[str]]:
    """The columns of a table of metrics, and what must be said of them: with one row metrics stand below each other,
    else beside each other with what is said of each value below it."""
    said = [*table.legend(), *about(table.read())]
    quantities = _quantities(table)
    if len(table.rows) == 1:
        (row,) = table.rows
        names = _Column(_name(row), [wrap(literal(column), NAME) for column in table.columns], left=True)
        cells = [row.cells.get(column.name, {}) for column in table.columns]
        columns = [
            _Column(wrap(q.label, TITLE), [_broken(q, cell) for cell in cells], q.kind in WORDS) for q in quantities
        ]
        return [names, *columns], said
    names = _Column([""], [_name(row) for row in table.rows], left=True)
    lines = _lines(quantities)
    metrics = [
        _Column(wrap(str(column), TITLE), [_stacked(lines, row.cells.get(column.name, {})) for row in table.rows])
        for column in table.columns
    ]
    below = "; ".join(
        " ".join([q.label if not k else f"({q.label})" for k, q in enumerate(line)]) for line in lines[1:]
    )
    return [names, *metrics], [*([f"Below each value: {below}."] if below else []), *said]


def _name(row: Row) -> list[str]:
    """What a row is called, and facts about it."""
    (_, name), *others = row.labels.items()
    facts = [f"{key} {text}" for key, text in others] + [f"{text} {key}" for key, text in row.about.items()]
    return [str(name), *facts]


def _quantities(table: Table) -> list[Quantity]:
    """What people read of each cell, the bounds of an interval as one."""
    interval = Quantity("low", "interval", "interval")
    return [interval if q.key == "low" else q for q in table.read() if q.key != "high"]


def _lines(quantities: Iterable[Quantity]) -> list[list[Quantity]]:
    """The same as lines of a cell: a difference stands behind the published value."""
    lines = list[list[Quantity]]()
    for quantity in quantities:
        if quantity.key == "difference" and lines and lines[-1][0].key == "published":
            lines[-1].append(quantity)
        else:
            lines.append([quantity])
    return lines


def _stacked(lines: Sequence[Sequence[Quantity]], cell: Cell) -> list[str]:
    """The lines of a cell, without those at its end that say nothing."""
    texts = list[str]()
    said = 1
    for first, *others in lines:
        text, *rest = _broken(first, cell)
        more = [f" ({_text(quantity, cell)})" for quantity in others if text != NONE]
        texts += ["".join([f"n {text}" if first.key == "n" and text != NONE else text, *more]), *rest]
        said = len(texts) if text != NONE else said
    return texts[:said]


def _broken(quantity: Quantity, cell: Cell) -> list[str]:
    """What a quantity is in a cell, on several lines where that is words."""
    text = _text(quantity, cell)
    return wrap(text, WORD) if quantity.kind in WORDS else [text]


def _listing(listing: Listing) -> tuple[list[_Column], list[str]]:
    """The columns of a listing, and what must be said of them; links lead nowhere on paper."""
    stacks = [[quantity for quantity in column if quantity.kind != "links"] for column in listing.read()]
    return [
        _Column(
            [quantity.label for quantity in stack],
            [[_text(quantity, row.cell) for quantity in stack] for row in listing.rows],
            stack[0].kind in WORDS,
        )
        for stack in stacks
        if stack
    ], listing.legend()


def _text(quantity: Quantity, cell: Cell) -> str:
    """What a quantity is in a cell; a number has a minus sign, not a hyphen."""
    text = quantity.text(cell)
    return text if quantity.kind in WORDS else re.sub(r"-(?=\d)", "−", text)
