"""Python source is parsed by one thread at a time.

Cause: CPython counts in one number for all threads how deep it is in a syntax tree, and where two
of them parse it may end with "AST constructor recursion depth mismatch" (python/cpython#106905).
``tools/compare.py`` reads configs in as many threads as it has jobs.
"""

import os
import threading

#: Held while a config is read, or source is parsed.
PARSING = threading.RLock()

# A fork that another thread's reading falls into would wait for a thread that it does not have.
os.register_at_fork(
    before=PARSING.acquire, after_in_parent=PARSING.release, after_in_child=PARSING.release
)
