"""Times one fetch through TileDB-SOMA, step by step as the workload does: URI TISSUE BUDGET.

Prints the seconds of each step as JSON. `obs` is the Arrow table over the read buffers, as in the
workload; `obs-df` the pandas DataFrame that mem.py made of it; `cpu` the processor time of them all,
on all threads, without what the imports took.
"""

import json
import sys
import time

import cellxgene_census
import tiledbsoma

uri, tissue, budget = sys.argv[1:4]
marks = [time.perf_counter()]
imports = time.process_time()


def mark():
    marks.append(time.perf_counter())


context = cellxgene_census.get_default_soma_context(tiledb_config={"sm.mem.total_budget": budget})
census = cellxgene_census.open_soma(uri=uri, context=context)
experiment = census["census_data"]["homo_sapiens"]
mark()
query = experiment.axis_query(
    "RNA", obs_query=tiledbsoma.AxisQuery(value_filter=f"tissue_general == '{tissue}'")
)
mark()
obs = query.obs().concat()
mark()
frame = obs.to_pandas()
mark()
steps = ("open", "query", "obs", "obs-df")
seconds = {step: end - start for step, start, end in zip(steps, marks, marks[1:])}
print(json.dumps(seconds | {"cpu": time.process_time() - imports}))
