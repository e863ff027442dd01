"""The cost model as tables for docs/scale.md."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]

SHOWN = ((10**6, 1), (10**6, 2), (10**8, 8), (10**9, 8), (10**9, 64))
"""Images and workers of the table of what larger jobs would take."""


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def bulk_table(about: Figures) -> str:
    """Return what naming a million images showed."""
    if not about:
        return ""
    lines, rounds = ["| What | Figure |", "|:---|---:|"], about["two workers times one, by round"]
    lines += [
        f"| Images, half as files, half as rows of Parquet | {about['images']:,} |",
        f"| One single-thread worker, images a second | {about['one worker images a second']:,.0f} |",
        f"| Two, images a second | {about['two workers images a second']:,.0f} |",
        f"| Two, times one (median of {len(rounds)} rounds, and all of them) "
        f"| {about['two workers times one']:.2f} ({', '.join(f'{one:.2f}' for one in rounds)}) |",
        f"| The same without listing | {about['two workers times one, without listing']:.2f} |",
        f"| Largest memory of a worker | {about['peak bytes of a worker'] / 1e6:,.0f} MB |",
    ]
    for kind in ("files", "rows"):
        for after in ("", ", after the kill"):
            found = about[f"{kind} against one process{after}"]
            kill = (
                {"files": ", a worker killed", "rows": ", the job killed and resumed"}[kind] if after else ""
            )
            lines.append(
                f"| {kind.capitalize()}{kill}: rows, rows twice, other labels than one process "
                f"| {found['rows']:,}, {found['rows more than once']}, {found['other labels']} |"
            )
    differ = max(
        value["largest difference of a confidence"] for name, value in about.items() if "against" in name
    )
    lines.append(f"| Largest difference of a confidence from one process | {differ:.1g} |")
    return "\n".join(lines)


def cost_table(about: Figures) -> str:
    """Return the fitted costs."""
    if not about:
        return ""
    files, rows = about["costs"]["files"], about["costs"]["rows"]
    lines = ["| Cost | A file each | Rows of Parquet |", "|:---|---:|---:|"]
    for name, what in (
        ("read", "read an image"), ("decode", "decode it"), ("network", "network"), ("write", "write its row"),
        ("listing", "list and sort it, once, by the client"), ("an image", "fit: an image on one worker"),
        ("an image beside another worker", "fit: the same, where two workers share the machine"),
    ):  # fmt: skip
        lines.append(f"| {what} | {files[name] * 1e6:.1f} µs | {rows[name] * 1e6:.1f} µs |")
    lines.append(
        f"| a task besides | {files['a task besides'] * 1e3:.0f} ms | {rows['a task besides'] * 1e3:.0f} ms |"
    )
    lines.append(f"| fit: a job | {files['a job']:.1f} s | {rows['a job']:.1f} s |")
    lines.append(
        f"| median miss of the fit | {files['median miss of the fit']:.0%} | {rows['median miss of the fit']:.0%} |"
    )
    lines.append(
        f"| largest miss of the fit | {files['largest miss of the fit']:.0%} | {rows['largest miss of the fit']:.0%} |"
    )
    get, rate = about["get"], about["tasks a second"]
    lines.append(
        f"| an object of S3 each, processor time of a GET | {get['processor seconds a GET'] * 1e6:,.0f} µs | |"
    )
    lines.append(f"| memory of the client for a name | {about['names']['bytes a name']:,.0f} bytes | |")
    lines.append(f"| empty tasks a second through the scheduler | {rate:,.0f} | {rate:,.0f} |")
    return "\n".join(lines)


def reach_table(about: Figures) -> str:
    """Return what larger jobs would take, and what limits them first."""
    if not about:
        return ""
    lines = [
        "| Images | Workers | A file each | Its limit | Rows of Parquet | Its limit |",
        "|---:|---:|---:|:---|---:|:---|",
    ]
    told = {(row["kind"], row["images"], row["workers"]): row for row in about["extrapolated"]}
    for n, workers in SHOWN:
        files, rows = told["files", n, workers], told["rows", n, workers]
        cells = " | ".join(f"{_duration(row['seconds'])} | {row['first']}" for row in (files, rows))
        lines.append(f"| {n:,} | {workers} | {cells} |")
    held = about["names"]["bytes a name"]
    lines += [
        "",
        f"The client holds all names of files while it lists them: {held * 1e8 / 1e9:,.0f} GB for 100 million, "
        f"{held * 1e9 / 1e9:,.0f} GB for a billion. Where it has less, a file each ends there, before any time does. A worker "
        "holds the names of two million images at most.",
    ]
    return "\n".join(lines)


def runs_table(about: Figures) -> str:
    """Return what a sweep's runs cost besides their training."""
    lines = ["| What | Seconds |", "|:---|---:|"]
    for name, what in (
        ("seconds a run besides training", "a run by the library alone: network, evaluation, files"),
        (
            "seconds a run besides training, as notebooks",
            "a run as notebooks 4 to 6: three kernels, imports, pictures, when to trust it",
        ),
        ("seconds with nothing left to do", "the command itself: imports, split, table"),
    ):
        lines.append(f"| {what} | {about[name]:.1f} |")
    return "\n".join(lines)
