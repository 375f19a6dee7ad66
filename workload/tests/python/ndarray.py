"""Writes an empty SOMASparseNDArray to the path given."""

import json
import sys

import pyarrow as pa
import tiledbsoma

uri = json.loads(sys.argv[1])
tiledbsoma.SparseNDArray.create(uri, type=pa.float32(), shape=(10, 10)).close()
print(json.dumps(uri))
