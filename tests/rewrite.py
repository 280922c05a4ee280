"""Writes a capture anew with DuckDB, with and without the key of its metadata, and with pyarrow: types and codecs as they like."""

import sys

import duckdb
import pyarrow.parquet

original, folder = sys.argv[1:]
database = duckdb.connect()
database.execute(
    f"SET VARIABLE ntc = (SELECT decode(value) FROM parquet_kv_metadata('{original}') WHERE decode(key) = 'ntc')"
)
rows = f"(SELECT * FROM read_parquet('{original}') ORDER BY ts)"
key = "KV_METADATA {ntc: getvariable('ntc')}"
database.execute(f"COPY {rows} TO '{folder}/duckdb.ntc' (FORMAT parquet, ROW_GROUP_SIZE 2048, {key})")
database.execute(f"COPY {rows} TO '{folder}/without_key.ntc' (FORMAT parquet)")
table = pyarrow.parquet.read_table(original).sort_by("ts")
pyarrow.parquet.write_table(table, f"{folder}/pyarrow.ntc", row_group_size=1000)
