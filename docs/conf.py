"""Builds the site: ``make docs`` (ADR 36 says why Sphinx)."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent / "src")]

import ssl_kedro  # noqa: E402

project = "ssl_kedro"
author = "ssl_kedro contributors"
project_copyright = "2026, the ssl_kedro authors"
release = ssl_kedro.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "generated_pages",
    "offline",
    "docstrings",
]
exclude_patterns = ["examples", "_ext", "_generated/errors.md", "_generated/thesis.md"]
# Headings of pages are targets of links, as they are on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
python_maximum_signature_line_length = 80
napoleon_use_rtype = False
napoleon_custom_sections = ["Convention"]

html_theme = "pydata_sphinx_theme"
html_title = "ssl_kedro"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "own_images": []}  # pages with none beside them
html_theme_options = {
    "logo": {"text": "ssl_kedro"},
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "search_as_you_type": True,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
