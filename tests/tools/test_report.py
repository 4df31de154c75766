import base64
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mmbss.datasets import Digits
from mmbss.report.evaluation import ROBUSTNESS_ATTACKS

HOSTILE = 'bss<script>alert(1)<&"$^$_x'


@pytest.fixture(scope='module')
def teacher_run(digits_teacher):
    """Folder of the run that trained the teacher."""
    return Path(digits_teacher['checkpoint']).parent


@pytest.fixture(scope='module')
def comparison(bss_run, teacher_run, tmp_path_factory):
    """Work dir of a comparison of real runs: BSS with a hostile name, twice, and plain.

    The BSS run is too short for a good student, so copies of the teacher, with noise, stand in.
    """
    work_dir = tmp_path_factory.mktemp('comparison')
    shutil.copytree(teacher_run, work_dir / 'plain_x' / 'seed_0')
    for seed in (0, 1):
        folder = work_dir / HOSTILE / f'seed_{seed}'
        shutil.copytree(bss_run.folder, folder)
        for config in [*folder.glob('*.py'), *folder.glob('*/vis_data/config.py')]:
            text = config.read_text().replace('base_channels=2', 'base_channels=8')
            text = re.sub(r'\bin_channels=8\b', 'in_channels=32', text)
            config.write_text(text + '\nnote = "</pre><script>alert(2)</script>"\n')
        checkpoint = torch.load(teacher_run / 'epoch_4.pth', map_location='cpu')
        for name, weight in checkpoint['state_dict'].items():
            if name.endswith('conv1.weight'):
                weight += 0.05 * weight.std() * torch.randn_like(weight)
        torch.save(checkpoint, folder / 'epoch_4.pth')
    arms = {teacher_run.name: str(teacher_run)}
    arms |= {name: f'elsewhere/{name}' for name in ('plain_x', HOSTILE)}
    contents = dict(question='Does <b>it</b> help?', arms=arms)
    (work_dir / 'study.json').write_text(json.dumps(contents))
    return work_dir


