"""The directive of the reference: a table of names, then what the docstrings say of each.

::

    .. names:: mmbss.attacks

       BSSAttack
       functional.margin
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

#: What a method says that adds nothing to its base class.
NOTHING_NEW = re.compile(r'(See :\w+:|Alias for field number)')


class Names(SphinxDirective):
    """Document names of a package, one a line, each by the path to it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Parse what autodoc is to do."""
        module = self.arguments[0]
        names = [line.strip() for line in self.content if line.strip()]
        lines = StringList(list(described(module, names)), source=self.get_source_info()[0])
        container = nodes.container()
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


def described(module: str, names: list[str]) -> Iterator[str]:
    """The lines of reStructuredText for names of a module."""
    objects = {name: find(module, name) for name in names}
    yield from ('.. list-table::', '   :class: names', '   :widths: auto', '')
    for name, each in objects.items():
        text = f'`{name.rpartition(".")[2]} <{module}.{name}>`'
        yield from (f'   * - :py:obj:{text}', f'     - {summary(module, name, each)}')
    yield from ('', f'.. py:currentmodule:: {module}', '')
    for name, each in objects.items():
        yield f'.. {directive(each)}:: {module}.{name}'
        if inspect.isclass(each):
            yield from ('   :members:', '   :show-inheritance:')
        yield ''


def find(module: str, path: str) -> Any:
    """What a dotted path below a package leads to."""
    parent, _, name = path.rpartition('.')
    return attrgetter(name)(import_module(f'{module}.{parent}' if parent else module))


def directive(each: Any) -> str:
    """How autodoc calls it."""
    if inspect.isclass(each):
        return 'autoexception' if issubclass(each, BaseException) else 'autoclass'
    return 'autofunction' if callable(each) and inspect.isroutine(each) else 'autodata'


def summary(module: str, name: str, each: Any) -> str:
    """The first sentence of a docstring, or of the comment above what has none of its own."""
    if inspect.isclass(each) or inspect.isroutine(each):
        text = inspect.getdoc(each) or ''
    else:
        from sphinx.pycode import ModuleAnalyzer

        parent, _, last = f'{module}.{name}'.rpartition('.')
        comments = ModuleAnalyzer.for_module(parent).find_attr_docs()
        text = ' '.join(comments.get(('', last), ()))
    paragraph = ' '.join(text.partition('\n\n')[0].split())
    return re.split(r'(?<=[.:])\s+(?=[A-Z`])', paragraph)[0]


def skip(app: Sphinx, kind: str, name: str, each: Any, left_out: bool, options: Any) -> bool | None:
    """Leave out methods that only point to those of their base class."""
    return NOTHING_NEW.match(inspect.getdoc(each) or '') is not None or None


def find_reference(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.Element
) -> nodes.Node | None:
    """Where a reference leads that names less, or another module, than the reference documents."""
    target = node.get('reftarget', '')
    if node.get('refdomain') != 'py' or not target:
        return None
    domain = env.domains.python_domain
    if node.get('reftype') == 'mod':
        parts = target.split('.')
        while parts and '.'.join(parts) not in domain.modules:
            parts.pop()
        found = ['.'.join(parts)] if len(parts) > 1 else []
        places = {
            name: (domain.modules[name].docname, domain.modules[name].node_id) for name in found
        }
    else:
        ends = ('.' + target, '.' + target.rpartition('.')[2])
        places = {}
        for end in ends:
            places = places or {
                name: (each.docname, each.node_id)
                for name, each in domain.objects.items()
                if name.endswith(end)
                and ('.' not in target or end is ends[0] or room(name) == room(target))
            }
    if not places:
        return None
    context = node.get('py:module') or ''
    best = min(places, key=lambda name: (room(name) != room(context), name.count('.'), name))
    docname, node_id = places[best]
    uri = app.builder.get_relative_uri(node['refdoc'], docname)
    link = nodes.reference('', '', internal=True, refuri=f'{uri}#{node_id}', reftitle=best)
    link += content
    return link


def mend_back_links(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Lead from code to the reference.

    Sphinx knows one way to the names of a module, but the reference documents some of them by that
    of the package and others by that of the module.
    """
    if not pagename.startswith('_modules/'):
        return
    module = pagename.removeprefix('_modules/').replace('/', '.')
    known = app.env.domains.python_domain.objects

    def mend(match: re.Match[str]) -> str:
        anchor = match[2]
        parts = anchor.split('.')
        ways = (anchor, *(f'{module}.{".".join(parts[i:])}' for i in range(len(parts))))
        return match[1] + next((way for way in ways if way in known), anchor)

    context['body'] = re.sub(r'(class="viewcode-back" href="[^"#]*#)([^"]+)', mend, context['body'])


def room(name: str) -> str:
    """The package below mmbss that a dotted name lies in."""
    return '.'.join(name.split('.')[:2])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive('names', Names)
    app.connect('autodoc-skip-member', skip)
    app.connect('missing-reference', find_reference)
    app.connect('html-page-context', mend_back_links)
    return dict(parallel_read_safe=True)
