"""Comparisons of methods: their runs, started, read, tested against each other."""
