"""Fetches cells through TileDB-SOMA with buffers of a given size: URI FILTER BYTES [COLUMNS]."""

import sys

import cellxgene_census

uri, value_filter, bytes_ = sys.argv[1:4]
columns = sys.argv[4].split(",") if len(sys.argv) > 4 else None
context = cellxgene_census.get_default_soma_context(
    tiledb_config={"soma.init_buffer_bytes": bytes_, "sm.mem.total_budget": str(10 << 30)}
)
with cellxgene_census.open_soma(uri=uri, context=context) as census:
    obs = census["census_data"]["homo_sapiens"].obs
    print(obs.read(value_filter=value_filter, column_names=columns).concat().num_rows)
