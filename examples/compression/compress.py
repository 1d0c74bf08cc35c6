"""The tool that the demo tunes: compress a file in independent blocks and report size and time.

    python3 compress.py --codec zlib --zlib-level 6 --block-kib 256 FILE

Standard library only, any Python from 3.8 on. Metrics go to standard output as one JSON line and, in a trial,
to the file `$TUNESMITH_METRICS`. An option that is given empty counts as not given: it belongs to another codec.
"""

import argparse
import bz2
import json
import lzma
import os
import sys
import time
import zlib

STRATEGIES = {"default": 0, "filtered": 1, "huffman": 2, "rle": 3, "fixed": 4}


def main():
    options = parse(sys.argv[1:])
    with open(options.file, "rb") as source:
        data = source.read()
    metrics = measure(data, *codec(options), options.block_kib * 1024)
    line = json.dumps(metrics)
    print(line)
    if "TUNESMITH_METRICS" in os.environ:
        with open(os.environ["TUNESMITH_METRICS"], "a") as out:
            out.write(line + "\n")


def parse(arguments):
    parser = argparse.ArgumentParser(description="Compress a file in blocks; report size and time.")
    parser.add_argument("file")
    parser.add_argument("--codec", choices=["zlib", "bz2", "lzma"], required=True)
    parser.add_argument("--zlib-level", type=int, default=6, help="1 to 9")
    parser.add_argument("--zlib-strategy", choices=list(STRATEGIES), default="default")
    parser.add_argument("--bz2-level", type=int, default=9, help="1 to 9")
    parser.add_argument("--lzma-preset", type=int, default=6, help="0 to 9")
    parser.add_argument("--block-kib", type=int, default=256, help="block size in KiB")
    given = [argument for argument in arguments if not (argument.startswith("--") and argument.endswith("="))]
    return parser.parse_args(given)


def codec(options):
    """(compress, decompress) of the chosen codec."""
    if options.codec == "bz2":
        return lambda block: bz2.compress(block, options.bz2_level), bz2.decompress
    if options.codec == "lzma":
        return lambda block: lzma.compress(block, preset=options.lzma_preset), lzma.decompress
    return lambda block: deflate(block, options.zlib_level, STRATEGIES[options.zlib_strategy]), zlib.decompress


def deflate(block, level, strategy):
    stream = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(block) + stream.flush()


def measure(data, compress, decompress, block_size):
    """Size and CPU time; CPU time rather than the clock's, because trials share the machine with one another."""
    blocks = [data[start : start + block_size] for start in range(0, len(data), block_size)]
    before = time.process_time()
    packed = [compress(block) for block in blocks]
    middle = time.process_time()
    restored = b"".join(decompress(block) for block in packed)
    after = time.process_time()
    if restored != data:
        sys.exit("the decompressed data differ from the file")
    size = sum(len(block) for block in packed)
    return {
        "size_bytes": size,
        "ratio": round(len(data) / size, 4),
        "compress_s": round(middle - before, 5),
        "decompress_s": round(after - middle, 5),
    }


if __name__ == "__main__":
    main()
