"""Sphinx settings. Built offline and strictly: `make docs` turns every warning into an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import ranklift
from ranklift.reproduction_report import write_pages

project = "ranklift"
author = "the ranklift developers"
project_copyright = "2026, the ranklift developers"
version = release = ranklift.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
exclude_patterns = ["_build", "examples/coverage.md"]  # the latter is a part of examples.md
templates_path = ["_templates"]
html_math_renderer = "mathml"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["formula.css"]
html_title = f"ranklift {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# -- Pages of the reproductions, from their READMEs and committed results
write_pages(Path(__file__).parents[1] / "reproductions", Path(__file__).parent / "reproductions")

# -- API reference: public names, documented where users import them from
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
# Types stand in the Parameters sections, in words and with shapes.
autodoc_typehints = "none"
add_module_names = False
# Base classes are shown; those of others have no link, because their reference indexes lie on the
# network, which a build must not need.
nitpick_ignore_regex = [
    ("py:class", r"(abc|enum|scipy|sklearn)\..*"),
    ("py:class", r"ranklift\.estimators\.regressor\..*"),  # what the regressors share
    ("py:class", r"ranklift\.escapes\.langevin\._Langevin"),  # what the dynamics share
]


# -- Formulas as MathML: browsers show it, and a page needs no script from the network
def _inline(translator: Any, node: Any) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


# -- Docstrings are written to be read as text: |x| is an absolute value and rank_ an attribute
_MARKUP = re.compile(r"(``.*?``|`.*?`)|(?<!\\)(\||(?<=\w)_(?=\W|$))")


def _plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    example = False
    for number, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example and not line.lstrip().startswith(".."):
            lines[number] = _MARKUP.sub(lambda m: m[1] or "\\" + m[2], line)


def setup(app: Any) -> None:
    """Register the renderer of formulas and the reader of docstrings."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _plain, priority=600)  # after numpydoc
