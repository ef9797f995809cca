"""The table of deploy/tokens/README.md: what each flow does on each token. Tests compare it with real reports."""
import os

from estate import SOURCE

README = os.path.join(SOURCE, "deploy", "tokens", "README.md")


def cell(ways):
    """What the table says of a flow, from its ways in the report: the one that is taken, or why the preferred one fails."""
    for way in ways:
        if way.chosen:
            return f"`{way.way}` {'PROCESS_MEMORY' if way.grade == 2 else 'IN_TOKEN'}"
    return f"no: {ways[0].why}"


def by_flow(report):
    flows = {}
    for way in report.ways:
        flows.setdefault(way.flow, []).append(way)
    return {flow: cell(ways) for flow, ways in flows.items()}


def column(token):
    """flow: cell, of the column whose heading starts with `token`."""
    with open(README, encoding="utf-8") as file:
        rows = [[text.strip() for text in line.strip().strip("|").split("|")] for line in file if line.startswith("|")]
    head = next(row for row in rows if row[0] == "flow")
    index = next(i for i, text in enumerate(head) if text.startswith(token))
    rows = rows[rows.index(head) + 2:]
    return {row[0]: row[index] for row in rows if len(row) == len(head)}
