r"""Read files that nobody meant to write, and see that each is read or refused.

    python benchmarks/fuzz_files.py --files 100000

Small real files (``torch.save`` in both formats, with tensors of several kinds and the histories
that mmengine stores; safetensors; arrays) are changed: bytes of the file, bytes of the pickle or
header within with the checksums made to fit again, and whole instructions of the pickle. Others are
written by a grammar of what a pickle may say, which likes to call what the reader knows. Each batch
is read in a process of its own. A file passes that is read, and all of whose tensors can be walked
through, or refused with ``ConfigError``; not one that ends the interpreter, raises anything else,
takes 10 s of its processor, or makes the process grow by a GiB. Those are kept in --keep.
"""

import argparse
import io
import multiprocessing
import pickletools
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save

from mmbss.engine.errors import ConfigError
from mmbss.engine.files.arrays import read_arrays
from mmbss.engine.files.checkpoint_reading import read_checkpoint
from mmbss.engine.files.plain_values import CALLS, STORAGES
from mmbss.engine.finite import named_tensors

ENDINGS = dict(zip='.pth', legacy='.pth', safetensors='.safetensors', arrays='.npz')
NAMES = [*CALLS, *(f'torch {name}' for name in STORAGES), 'numpy ndarray', 'torch float32']
FOREIGN = ['builtins eval', 'torch Tensor', 'os system', 'torch._utils _rebuild_sparse_tensor']


def real_files() -> dict[str, list[bytes]]:
    """Small files of each kind."""
    state = OrderedDict(weight=torch.arange(6.0).reshape(2, 3).t(), count=torch.tensor(3))
    state._metadata = OrderedDict({'': dict(version=1)})  # type: ignore[attr-defined]
    whole = dict(
        state_dict=state,
        kinds=[torch.zeros(3, dtype=dtype) for dtype in STORAGES.values()],
        shared=(both := torch.ones(4), both[1:3], torch.nn.Parameter(torch.ones(2))),
        other=[Counter([1, 2]), {1, 'a'}, b'bytes', None, True, 1 << 40, -1, 0.5, torch.Size([2])],
        message_hub=dict(
            log_scalars=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])),
            runtime_info=dict(best_score=np.float64(0.5), matrix=np.ones((2, 2)).T),
        ),
    )
    result: dict[str, list[bytes]] = dict(zip=[], legacy=[], safetensors=[], arrays=[])
    for content in (whole, dict(state_dict=state)):
        for kind in ('zip', 'legacy'):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=kind == 'zip')
            result[kind].append(buffer.getvalue())
    result['safetensors'].append(save(dict(a=torch.ones(3, 2), b=torch.zeros(2, dtype=torch.bool))))
    for write in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        arrays = dict(images=np.ones((3, 2, 2), np.uint8), labels=np.arange(3), names=['a', 'bc'])
        write(buffer, **arrays, flags=np.array([True, False]))
        result['arrays'].append(buffer.getvalue())
    return result


