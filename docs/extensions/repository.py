"""Links out of docs/ into the repository, which work on a code host, also work on the site.

Each file that a page links to becomes a page in docs/files, which is not kept in git: Markdown as
it is, anything else as code. A folder leads to its README or, if it is a room of the package, to
the reference; other folders are named without a link.
"""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
FILES = 'files'
#: The target of a Markdown link or picture.
LINK = re.compile(
    r'(?P<start>(?P<sign>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\()(?P<to>[^)\s]+)\)'
)
#: One picture for light pages, another for dark ones.
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(?P<dark>[^"]+)">'
    r'\s*<img src="(?P<light>[^"]+)" alt="(?P<alt>[^"]*)">\s*</picture>'
)
logger = logging.getLogger(__name__)


class Pages:
    """Turns links of Markdown files into those of the site, and notes which files need a page."""

    def __init__(self) -> None:
        self.needed: list[Path] = []

    def rewrite(self, text: str, source: Path) -> str:
        """The text of a Markdown file for the site."""
        text = PICTURE.sub(lambda match: self.both(match, source), text)
        return LINK.sub(lambda match: self.link(match, source), text)

    def both(self, match: re.Match[str], source: Path) -> str:
        """The two pictures, each shown on its kind of page."""
        images = '\n'.join(
            f'```{{image}} {from_docs(source.parent / match[theme])}\n'
            f':alt: {match["alt"]}\n:class: only-{theme}\n```'
            for theme in ('light', 'dark')
        )
        return f':::{{container}} picture\n{images}\n:::'

    def link(self, match: re.Match[str], source: Path) -> str:
        """A link as it is to be on the site."""
        address, mark, anchor = match['to'].partition('#')
        if not address or re.match(r'\w+:', address):
            return match[0]
        target = Path(os.path.normpath(source.parent / address))
        if not target.exists():
            logger.warning('%s: there is no %s', source, match['to'], location=str(source))
            return match[0]
        if target.is_relative_to(DOCS) and source.is_relative_to(DOCS):
            return match[0]
        if target == DOCS:
            target /= 'index.md'
        if match['sign'] or target.is_relative_to(DOCS):
            return f'{match["start"]}{from_docs(target)}{mark}{anchor})'
        if target.is_dir():
            room = DOCS / 'reference' / 'api' / f'{target.name}.md'
            if target.parent == ROOT / 'mmbss' and room.exists():
                return f'{match["start"]}{from_docs(room)})'
            if not (target / 'README.md').exists():
                return match['text']
            target /= 'README.md'
        self.needed.append(target)
        return f'{match["start"]}/{FILES}/{page_name(target)}{mark}{anchor})'


def from_docs(path: Path) -> str:
    """A path as Sphinx finds it, from any page."""
    return '/' + Path(os.path.relpath(path, DOCS)).as_posix()


def page_name(path: Path) -> str:
    """The page of a file: README.md in a folder is its own, code keeps its suffix."""
    name = path.relative_to(ROOT).as_posix()
    return name if name.endswith('.md') else f'{name}.md'


def page(pages: Pages, path: Path) -> str:
    """What the page of a file says."""
    name = path.relative_to(ROOT).as_posix()
    if path.suffix == '.md':
        return f'---\norphan: true\n---\n\n{pages.rewrite(path.read_text(), path)}'
    language = {'.py': 'python', '.cff': 'yaml'}.get(path.suffix, path.suffix[1:] or 'text')
    return (
        f'---\norphan: true\nnosearch: true\n---\n\n# {path.name}\n\n`{name}`\n\n'
        f'```{{literalinclude}} {from_docs(path)}\n:language: {language}\n```\n'
    )


def write_pages(app: Sphinx) -> None:
    """Write the pages of files that anything on the site links to."""
    pages = Pages()
    own = [
        path
        for path in DOCS.rglob('*.md')
        if path.relative_to(DOCS).parts[0] not in (FILES, '_build')
    ]
    for path in own:
        pages.rewrite(path.read_text(), path)
    written: set[Path] = set()
    while pages.needed:
        path = pages.needed.pop()
        out = DOCS / FILES / page_name(path)
        if out in written:
            continue
        written.add(out)
        text = page(pages, path)
        out.parent.mkdir(parents=True, exist_ok=True)
        if not out.exists() or out.read_text() != text:
            out.write_text(text)
    for path in {*(DOCS / FILES).rglob('*.md')} - written:
        path.unlink()


def rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    """Mend the links of a page while it is read; those in docs/files are mended already."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == '.md' and not path.is_relative_to(DOCS / FILES):
        source[0] = Pages().rewrite(source[0], path)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect('builder-inited', write_pages)
    app.connect('source-read', rewrite)
    return dict(parallel_read_safe=True)
