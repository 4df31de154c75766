import pytest


def test_every_attack_is_drawn(call_tool, digits_teacher, tmp_path):
    out = tmp_path / 'attacks.svg'
    call_tool('plot_attacks', digits_teacher['config'], digits_teacher['checkpoint'], '--out', out)
    text = out.read_text()
    for title in ('BSS (published)', 'JSMA', 'noise, as long as BSS', 'segment', 'random mix'):
        assert title in text


@pytest.mark.parametrize(
    ('skip', 'said'), [(3, '^error: too few samples'), (-1, '^error: --skip must be at least 0')]
)
def test_samples_that_are_not_there_are_refused(call_tool, digits_teacher, skip, said):
    network = (digits_teacher['config'], digits_teacher['checkpoint'])
    with pytest.raises(SystemExit, match=said):
        call_tool('plot_attacks', *network, '--num-samples', 3, '--skip', skip)
