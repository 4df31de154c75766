import pytest


def test_every_attack_is_drawn(call_tool, digits_teacher, tmp_path):
    out = tmp_path / 'attacks.svg'
    call_tool('plot_attacks', digits_teacher['config'], digits_teacher['checkpoint'], '--out', out)
    text = out.read_text()
    for title in ('BSS (published)', 'JSMA', 'noise, as long as BSS', 'segment', 'random mix'):
        assert title in text


def test_too_few_samples_are_refused(call_tool, digits_teacher):
    network = (digits_teacher['config'], digits_teacher['checkpoint'])
    with pytest.raises(SystemExit, match=r'^error: too few samples'):
        call_tool('plot_attacks', *network, '--num-samples', 3, '--skip', 3)
