"""The site: ``make docs`` writes it to docs/_build/html."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / 'extensions'), str(DOCS.parent)]

from mmbss.version import __version__  # noqa: E402

project = 'mmbss'
author = 'the mmbss authors'
copyright = f'2026, {author}'
version = release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'names',
    'repository',
]
exclude_patterns = ['_build']
templates_path: list[str] = []

myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 4

# blocks without a language are output, not Python
highlight_language = 'text'

autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = 'hide'

# prompts are not copied
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

html_theme = 'furo'
html_title = 'mmbss'
html_static_path = ['static']
html_css_files = ['site.css']
html_show_sourcelink = False
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#0072b2', 'color-brand-content': '#0072b2'},
    'dark_css_variables': {'color-brand-primary': '#56b4e9', 'color-brand-content': '#56b4e9'},
}

# make docs-links; links inside the site are checked while it is built
linkcheck_timeout = 15
linkcheck_anchors = False
