"""Prints, as JSON, how many rows of each kind and probe each library finds in a capture, and what it adds up."""

import json
import sys

import duckdb
import polars
import pyarrow.parquet


def with_duckdb(path):
    rows = duckdb.sql(
        f"SELECT kind, coalesce(probe, ''), count(*), sum(len), max(ts), count(header) "
        f"FROM read_parquet('{path}') GROUP BY 1, 2"
    ).fetchall()
    return sorted([list(row[:3]) + [int(n or 0) for n in row[3:]] for row in rows])


def with_polars(path):
    table = (
        polars.read_parquet(path)
        .with_columns(polars.col("kind").cast(polars.String), polars.col("probe").cast(polars.String))
        .group_by("kind", polars.col("probe").fill_null(""))
        .agg(
            polars.len().alias("rows"),
            polars.col("len").cast(polars.Int64).sum(),
            polars.col("ts").max(),
            polars.col("header").count(),
        )
    )
    return sorted([list(row) for row in table.rows()])


def with_pyarrow(path):
    table = pyarrow.parquet.read_table(path)
    found = {}
    columns = [table[name].to_pylist() for name in ("kind", "probe", "len", "ts", "header")]
    for kind, probe, length, ts, header in zip(*columns):
        row = found.setdefault((kind, probe or ""), [0, 0, 0, 0])
        row[0] += 1
        row[1] += length or 0
        row[2] = max(row[2], ts)
        row[3] += header is not None
    return sorted([list(key) + row for key, row in found.items()])


def metadata(path):
    return json.loads(pyarrow.parquet.ParquetFile(path).metadata.metadata[b"ntc"])


path = sys.argv[1]
print(
    json.dumps(
        {
            "duckdb": with_duckdb(path),
            "polars": with_polars(path),
            "pyarrow": with_pyarrow(path),
            "kernel": metadata(path)["host"]["kernel"],
        }
    )
)
