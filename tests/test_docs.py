"""The reference has every public name, and links inside the repository lead somewhere."""

import ast
import re
import subprocess

import pytest

ROOMS = (
    *('attacks', 'boundary', 'losses', 'teachers', 'distillers', 'hooks', 'metrics', 'datasets'),
    *('backbones', 'export', 'acceleration', 'engine/hooks', 'engine/config_checks'),
    'teachers/sources',
)
LINK = re.compile(r'(?<!\\)\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')


@pytest.fixture(scope='module')
def documented(root):
    """Names that the reference documents, without the way to them."""
    names = set()
    for page in (root / 'docs' / 'reference' / 'api').glob('*.md'):
        for block in re.findall(r'^\.\. names:: \S+\n\n(.*?)^```', page.read_text(), re.M | re.S):
            names |= {line.strip().rpartition('.')[2] for line in block.splitlines()}
    return names


@pytest.mark.parametrize('room', ROOMS)
def test_the_reference_has_what_a_room_exports(room, root, documented):
    tree = ast.parse((root / 'mmbss' / room / '__init__.py').read_text())
    (exported,) = (
        ast.literal_eval(each.value)
        for each in tree.body
        if isinstance(each, ast.Assign) and each.targets[0].id == '__all__'
    )
    assert set(exported) <= documented


def test_the_reference_has_what_configs_can_name(root, documented):
    registered = {
        name
        for path in (root / 'mmbss').rglob('*.py')
        for name in re.findall(r'^@\w+\.register_module\(\)\nclass (\w+)', path.read_text(), re.M)
    }
    assert len(registered) > 40
    assert registered <= documented


def slugs(text):
    """Anchors of the headings of a Markdown file, as code hosts and the site name them."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    headings = re.findall(r'^#+ (.*)$', text, re.M)
    plain = (re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading) for heading in headings)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in plain}


def dead_links(path):
    """Links of a Markdown file whose file or heading is not there."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S)
    for target in (one or other for one, other in LINK.findall(re.sub(r'`[^`\n]*`', '', text))):
        address, _, anchor = target.partition('#')
        if re.match(r'\w+:', address):
            continue
        to = path.parent / address if address else path
        if not to.exists() or (
            anchor and to.suffix == '.md' and anchor not in slugs(to.read_text())
        ):
            yield target


def expanded(words):
    """Words of a command with their braces and stars, as a shell reads them."""
    while any('{' in word for word in words):
        words = [
            re.sub(r'\{[^{}]*\}', each, word, count=1)
            for word in words
            for each in (re.search(r'\{([^{}]*)\}', word) or [None, ''])[1].split(',')
        ]
    return words


def test_tests_that_are_named_are_there(root):
    found = 0
    for page in [*root.glob('docs/**/*.md'), *root.glob('*.md')]:
        for command in re.findall(r'`pytest ([^`]*)`', page.read_text()):
            for path in expanded(command.split()):
                found += 1
                assert [*root.glob(path)], f'{page.name}: there is no {path}'
    assert found > 20


def test_links_inside_the_repository_lead_somewhere(root):
    listed = subprocess.run(
        ['git', 'ls-files', '*.md'], cwd=root, capture_output=True, text=True, check=False
    ).stdout.split()
    pages = [root / name for name in listed] or [root / 'README.md', *root.glob('docs/**/*.md')]
    dead = {str(page.relative_to(root)): [*dead_links(page)] for page in pages if page.exists()}
    assert not {page: links for page, links in dead.items() if links}