class Fuzzer:
    """Makes files by chance.

    Args:
        seed: That of the chance.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.real = real_files()

    def file(self) -> tuple[str, bytes]:
        """The ending of a file, and its content."""
        kind = self.draw.choices(list(ENDINGS), [6, 2, 1, 2])[0]
        content = self.draw.choice(self.real[kind])
        way = self.draw.random()
        if way < 0.15:
            return ENDINGS[kind], self.flip(content)
        if kind in ('zip', 'arrays'):
            return ENDINGS[kind], self.rewrite(content)
        if kind == 'legacy':  # what follows the four pickles stays
            parts, rest = pickles_of(content)
            chosen = self.draw.randrange(len(parts))
            parts[chosen] = self.pickle(parts[chosen])
            return ENDINGS[kind], b''.join(parts) + rest
        return ENDINGS[kind], self.flip(content, 60)

    def flip(self, content: bytes, end: int | None = None) -> bytes:
        """Change, remove or repeat some bytes."""
        changed = bytearray(content)
        for _ in range(self.draw.choice((1, 1, 2, 5))):
            place = self.draw.randrange(min(len(changed), end or len(changed)))
            match self.draw.randrange(4):
                case 0:
                    changed[place] ^= 1 << self.draw.randrange(8)
                case 1:
                    changed[place] = self.draw.choice((0, 1, 127, 128, 255))
                case 2:
                    del changed[place : place + self.draw.randrange(1, 9)]
                case _:
                    changed[place:place] = changed[place : place + self.draw.randrange(1, 9)]
            if not changed:
                break
        return bytes(changed)

    def rewrite(self, content: bytes) -> bytes:
        """Change an entry of an archive, which then has a fitting checksum."""
        target = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, 'w') as new:
            names = [name for name in old.namelist() if name.endswith(('.pkl', '.npy'))]
            chosen = self.draw.choice(names + old.namelist()[:1])
            for entry in old.infolist():
                data = old.read(entry)
                if entry.filename == chosen:
                    data = self.pickle(data) if chosen.endswith('.pkl') else self.flip(data, 100)
                new.writestr(entry.filename, data, entry.compress_type)
        return target.getvalue()

    def pickle(self, content: bytes) -> bytes:
        """Change the instructions of a pickle, or write another one."""
        if self.draw.random() < 0.3:
            return b'\x80\x02' + self.value(self.draw.randrange(1, 6)) + b'.'
        if self.draw.random() < 0.2:
            return self.flip(content)
        codes = instructions(content)
        for _ in range(self.draw.choice((1, 1, 2, 4))):
            place = self.draw.randrange(len(codes))
            match self.draw.randrange(5):
                case 0:
                    del codes[place]
                case 1:
                    codes.insert(place, self.draw.choice(codes))
                case 2:
                    codes[place] = self.draw.choice(codes)
                case 3:
                    codes[place] = self.value(2)
                case _:
                    codes[place] = self.draw.choice((self.code(), self.value(1)))
            codes = codes or [b'.']
        return b''.join(codes)

    def code(self) -> bytes:
        """An instruction."""
        plain = b'()]}0234bcdehijloqrstuQR.\x81\x85\x86\x87\x88\x89N'
        return bytes((self.draw.choice(plain),))

    def value(self, depth: int) -> bytes:
        """The instructions of a value."""
        draw = self.draw
        if depth <= 0:
            match draw.randrange(7):
                case 0:
                    number = draw.choice((0, 1, -1, 3, 64, 1 << 31, 1 << 62, -(1 << 62)))
                    return b'\x8a\x08' + struct.pack('<q', number)
                case 1:
                    return b'N\x88\x89'[(i := draw.randrange(3)) : i + 1]
                case 2:
                    return b'G' + struct.pack('>d', draw.choice((0.0, 1e308, float('nan'))))
                case 3:
                    return self.name()
                case 4:
                    return b'h' + bytes((draw.randrange(30),))
                case 5:
                    return draw.choice((b')', b']', b'}'))
                case _:
                    return self.text()
        some = [self.value(depth - draw.randrange(1, 3)) for _ in range(draw.randrange(5))]
        # the hash of a tuple as deep as the last ends an interpreter
        depths = (1, 2, 100, 5000) if draw.random() < 0.99 else (300_000,)
        match draw.randrange(9):
            case 0:
                return b'(' + b''.join(some) + b't'
            case 1:
                return b'](' + b''.join(some) + b'e'
            case 2:
                return b'}(' + b''.join(self.key() + part for part in some) + b'u'
            case 3:
                return self.name() + b'(' + b''.join(some) + b't' + draw.choice((b'R', b'\x81'))
            case 4:
                return self.value(depth - 1) + self.value(depth - 2) + b'b'
            case 5:
                return self.tensor() if draw.random() < 0.8 else self.buffer()
            case 6:
                return self.value(depth - 1) + b'\x85' * draw.choice(depths)
            case 7:
                return self.value(depth - 1) + b'q' + bytes((draw.randrange(30),))
            case _:
                return self.array()

    def name(self) -> bytes:
        """Something that is called or is a class."""
        names = NAMES if self.draw.random() < 0.95 else FOREIGN
        return b'c' + self.draw.choice(names).replace(' ', '\n').encode() + b'\n'

    def key(self) -> bytes:
        """A key of a dict, most often one that may be."""
        return self.text() if self.draw.random() < 0.9 else self.value(2)

    def buffer(self) -> bytes:
        """An array of somebody's memory, as NumPy would make it."""
        content = b'c_codecs\nencode\nX\x08\x00\x00\x00AAAAAAAAX\x06\x00\x00\x00latin1\x86R'
        return b'cnumpy\nndarray\nK\x01\x85X\x01\x00\x00\x00O' + content + b'\x87R'

    def text(self) -> bytes:
        """A text that may mean something."""
        words = ('state_dict', 'storage', '0', '1', 'cpu', 'latin1', 'f8', 'O', 'meta', '', 'mean')
        word = self.draw.choice((*words, '_metadata', '_log_history', '\x00' * 16)).encode()
        return b'X' + struct.pack('<I', len(word)) + word

    def numbers(self) -> bytes:
        """A tuple of numbers, as of sizes."""
        draw = self.draw
        some = [draw.choice((0, 1, 2, 3, 7, -1, 1 << 40)) for _ in range(draw.randrange(4))]
        return b'(' + b''.join(b'\x8a\x08' + struct.pack('<q', number) for number in some) + b't'

    def tensor(self) -> bytes:
        """A tensor, of a storage that may be there, with sizes that may fit."""
        draw = self.draw
        kind = draw.choice([*STORAGES, 'UntypedStorage', 'QInt8Storage'])
        count = struct.pack('<i', draw.choice((0, 1, 3, 6, 6, 1 << 30, -1)))
        storage = b'(X\x07\x00\x00\x00storagectorch\n' + kind.encode() + b'\n' + self.text()
        storage += self.text() + b'J' + count + b'tQ'
        rebuild = draw.choice(('_rebuild_tensor_v2', '_rebuild_tensor_v3', '_rebuild_tensor'))
        begin = b'ctorch._utils\n' + rebuild.encode() + b'\n('
        offset = b'J' + struct.pack('<i', draw.choice((0, 0, 1, 5, -1, 1 << 30)))
        end = b'\x89N' + (b'ctorch\nint16\n' if rebuild.endswith('3') else b'')
        end = b'' if rebuild.endswith('tensor') else end
        return begin + storage + offset + self.numbers() + self.numbers() + end + b'tR'

    def array(self) -> bytes:
        """An array of NumPy, with a state that may fit."""
        draw = self.draw
        code = draw.choice(('f8', 'i8', 'O', 'V8', 'b1', 'U2')).encode()
        kind = b'cnumpy\ndtype\nX' + struct.pack('<I', len(code)) + code + b'\x89\x88\x87R'
        if draw.random() < 0.8:
            kind += b'(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
        raw = draw.choice((b'', b'\x00' * 8, b'A' * 16, b'A' * 7))
        content = b'c_codecs\nencode\nX' + struct.pack('<I', len(raw)) + raw
        content += b'X\x06\x00\x00\x00latin1\x86R'
        new = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85' + self.text()
        state = b'(K\x01' + self.numbers() + kind + draw.choice((b'\x88', b'\x89')) + content + b't'
        return new + b'\x87R' + state + b'b'


