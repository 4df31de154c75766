"""The figures in the READMEs of the methods are those that studies and zoo hold."""

import json
import re
from pathlib import Path
from statistics import mean, stdev

import mmengine
import pytest

ROOT = Path(__file__).parents[1]
#: | what | published | here | seeds | `arm` | [study](its results) |
ROW = re.compile(
    r'^\|.*\|(?P<here>[^|]+)\|(?P<seeds>[^|]+)\| `(?P<arm>[^`]+)` \| \[(?P<study>\w+)\]\(.*\) \|$',
    re.MULTILINE,
)


ROWS = {
    f'{page.parent.name}-{row["study"]}-{row["arm"]}': row
    for page in sorted(ROOT.glob('configs/*/README.md'))
    for row in ROW.finditer(page.read_text())
}


def accuracies(study, arm):
    if study == 'zoo':
        models = mmengine.load(ROOT / 'zoo/metafile.yml')['Models']
        (model,) = [model for model in models if model['Name'] == arm]
        return [model['Results'][0]['Metrics']['Top 1 Accuracy']]
    results = json.loads((ROOT / f'studies/results/{study}.json').read_text())['results']
    values = [each['value'] for each in results if each['arm'] == arm]
    assert values or f"'{arm}'" in (ROOT / f'studies/{study}.py').read_text()
    return values


def shown(values):
    if not values:
        return 'not run yet'
    spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
    return f'{mean(values):.2f}{spread}'


def test_the_tables_are_read():
    assert len(ROWS) > 10


@pytest.mark.parametrize('name', ROWS)
def test_a_figure_is_that_of_its_source(name):
    row = ROWS[name]
    values = accuracies(row['study'], row['arm'])
    assert row['here'].strip() == shown(values)
    assert int(row['seeds']) == len(values)
