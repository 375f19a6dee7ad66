"""Writes SOMADataFrames with every type that TileDB-SOMA has, or compares one with a Feather file.

`write DIR` writes them; `compare URI FEATHER` reads one through TileDB-SOMA and compares.
"""

import datetime
import json
import sys

import numpy as np
import pyarrow as pa
import tiledbsoma

ROWS = 1000
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def values(name, row):
    """A value of each kind, its extremes among the first rows."""
    if name in INTEGERS:
        info = np.iinfo(name)
        return [int(info.min), int(info.max), 0, 1][row] if row < 4 else row % 100
    if name in ("float", "double"):
        special = [float("inf"), float("-inf"), -0.0, 5e-324 if name == "double" else 1e-45]
        return special[row] if row < 4 else row / 8
    if name == "bool":
        return row % 3 == 0
    if name in ("string", "large_string"):
        return ["", "ä€😀", "a\nb", "x" * 5000][row] if row < 4 else f"text {row}"
    if name in ("binary", "large_binary"):
        return [b"", b"\x00\xff\xfe", b"\x00", b"y" * 5000][row] if row < 4 else bytes([row % 256]) * 3
    return datetime.datetime(1969, 12, 31, 23, 59, 58) + datetime.timedelta(seconds=row)


def plain_types():
    types = {name: getattr(pa, name)() for name in INTEGERS}
    types["float"], types["double"], types["bool"] = pa.float32(), pa.float64(), pa.bool_()
    for name in ("string", "large_string", "binary", "large_binary"):
        types[name] = getattr(pa, name)()
    for unit in ("s", "ms", "us", "ns"):
        types[f"timestamp_{unit}"] = pa.timestamp(unit)
    return types


def dictionary_columns(rows):
    """Dictionaries with codes of every width, of values of several types."""
    columns = {}
    for width in ("int8", "int16", "int32", "uint8", "uint16", "uint32"):
        kind = pa.dictionary(getattr(pa, width)(), pa.string())
        columns[f"dict_{width}"] = (kind, [f"word {row % 7}" for row in range(rows)])
    ordered = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    columns["dict_ordered"] = (ordered, [["low", "mid", "high"][row % 3] for row in range(rows)])
    columns["dict_int64"] = (pa.dictionary(pa.int8(), pa.int64()), [row % 5 * 10**12 for row in range(rows)])
    columns["dict_double"] = (pa.dictionary(pa.int8(), pa.float64()), [row % 5 / 4 for row in range(rows)])
    columns["dict_bool"] = (pa.dictionary(pa.int8(), pa.bool_()), [row % 2 == 0 for row in range(rows)])
    return columns


def encode(kind, column):
    if pa.types.is_dictionary(kind):
        plain = pa.array(column, kind.value_type).dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            plain.indices.cast(kind.index_type), plain.dictionary, ordered=kind.ordered
        )
    return pa.array(column, kind)


def table(nullable, rows=ROWS):
    columns = {name: (kind, [values(name.split("_")[0] if name.startswith("timestamp") else name, row) for row in range(rows)])
               for name, kind in plain_types().items()}
    columns.update(dictionary_columns(rows))
    if nullable:
        for at, (name, (kind, column)) in enumerate(columns.items()):
            columns[name] = (kind, [None if (row + at) % 4 == 1 else value for row, value in enumerate(column)])
    fields = [pa.field("soma_joinid", pa.int64(), nullable=False)]
    arrays = [pa.array(range(rows), pa.int64())]
    for name, (kind, column) in columns.items():
        fields.append(pa.field(name, kind, nullable=nullable))
        arrays.append(encode(kind, column))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def write(directory):
    for nullable in (False, True):
        create(f"{directory}/{'nullable' if nullable else 'full'}", table(nullable))
    write_others(directory)
    print(json.dumps(["full", "nullable", *OTHERS]))


def create(uri, *parts):
    """Writes one frame, in as many writes as there are tables."""
    domain = [[0, sum(part.num_rows for part in parts) - 1]]
    tiledbsoma.DataFrame.create(uri, schema=parts[0].schema, domain=domain).close()
    for part in parts:
        with tiledbsoma.open(uri, "w") as frame:
            frame.write(part)


OTHERS = ["keyed", "empty", "grown"]


def grown():
    """Two writes, the second with words that the first didn't have."""
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("soma_joinid", pa.int64()), ("word", kind), ("n", pa.int32())])

    def part(joinids, words):
        columns = [pa.array(joinids, pa.int64()), encode(kind, words), pa.array(joinids, pa.int32())]
        return pa.Table.from_arrays(columns, schema=schema)

    return part([0, 1, 2], ["a", "b", "a"]), part([3, 4, 5], ["b", "c", "ä"])


def keyed():
    """Three rows, which an index by strings puts in another order."""
    schema = pa.schema([("soma_joinid", pa.int64()), ("key", pa.large_string()), ("n", pa.int32())])
    return pa.table({"soma_joinid": [2, 0, 1], "key": ["b", "c", ""], "n": [1, 2, 3]}, schema=schema)


def write_others(directory):
    """Frames of other shapes than many columns: indexed by a string, without rows, grown."""
    rows = keyed()
    with tiledbsoma.DataFrame.create(
        f"{directory}/keyed", schema=rows.schema, index_column_names=["key"], domain=[None]
    ) as frame:
        frame.write(rows)
    tiledbsoma.DataFrame.create(f"{directory}/empty", schema=rows.schema, domain=[[0, 9]]).close()
    create(f"{directory}/grown", *grown())


def compare(uri, feather):
    """The workload's reading against TileDB-SOMA's; gives the former."""
    with tiledbsoma.open(uri) as frame:
        theirs = frame.read().concat()
    ours = pa.ipc.open_file(feather).read_all()
    assert ours.schema == theirs.schema, f"{ours.schema}\nis not\n{theirs.schema}"
    for name in theirs.column_names:
        left, right = ours[name].combine_chunks(), theirs[name].combine_chunks()
        if pa.types.is_dictionary(right.type):
            assert left.dictionary.equals(right.dictionary), f"dictionary of {name}"
            left, right = left.indices, right.indices
        assert left.equals(right), f"{name}:\n{left}\nis not\n{right}"
    return ours


def main():
    argument = json.loads(sys.argv[1])
    if "write" in argument:
        write(argument["write"])
    else:
        ours = compare(argument["uri"], argument["feather"])
        print(json.dumps({"rows": ours.num_rows, "nulls": sum(c.null_count for c in ours.columns)}))


if __name__ == "__main__":
    main()