def instructions(content: bytes) -> list[bytes]:
    """The instructions of a pickle, each with its argument."""
    begins = [place or 0 for _, _, place in pickletools.genops(content)]
    return [content[a:b] for a, b in zip(begins, [*begins[1:], len(content)], strict=True)]


def pickles_of(content: bytes) -> tuple[list[bytes], bytes]:
    """The five pickles of a file of the old format, and the storages."""
    stream, parts = io.BytesIO(content), []
    for _ in range(5):
        begin = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        parts.append(content[begin : stream.tell()])
    return parts, content[stream.tell() :]


def use(path: Path) -> str:
    """Read a file and touch everything in it."""
    try:
        if path.suffix == '.npz':
            for array in read_arrays(path).values():
                array.tolist()
        else:
            for _, tensor in named_tensors(read_checkpoint(path)):
                tensor.clone().sum()
    except ConfigError:
        return 'refused'
    return 'read'


def read_batch(seed: int, count: int, folder: Path, connection: object) -> None:
    """Make files and read them; says what became of them."""
    torch.set_num_threads(1)
    fuzzer, results = Fuzzer(seed), Counter[str]()
    for _ in range(count):
        ending, content = fuzzer.file()
        path = folder / f'file{ending}'
        path.write_bytes(content)
        (folder / 'current').write_text(path.name)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, 10)
        results[use(path)] += 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > 1 << 20:
            raise MemoryError(f'{path} made the process grow')
    connection.send(results)  # type: ignore[attr-defined]


def main() -> None:
    """Make the files, batch by batch, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, default=100_000)
    parser.add_argument('--batch', type=int, default=1000, help='files a process')
    parser.add_argument('--seed', type=int, default=0, help='that of the first batch')
    parser.add_argument('--keep', type=Path, default=Path('fuzz'), help='where failures are kept')
    args = parser.parse_args()
    total, begun = Counter[str](), time.monotonic()
    context = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as name:
        for batch in range(-(-args.files // args.batch)):
            receiver, sender = context.Pipe(duplex=False)
            seed = args.seed + batch
            arguments = (seed, args.batch, Path(name), sender)
            process = context.Process(target=read_batch, args=arguments)
            process.start()
            process.join()
            if process.exitcode == 0 and receiver.poll():
                total += receiver.recv()
                continue
            total['failed'] += 1
            current = Path(name, (Path(name, 'current')).read_text())
            args.keep.mkdir(exist_ok=True)
            (args.keep / f'{seed}{current.suffix}').write_bytes(current.read_bytes())
            print(f'batch {seed} ended with {process.exitcode}: see {args.keep}', flush=True)
    seconds = time.monotonic() - begun
    print(', '.join(f'{count} {kind}' for kind, count in total.items()), f'in {seconds:.0f} s')
    sys.exit(bool(total['failed']))


if __name__ == '__main__':
    main()
