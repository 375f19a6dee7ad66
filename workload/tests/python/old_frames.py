"""SOMADataFrames of old TileDB-SOMAs: `old_frames.py` writes tests/fixtures/old_frames.tar.xz anew.

It installs each version of VERSIONS through pip into a directory of its own (numpy, pandas and
pyarrow as in old_frames.txt, once), and lets it write the frames of every_type.py. Committed are
the frames, so that the tests need no old wheels. Takes CPython 3.11 and some 2 GB of disk.

With a JSON argument it is the test's half in Python: `unpack` lists the frames in a directory,
`uri` and `feather` compare the workload's reading with that of the newest TileDB-SOMA and with what
was written.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import every_type
import pyarrow as pa

# The last release of each line, with the versions of tiledb and somacore that it asks for.
VERSIONS = {
    "1.9.5": ("0.27.1", "1.0.10"),
    "1.10.2": ("0.28.0", "1.0.11"),
    "1.11.4": ("0.29.0", "1.0.11"),
    "1.12.3": ("0.30.2", "1.0.11"),
    "1.13.1": ("0.31.1", "1.0.13"),
    "1.14.5": ("0.32.5", "1.0.17"),
    "1.15.7": (None, "1.0.26"),
    "1.16.2": (None, "1.0.28"),
    "1.17.1": (None, "1.0.28"),
    "2.0.0": (None, "1.0.29"),
    "2.1.2": (None, "1.0.29"),
    "2.2.0": (None, "1.0.29"),
}
FIXTURE = Path(__file__).parent.parent / "fixtures/old_frames.tar.xz"
ROWS = 40


def older_than(version, minor):
    return tuple(map(int, version.split(".")[:2])) < (1, minor)


def table(version, nullable):
    """What a version is given: every type, without what it refuses or changes in writing."""
    data = every_type.table(nullable, ROWS)
    left_out = set()
    if older_than(version, 12):  # "Converting unsigned dictionary indices to pandas not yet supported"
        left_out |= {"dict_uint8", "dict_uint16", "dict_uint32"}
    if older_than(version, 11) and nullable:
        # Goes through pandas: nulls turn large integers into floats and infinities into nulls, and
        # binary into a TypeError.
        left_out |= {"int64", "uint64", "float", "double", "binary", "large_binary"}
    data = data.select([name for name in data.column_names if name not in left_out])
    if nullable and older_than(version, 13):  # Asks the schema's metadata, not the field.
        marks = {name: b"nullable" for name in data.column_names[1:]}
        data = data.replace_schema_metadata(marks)
    return data


def write(version, directory):
    """Runs in the old version's own interpreter."""
    import tiledbsoma

    assert tiledbsoma.__version__ == version, tiledbsoma.__version__
    for nullable in (False, True):
        every_type.create(f"{directory}/{'nullable' if nullable else 'full'}", table(version, nullable))
    every_type.write_others(directory)


def pip(python, *arguments):
    options = ["install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([python, "-m", "pip", *options, *arguments], check=True)


def generate():
    """Writes the fixture: each version in a process of its own."""
    FIXTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, tarfile.open(FIXTURE, "w:xz", preset=9) as archive:
        python = f"{work}/base/bin/python"
        subprocess.run([sys.executable, "-m", "venv", f"{work}/base"], check=True)
        pip(python, "--requirement", str(Path(__file__).with_name("old_frames.txt")))
        for version, (tiledb, somacore) in VERSIONS.items():
            wheels = [f"tiledbsoma=={version}", f"somacore=={somacore}"]
            wheels += [f"tiledb=={tiledb}"] if tiledb else []
            pip(python, "--target", f"{work}/{version}", *wheels)
            frames = f"{work}/frames/{version}"
            os.makedirs(frames)
            environment = {**os.environ, "PYTHONPATH": f"{work}/{version}"}
            script = [python, __file__, json.dumps({"version": version, "write": frames})]
            subprocess.run(script, env=environment, check=True)
            archive.add(frames, version, filter=anonymous)


def anonymous(entry):
    """Whose files they were, and when, is nobody's business."""
    entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime = 0, 0, "", "", 0
    return entry


def unpack(directory):
    """Unpacks the fixture; the frames of each version."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(directory, filter="data")
    return {version: sorted(os.listdir(f"{directory}/{version}")) for version in sorted(os.listdir(directory))}


def written(version, frame):
    """What a frame holds, in the order of its index; nothing of the empty one."""
    if frame in ("full", "nullable"):
        return table(version, frame == "nullable")
    if frame == "grown":
        return pa.concat_tables(every_type.grown()).unify_dictionaries()
    rows = every_type.keyed()
    if frame == "empty":
        return rows.slice(0, 0)
    if older_than(version, 11):  # Through numpy, which has no empty strings.
        keys = ["\0" if key == "" else key for key in rows["key"].to_pylist()]
        rows = rows.set_column(1, "key", pa.array(keys, pa.large_string()))
    return rows.sort_by("key")


def plain(column):
    """Values in the types that TileDB-SOMA reads: 64-bit offsets, dictionaries decoded."""
    column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return column.cast(wide.get(column.type, column.type))


def check(version, frame, uri, feather):
    """Every value against what was written; rows and nulls."""
    ours = every_type.compare(uri, feather)
    expected = written(version, frame)
    assert sorted(ours.column_names) == sorted(expected.column_names), ours.column_names
    for name in expected.column_names:
        left, right = plain(ours[name]), plain(expected[name])
        assert left.type == right.type and left.equals(right), f"{version} {frame} {name}:\n{left}\nis not\n{right}"
    return {"rows": ours.num_rows, "nulls": sum(column.null_count for column in ours.columns)}


def main():
    argument = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    if not argument:
        generate()
    elif "write" in argument:
        write(argument["version"], argument["write"])
    elif "unpack" in argument:
        print(json.dumps(unpack(argument["unpack"])))
    else:
        print(json.dumps([check(**case) for case in argument["cases"]]))


main()
