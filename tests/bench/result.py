"""A scenario's number: repetitions, their median and spread, and the bar it is held against."""

import statistics


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

    def verdict(self):
        if self.bar is None:
            return ""
        return "aim" if self.reaches(self.aim) else "met" if self.reaches(self.bar) else "MISSED"

    def cpu(self):
        """Of the median repetition by cost: per process us per event."""
        return sorted(self.meters, key=lambda m: m["cpu_us_all"])[len(self.meters) // 2] if self.meters else None

    def text(self):
        extra = []
        if self.rates:
            extra.append(f"{statistics.median(self.rates):,.0f}/s of {statistics.median(self.limits):,.0f}/s")
        meter = self.cpu()
        if meter:
            cpu = " ".join(f"{name} {us:.1f}" for name, us in meter["cpu_us"].items())
            idle = " ".join(f"{100 * i:.0f}%" for i in meter["idle"])
            extra.append(f"us/event: {cpu} = {meter['cpu_us_all']:.1f}; idle {idle}")
        if self.note:
            extra.append(self.note)
        worst = max(self.values) if self.lower else min(self.values)
        row = (f"{self.name:40} {number(self.median):>10} {self.unit:9} {number(self.best):>10} {number(worst):>10} "
               f"{number(self.bar):>8} {number(self.aim):>8}  {self.verdict()}")
        return "\n".join([row, *(f"      {line}" for line in extra)])

    def json(self):
        return {"scenario": self.name, "median": self.median, "best": self.best, "values": self.values,
                "unit": self.unit, "bar": self.bar, "aim": self.aim, "met": self.reaches(self.bar),
                "rates": list(self.rates), "limits": list(self.limits), "meter": self.cpu(), "note": self.note}


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.2f}"


HEAD = f"{'scenario':40} {'median':>10} {'':9} {'best':>10} {'worst':>10} {'bar':>8} {'aim':>8}"
