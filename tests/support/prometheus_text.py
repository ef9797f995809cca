"""A strict reader of Prometheus' text format 0.0.4: what promtool and the server refuse or only tolerate, fails here."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL},)*{LABEL})\}})? (NaN|[+-]Inf|-?[0-9.]+(?:e[+-]?[0-9]+)?)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Family:
    def __init__(self, name, help_text):
        self.name, self.help, self.type, self.samples = name, help_text, None, {}


def check_name(family):
    name, kind = family.name, family.type
    assert (kind == "counter") == name.endswith("_total"), f"{name}: counters, and only they, end in _total"
    assert not re.search(r"_(bucket|sum|count)$", name), f"{name}: reserved ending"
    assert not re.search(r"_(ms|us|milliseconds|minutes|hours|kilobytes|mb)(_|$)", name), f"{name}: not a base unit"
    assert not re.search(rf"_{kind}(_|$)", name), f"{name}: type in the name"
    assert family.help.endswith(".") and family.help[0] != " ", f"{name}: HELP is no sentence"


def check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        one = series.setdefault(rest, {"buckets": []})
        if name.endswith("_bucket"):
            one["buckets"].append((float(dict(labels)["le"]), value))
        else:
            one[name[len(family.name):]] = value
    for labels, one in series.items():
        bounds, counts = [b for b, _ in one["buckets"]], [c for _, c in one["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{family.name}{labels}: bounds {bounds}"
        assert counts == sorted(counts), f"{family.name}{labels}: buckets fall"
        assert one["_count"] == counts[-1] and one["_sum"] >= 0, f"{family.name}{labels}: sum or count"


def read_header(words, families, current):
    assert len(words) == 4 and words[1] in ("HELP", "TYPE"), words
    if words[1] == "HELP":
        assert current is None or current.type, f"{current.name} has no TYPE"
        assert words[2] not in families, f"{words[2]} stands twice"
        assert re.fullmatch(NAME, words[2]), words[2]
        assert re.fullmatch(r"(?:[^\\\n]|\\[\\n])+", words[3]), words[3]
        families[words[2]] = current = Family(words[2], words[3])
    else:
        assert current is not None and words[2] == current.name and current.type is None and not current.samples, words
        assert words[3] in SUFFIXES, words
        current.type = words[3]
    return current


def read_sample(line, family):
    match = SAMPLE.fullmatch(line)
    assert match, f"no sample: {line}"
    name, text, value = match.group(1), match.group(2), match.groups()[-1]
    assert family is not None and family.type, f"sample before its TYPE: {line}"
    assert name in [family.name + suffix for suffix in SUFFIXES[family.type]], f"{name} is not of {family.name}"
    labels = tuple(re.findall(LABEL, text or ""))
    assert len(dict(labels)) == len(labels), f"a label stands twice: {line}"
    assert (name, labels) not in family.samples, f"stands twice: {line}"
    family.samples[name, labels] = float(value)


def parse(text):
    """The families by name; AssertionError names the first thing that is wrong."""
    assert text.endswith("\n") and "\r" not in text
    families, current = {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("#"):
            current = read_header(line.split(" ", 3), families, current)
        else:
            read_sample(line, current)
    for family in families.values():
        assert family.type, f"{family.name} has no TYPE"
        check_name(family)
        if family.type == "histogram":
            check_histogram(family)
    return families


def self_check():
    """The reader itself: each of these must fail."""
    good = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n"
    parse(good)
    for bad in (good[:-1], good + "a_total 1\n", good + good, good + "b 1\n", "a_total 1\n", "# HELP a_total A.\n",
                good.replace("A.", "A\\x."), good.replace("counter", "gauge"), good.replace("a_total", "a"),
                good.replace("total 1", 'total{x="a"b"} 1'), good.replace("total 1", 'total{x="1",x="2"} 1'),
                good.replace("total 1", "total  1"), good.replace("total 1", "total one"),
                good.replace("total 1", 'total{x="1",} 1'), good.replace("# TYPE a_total counter\n", "")):
        try:
            parse(bad)
        except AssertionError:
            continue
        raise AssertionError(f"accepted: {bad!r}")
    histogram = ("# HELP h_seconds H.\n# TYPE h_seconds histogram\n" 'h_seconds_bucket{le="1"} 1\n'
                 'h_seconds_bucket{le="+Inf"} 2\nh_seconds_sum 3\nh_seconds_count 2\n')
    parse(histogram)
    for old, new in (("} 1\n", "} 3\n"), ("count 2", "count 1"), ("+Inf", "2"), ('le="1"', 'le="+Inf"')):
        try:
            parse(histogram.replace(old, new))
        except AssertionError:
            continue
        raise AssertionError(f"accepted: {old} -> {new}")
