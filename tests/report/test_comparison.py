from mmbss.report.comparison import short_names


def test_names_are_shortened_neither_to_nothing_nor_to_the_same():
    assert short_names(['a_b', 'b']) == ['a', 'b']
    assert short_names(['a_b', 'a']) == ['a_b', 'a']
    assert short_names(['a_c', 'a_d', 'c']) == ['a_c', 'a_d', 'c']
    assert short_names(['a_b', 'a_b']) == ['a', 'a']
    assert short_names([]) == []
