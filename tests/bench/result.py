"""A scenario's number: repetitions, their median and spread, and the bar it is held against."""

import statistics

CPU_IDLE = 0.1  # share of a core; below it a missed bar is one of CPU


class Result:
    """values: one per repetition, in unit; lower: less is better. rates and limits: what ratios were made of;
    meters: what rig.Meter read, one per repetition."""

    def __init__(self, name, values, unit, bar=None, aim=None, lower=False, rates=(), limits=(), meters=(), note=""):
        self.name, self.values, self.unit, self.bar, self.aim, self.lower = name, values, unit, bar, aim, lower
        self.rates, self.limits, self.meters, self.note = rates, limits, meters, note

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def best(self):
        return min(self.values) if self.lower else max(self.values)

    def reaches(self, mark):
        return None if mark is None else self.median <= mark if self.lower else self.median >= mark

    def is_cpu_bar(self):
        """Missed while no core had 10% left."""
        meter = self.cpu()
        return self.reaches(self.bar) is False and meter is not None and max(meter["idle"]) < CPU_IDLE

    def verdict(self):
        if self.bar is None:
            return ""
        missed = "MISSED (CPU)" if self.is_cpu_bar() else "MISSED"
        return "aim" if self.reaches(self.aim) else "met" if self.reaches(self.bar) else missed

    def cpu(self):
        """Of the median repetition by cost: per process us per event."""
        return sorted(self.meters, key=lambda m: m["cpu_us_all"])[len(self.meters) // 2] if self.meters else None

    def row(self):
        worst = max(self.values) if self.lower else min(self.values)
        return (f"{self.name:44} {number(self.median):>10} {self.unit:11} {number(self.best):>10} {number(worst):>10} "
                f"{number(self.bar):>8} {number(self.aim):>8}  {self.verdict()}").rstrip()

    def text(self):
        extra = []
        if self.rates:
            extra.append(f"{statistics.median(self.rates):,.0f}/s of {statistics.median(self.limits):,.0f}/s")
        meter = self.cpu()
        if meter:
            idle = " ".join(f"{100 * i:.0f}%" for i in meter["idle"])
            extra.append(f"us/event: {listed(meter['cpu_us'])} = {meter['cpu_us_all']:.1f}; idle {idle}")
            extra.append(f"PSS MB: {listed(meter['pss_mb'])}")
        if meter and "syscalls" in meter:
            extra.append(f"system calls/event: {listed(meter['syscalls'])}")
            extra.append(f"context switches/event: {listed(meter['switches'])}")
        if self.note:
            extra.append(self.note)
        return "\n".join([self.row(), *(f"      {line}" for line in extra)])

    def json(self):
        return {"scenario": self.name, "median": self.median, "best": self.best, "values": self.values,
                "unit": self.unit, "bar": self.bar, "aim": self.aim, "met": self.reaches(self.bar), "cpu_bar": self.is_cpu_bar(),
                "rates": list(self.rates), "limits": list(self.limits), "meter": self.cpu(), "note": self.note}


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.2f}"


def listed(numbers):
    return " ".join(f"{name} {value:.1f}" for name, value in numbers.items())


HEAD = f"{'scenario':44} {'median':>10} {'':11} {'best':>10} {'worst':>10} {'bar':>8} {'aim':>8}"
