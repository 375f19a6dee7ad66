"""Reads what the workload read, through TileDB-SOMA, and compares value by value.

The argument is a JSON list of cases: uri, organism, frame (obs or var), filter, columns, feather.
Prints the rows of each case; any difference ends the script with a message.
"""

import json
import sys

import cellxgene_census
import pyarrow as pa


def read(census, case):
    experiment = census["census_data"][case["organism"]]
    frame = experiment.obs if case["frame"] == "obs" else experiment.ms["RNA"].var
    return frame.read(value_filter=case.get("filter"), column_names=case.get("columns")).concat()


def compare(case, ours, theirs):
    assert ours.schema == theirs.schema, f"{case}:\n{ours.schema}\nis not\n{theirs.schema}"
    for name in theirs.column_names:
        left, right = (table[name].combine_chunks() for table in (ours, theirs))
        if pa.types.is_dictionary(right.type):
            assert left.dictionary.equals(right.dictionary), f"{case}: dictionary of {name}"
            left, right = left.indices, right.indices
        assert left.equals(right), f"{case}: {name}:\n{left}\nis not\n{right}"


def main():
    rows = []
    for case in json.loads(sys.argv[1]):
        with cellxgene_census.open_soma(uri=case["uri"]) as census:
            theirs = read(census, case)
        ours = pa.ipc.open_file(case["feather"]).read_all()
        compare(case, ours, theirs)
        rows.append(theirs.num_rows)
    print(json.dumps(rows))


main()