class Page(HTMLParser):
    """Tags, addresses and words of a page; fails where tags do not match."""

    VOID = ('br', 'img', 'line', 'meta', 'wbr')

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.images, self.addresses, self.words = [], [], [], [], []
        self.feed(text.replace('<wbr>', ''))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if tag == 'img':
            self.images.append(values)
        self.addresses += [values[key] for key in ('src', 'href', 'action') if key in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return ' '.join(' '.join(self.words).split())


@pytest.fixture(scope='module')
def page(comparison, forked, root):
    """The report of the comparison, with its pictures as files."""
    forked(
        *(root / 'tools' / 'report.py', comparison, '--num-samples', 50, '--resolution', 12),
        *('--figures', comparison / 'figures'),
    )
    return (comparison / 'report.html').read_text()


def test_the_report_has_every_section(page):
    text = Page(page).text
    for heading in (
        *('Accuracy on the validation images', 'Training', 'Decision planes', 'Boundary samples'),
        *('Similarity and robustness', 'Margins at boundary samples', 'Configs', 'Repeat'),
    ):
        assert re.search(rf'<h[23][^>]*>{heading}</h', page), heading
    for word in ('MagSim', 'AngSim', 'python', 'torch', 'mmpretrain', 'commit', 'tools/report.py'):
        assert word in text, word
    assert all(f'accuracy under {attack}' in text for attack in ROBUSTNESS_ATTACKS)
    assert re.search(r'MagSim by class class plain bss\S+ 0 [\d.]+ [\d.]+ ± [\d.]+ 1 [\d.]', text)


def test_the_figures_are_those_of_the_logs(page, bss_run, teacher_run):
    text = Page(page).text
    assert 'question Does <b>it</b> help? teacher teacher' in text
    assert f'teacher teacher, {teacher_run}/epoch_4.pth ' in text
    last = bss_run.accuracy[max(bss_run.accuracy)]
    assert f'{last:.2f} ± 0.00' in text
    assert f'0: {last:.2f}, 0: {last:.2f}' in text, 'both folders were trained with seed 0'


def test_it_needs_nothing_but_itself(page):
    parsed = Page(page)
    assert parsed.addresses
    assert all(address.startswith(('data:', '#')) for address in parsed.addresses)
    assert 'script' not in parsed.tags
    assert 'url(' not in page
    assert '@import' not in page
    assert len(page) < 5e6
    for image in parsed.images:
        svg = base64.b64decode(image['src'].partition('base64,')[2]).decode()
        assert not re.search(r'href="(?!#|data:)', svg)


def test_every_picture_has_its_words_and_its_file(page, comparison):
    images = Page(page).images
    assert len(images) > 10
    assert all(len(image['alt']) > 15 for image in images)
    names = {path.stem for path in (comparison / 'figures').glob('*.svg')}
    assert len(names) == len(images)
    assert {'accuracy', 'curve-accuracy', 'curve-loss_bss', 'curve-bss_accepted', 'margins'} < names
    assert {'boundary-samples', 'plane-1'} < names


def test_hostile_names_and_configs_are_words_and_not_tags(page):
    parsed = Page(page)
    assert '<script' not in page
    assert HOSTILE in parsed.text, 'the full name, of its folder'
    assert '</pre><script>alert(2)</script>' in parsed.text


def test_the_teacher_is_no_student_of_its_own(page):
    text = Page(page).text
    command = re.search(r'python tools/compare\.py .*?-again', text)[0]
    assert 'plain_x' in command
    assert 'alert' in command
    assert command.count('.py') == 3, 'the tool and the configs of two students'


def test_headings_are_in_order(page):
    levels = [int(level) for level in re.findall(r'<h([1-6])', page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_single_run_from_its_logs_alone(call_tool, bss_run, tmp_path):
    out = tmp_path / 'new' / 'page.html'
    call_tool('report', bss_run.folder, '--out', out, '--logs-only')
    text = Page(out.read_text()).text
    assert 'python tools/train.py' in text
    assert re.match(r'bss . mmbss report', text), 'the name of the config'
    assert 'MagSim' not in text


def test_metrics_that_were_measured_before_are_taken_over(call_tool, bss_run, tmp_path):
    networks = [
        dict(name='teacher', metrics={'accuracy/top1': 98.7}),
        dict(name='mine', metrics={'accuracy/top1': 12.3, 'robust_accuracy/pgd_9': 4.5}),
    ]
    measured = dict(settings=dict(num_samples=77, dataset_size=540), networks=networks)
    path, out = tmp_path / 'boundary.json', tmp_path / 'page.html'
    path.write_text(json.dumps(measured))
    flags = ['--metrics', path, '--out', out, '--num-samples', 40, '--resolution', 8]
    call_tool('report', bss_run.folder, *flags)
    text = Page(out.read_text()).text
    assert 'metric teacher mine accuracy (%) 98.70 12.30 accuracy under pgd_9 (%) 4.5' in text
    assert 'the others on 77 of them' in text
    assert "teacher's accuracy 98.70 % of 540 test images" in text


# ---------------------------------------------------------------- bad input


def edited(run, tmp_path, change):
    """A copy of a run whose dumped configs have been changed."""
    folder = tmp_path / 'edited'
    shutil.copytree(run, folder)
    for path in [*folder.glob('*.py'), *folder.glob('*/vis_data/config.py')]:
        path.write_text(change(path.read_text()))
    return folder


def test_odd_files_end_with_one_clear_message(call_tool, bss_run, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(bss_run.folder, folder)
    (tmp_path / 'odd.json').write_text('{"study": "digits"}')
    with pytest.raises(SystemExit, match=r'^error: no folder .*odd\.json'):
        call_tool('report', tmp_path / 'odd.json')
    (tmp_path / 'empty.json').write_text('{"networks": [], "settings": {}}')
    for metrics in (tmp_path / name for name in ('odd.json', 'gone.json', 'empty.json')):
        with pytest.raises(SystemExit, match=r'^error: --metrics .* is no file of tools/evaluate'):
            call_tool('report', folder, '--metrics', metrics)
    (folder / 'run.json').write_text('')
    with pytest.raises(SystemExit, match=r'^error: .*run\.json is damaged'):
        call_tool('report', folder, '--logs-only')
    (folder / 'run.json').unlink()
    for log in folder.glob('*/vis_data/scalars.json'):
        log.write_text('')
    with pytest.raises(SystemExit, match=r'^error: no run has been validated yet'):
        call_tool('report', folder, '--logs-only')


def test_a_missing_teacher_is_named_and_the_way_round_it(call_tool, bss_run, tmp_path):
    folder = edited(
        bss_run.folder, tmp_path, lambda text: re.sub(r"[^']*epoch_4\.pth", 'lost.pth', text)
    )
    with pytest.raises(SystemExit, match=r'^error: .*lost\.pth.*--logs-only leaves out'):
        call_tool('report', folder)


def test_missing_checkpoints_of_the_student_are_named(call_tool, bss_run, tmp_path):
    folder = edited(bss_run.folder, tmp_path, str)
    for path in folder.glob('*.pth'):
        path.unlink()
    with pytest.raises(SystemExit, match=r'^error: .*edited holds no checkpoint'):
        call_tool('report', folder)


def test_networks_of_different_classes_are_refused(call_tool, digits_teacher, bss_run, tmp_path):
    folder = edited(
        bss_run.folder, tmp_path, lambda text: text.replace('num_classes=10', 'num_classes=7')
    )
    checkpoint = torch.load(folder / 'epoch_4.pth', map_location='cpu')
    for name, weight in checkpoint['state_dict'].items():
        if name.startswith('head'):
            checkpoint['state_dict'][name] = weight[:7]
    torch.save(checkpoint, folder / 'epoch_4.pth')
    with pytest.raises(SystemExit, match=r'^error: bss has 7 classes, the teacher 10'):
        call_tool('report', folder)


def test_a_student_that_is_never_right_costs_the_pictures_and_not_the_page(
    call_tool, bss_run, tmp_path
):
    folder = edited(bss_run.folder, tmp_path, str)
    checkpoint = torch.load(folder / 'epoch_4.pth', map_location='cpu')
    checkpoint['state_dict']['head.fc.weight'] *= 0
    digits = Digits('test')
    shown = {int(digits[row]['data_samples'].gt_label) for row in (0, 135, 270, 404, 539)}
    never = min(set(range(10)) - shown)
    checkpoint['state_dict']['head.fc.bias'] = 1000 * torch.eye(10)[never]
    torch.save(checkpoint, folder / 'epoch_4.pth')
    call_tool('report', folder, '--num-samples', 5)
    page = (folder / 'report.html').read_text()
    text = Page(page).text
    assert 'There are no boundary samples to show: none of 5 samples is classified' in text
    assert re.search(r'MagSim and AngSim are missing .*: bss, edited \(of \d+\)\.', text)
    assert 'id="samples"' not in page
    assert '#planes' not in page
    assert 'accuracy under pgd_1' in text


def test_several_teachers_are_refused_but_their_logs_are_not(call_tool, bss_run, tmp_path):
    shutil.copytree(bss_run.folder, tmp_path / 'one')
    other = edited(
        bss_run.folder, tmp_path, lambda text: re.sub(r"[^']*epoch_4\.pth", 'other.pth', text)
    )
    assert other.parent == tmp_path
    with pytest.raises(SystemExit, match=r'^error: .*have several \(.*other\.pth.*--logs-only'):
        call_tool('report', tmp_path)
    call_tool('report', tmp_path, '--logs-only')
    assert 'bss' in (tmp_path / 'report.html').read_text()


def test_runs_that_wait_for_their_first_validation_are_named(call_tool, bss_run, tmp_path):
    for seed in (0, 1):
        shutil.copytree(bss_run.folder, tmp_path / 'bss' / f'seed_{seed}')

    def forget(folder):
        for log in folder.glob('*/vis_data/scalars.json'):
            lines = [line for line in log.read_text().splitlines() if '"lr"' in line]
            log.write_text('\n'.join(lines))

    forget(tmp_path / 'bss' / 'seed_1')
    call_tool('report', tmp_path, '--logs-only')
    text = Page((tmp_path / 'report.html').read_text()).text
    assert f'not validated yet: {tmp_path}/bss/seed_1.' in text
    assert '1 experiment, 1 seed each' in text
    assert 'seeds' not in text.partition('Configs')[0]
    forget(tmp_path / 'bss' / 'seed_0')
    with pytest.raises(SystemExit, match=r'^error: no run has been validated yet: .*seed_0'):
        call_tool('report', tmp_path, '--logs-only')


def test_a_missing_package_is_named_with_its_extra(bss_run, root, forked):
    def hide():
        sys.modules['jinja2'] = None
        sys.modules.pop('mmbss.report.report', None)  # other tests have it

    completed = forked(root / 'tools' / 'report.py', bss_run.folder, check=False, before=hide)
    (line,) = completed.stderr.splitlines()
    assert line.startswith('error: jinja2')
    assert "pip install 'mmbss[report]'" in line
