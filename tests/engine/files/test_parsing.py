import ast
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from mmengine.config import Config

from mmbss.engine.cli.config import read_config
from mmbss.engine.files.config_text import read_written
from mmbss.engine.files.parsing import PARSING
from mmbss.engine.own_code import code_digests, own_modules


def test_one_thread_at_a_time_parses_python(monkeypatch, tmp_path):
    held = []

    def watched(function):
        def call(*args, **kwargs):
            held.append(PARSING._is_owned())
            return function(*args, **kwargs)

        return call

    config = tmp_path / 'lab_of_threads.py'
    config.write_text("custom_imports = dict(imports=['lab_of_threads'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ast, 'parse', watched(ast.parse))
    monkeypatch.setattr(Config, 'fromfile', watched(Config.fromfile))
    teacher = dict(model=dict(teacher=dict(config=str(config))))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(read_config, str(config)).result()
        pool.submit(read_written, config).result()
        assert pool.submit(own_modules, teacher).result() == ['lab_of_threads']
        assert pool.submit(code_digests, ['lab_of_threads']).result()
    assert len(held) >= 4
    assert all(held)


def test_a_fork_waits_for_a_thread_that_parses_and_then_reads_too():
    held = threading.Event()

    def parse():
        with PARSING:
            held.set()
            time.sleep(0.1)

    def read():
        with PARSING:
            pass

    thread = threading.Thread(target=parse)
    thread.start()
    held.wait()
    process = multiprocessing.get_context('fork').Process(target=read)
    process.start()
    process.join(30)
    process.kill()
    thread.join()
    assert process.exitcode == 0
